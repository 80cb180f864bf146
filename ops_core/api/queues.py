"""Queues over HTTP."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from ops_core.api.door import PREFIX, DoorDep, next_page, reply
from ops_core.api.openapi import answers
from ops_core.wire.queues import QUEUE_EXAMPLE, QueueOut, QueuePageOut, QueuesQueryIn

router = APIRouter(prefix=f"{PREFIX}/queues", tags=["queues"])


@router.get(
    "", responses=answers(QueuePageOut, {"data": [QUEUE_EXAMPLE], "next_cursor": None}, "Some queues, by name.")
)
async def list_queues(request: Request, door: DoorDep, query: Annotated[QueuesQueryIn, Query()]) -> Response:
    """List the queues that have something ready or running, or a worker; by name."""
    page = await door.services.queues.list(door.caller, limit=query.limit, cursor=query.cursor)
    return reply(QueuePageOut.from_page(page), headers=next_page(request, page.next_cursor))


@router.get("/{name}", responses=answers(QueueOut, QUEUE_EXAMPLE, "What the queue has and wants now."))
async def get_queue(name: str, door: DoorDep) -> Response:
    """Tell what a queue has and how many slots it wants, for whatever scales its workers. A queue that nobody has heard
    of is one with nothing in it."""
    return reply(QueueOut.from_load(await door.services.queues.get(door.caller, name)))
