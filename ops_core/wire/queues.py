"""Queues as JSON."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from ops_core.ports import QueueLoad
from ops_core.services.queues import QueuePage
from ops_core.wire.tasks import REQUEST, RESPONSE

QUEUE_EXAMPLE: dict[str, Any] = {
    "name": "default",
    "ready": 340,
    "running": 200,
    "workers": 2,
    "slots": 200,
    "free": 0,
    "oldest_ready_seconds": 12.4,
    "wanted_slots": 540,
    "wanted_slots_capped": False,
}


class QueueOut(BaseModel):
    """What a queue has and wants."""

    model_config = ConfigDict(**RESPONSE, json_schema_extra={"examples": [QUEUE_EXAMPLE]})

    name: str
    ready: int = Field(description="Tasks that could be claimed now. Counted up to 10,000.")
    running: int = Field(description="Tasks that run.")
    workers: int = Field(description="Worker processes that were heard of lately, serve the queue and do not drain.")
    slots: int = Field(description="Of those workers. They share them with the other queues that they serve.")
    free: int = Field(description="Slots that were not busy when their worker was last heard of.")
    oldest_ready_seconds: float | None = Field(
        description="Age of the oldest of the ready tasks that were counted; null without one."
    )
    wanted_slots: int = Field(description="`ready` and `running` together: slots that its tasks could use at once.")
    wanted_slots_capped: bool = Field(description="Counting ended at its bound: `ready` may be more.")

    @staticmethod
    def from_load(load: QueueLoad) -> QueueOut:
        return QueueOut.model_validate(load)


class QueuePageOut(BaseModel):
    """Some queues, by name."""

    model_config = ConfigDict(
        **RESPONSE, json_schema_extra={"examples": [{"data": [QUEUE_EXAMPLE], "next_cursor": None}]}
    )

    data: list[QueueOut]
    next_cursor: str | None = Field(description="Ask for the next page with it; null at the end of the list.")

    @staticmethod
    def from_page(page: QueuePage) -> QueuePageOut:
        return QueuePageOut(data=[QueueOut.from_load(one) for one in page.queues], next_cursor=page.next_cursor)


class QueuesQueryIn(BaseModel):
    """The query of a list of queues."""

    model_config = REQUEST

    limit: int = Field(default=50, description="1 to 100.")
    cursor: str | None = Field(default=None, description="`next_cursor` of the page before.")
