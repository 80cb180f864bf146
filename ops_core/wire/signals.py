"""Signals as JSON."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, StrictStr

from ops_core.domain.signal import Signal
from ops_core.services.signals import SignalPage, SignalRequest
from ops_core.wire.tasks import REQUEST, RESPONSE, TASK_ID_EXAMPLE
from ops_core.wire.times import TimeOut

SIGNAL_EXAMPLE: dict[str, Any] = {
    "id": "019375b6-7a20-7e31-9b4f-1e2d3c4b5a69",
    "task_id": TASK_ID_EXAMPLE,
    "name": "payment.received",
    "payload": {"amount": 80},
    "sent_by": "ada",
    "sent_at": "2026-11-21T10:03:00Z",
    "taken_by": "3/tool/1/signal/1",
    "idempotency_key": None,
}


class SignalIn(BaseModel):
    """A signal to send."""

    model_config = ConfigDict(
        **REQUEST, json_schema_extra={"examples": [{"name": "payment.received", "payload": {"amount": 80}}]}
    )

    name: StrictStr = Field(description="1 to 128 letters, digits, `.`, `_` or `-`, beginning with a letter or digit.")
    payload: Any = Field(default=None, description="Any JSON, at most 64 kB.")

    def to_request(self, *, idempotency_key: str | None) -> SignalRequest:
        return SignalRequest(name=self.name, payload=self.payload, idempotency_key=idempotency_key)


class SignalOut(BaseModel):
    """A signal as it is kept."""

    model_config = ConfigDict(**RESPONSE, json_schema_extra={"examples": [SIGNAL_EXAMPLE]})

    id: UUID
    task_id: UUID
    name: str
    payload: Any
    sent_by: str
    sent_at: TimeOut
    taken_by: str | None = Field(default=None, description="The step that took it; null until one waits for it.")
    idempotency_key: str | None = None

    @staticmethod
    def from_domain(signal: Signal) -> SignalOut:
        return SignalOut.model_validate(signal)


class SignalPageOut(BaseModel):
    """Some signals of a task, oldest first."""

    model_config = ConfigDict(
        **RESPONSE, json_schema_extra={"examples": [{"data": [SIGNAL_EXAMPLE], "next_cursor": None}]}
    )

    data: list[SignalOut]
    next_cursor: str | None = Field(description="Ask for the next page with it; null at the end of the list.")

    @staticmethod
    def from_domain(page: SignalPage) -> SignalPageOut:
        return SignalPageOut(data=[SignalOut.from_domain(one) for one in page.signals], next_cursor=page.next_cursor)


class SignalsQueryIn(BaseModel):
    """The query of a task's signals."""

    model_config = REQUEST

    limit: int = Field(default=200, description="1 to 1,000.")
    cursor: str | None = Field(default=None, description="`next_cursor` of the page before.")
