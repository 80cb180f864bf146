"""Events of a task as JSON and as server-sent events."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from ops_core.domain.event import Event, EventType, StepPhase
from ops_core.domain.text import TextDelta
from ops_core.wire.tasks import RESPONSE, TASK_ID_EXAMPLE
from ops_core.wire.times import TimeOut

EVENT_EXAMPLE: dict[str, Any] = {
    "task_id": TASK_ID_EXAMPLE,
    "seq": 4,
    "round": 1,
    "type": "tool.completed",
    "payload": {"name": "calculator", "arguments": {"expression": "17 * 23"}, "content": "391", "is_error": False},
    "at": "2026-11-21T10:00:01.300000Z",
    "format": 1,
    "step_key": "1/tool/1",
    "phase": "result",
}
TEXT_EXAMPLE: dict[str, Any] = {"step_key": "2/llm", "epoch": 1, "offset": 120, "text": " is 391"}
#: The type of a message that carries text and no event.
TEXT_EVENT = "text"
#: How long, in milliseconds, an EventSource waits before it connects again.
RETRY_MILLISECONDS = 1_000
SSE_PREAMBLE = f"retry: {RETRY_MILLISECONDS}\n\n".encode()
SSE_PING = b": ping\n\n"


class EventOut(BaseModel):
    """One entry of a task's log."""

    model_config = ConfigDict(**RESPONSE, json_schema_extra={"examples": [EVENT_EXAMPLE]})

    task_id: UUID
    seq: int = Field(description="1, 2, 3, … without gaps.")
    round: int
    # Plain text, not the enum: a client must be able to read the events of a newer server.
    type: str = Field(description="What happened: " + ", ".join(f"`{one}`" for one in EventType) + ".")
    payload: dict[str, Any]
    at: TimeOut
    format: int = Field(description="Version of the payload.")
    step_key: str | None = None
    phase: StepPhase | None = None

    @staticmethod
    def from_domain(event: Event) -> EventOut:
        return EventOut.model_validate(event)


class EventPageOut(BaseModel):
    """Some events of a task, in order."""

    model_config = ConfigDict(
        **RESPONSE, json_schema_extra={"examples": [{"data": [EVENT_EXAMPLE], "next_after": None}]}
    )

    data: list[EventOut]
    next_after: int | None = Field(description="`after` of the next page; null when these were the last for now.")

    @staticmethod
    def from_domain(events: Sequence[Event], *, limit: int) -> EventPageOut:
        return EventPageOut(
            data=[EventOut.from_domain(event) for event in events],
            next_after=events[-1].seq if len(events) >= limit else None,
        )


def to_server_sent(event: Event) -> bytes:
    """The event as one message of an event stream: `id` is its seq, `event` its type, `data` its JSON on one line."""
    return f"id: {event.seq}\nevent: {event.type}\ndata: {EventOut.from_domain(event).model_dump_json()}\n\n".encode()


class TextDeltaOut(BaseModel):
    """A piece of the text that a model is writing: part of a stream, and of no list."""

    model_config = ConfigDict(**RESPONSE, json_schema_extra={"examples": [TEXT_EXAMPLE]})

    step_key: str
    epoch: int = Field(description="The claim that writes it. A higher one begins the step's text anew.")
    offset: int = Field(description="Characters (Unicode code points) of the step's text before this piece.")
    text: str


def text_to_server_sent(delta: TextDelta) -> bytes:
    """The piece as one message of an event stream: without an `id`, so that a reconnect still names the last event."""
    return f"event: {TEXT_EVENT}\ndata: {TextDeltaOut.model_validate(delta).model_dump_json()}\n\n".encode()
