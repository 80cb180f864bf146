"""Signals to tasks over HTTP."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query, Request, Response

from ops_core.api.door import PREFIX, DoorDep, IdempotencyKey, next_page, reply
from ops_core.api.openapi import answers
from ops_core.api.strict_json import StrictRoute
from ops_core.wire.signals import SIGNAL_EXAMPLE, SignalIn, SignalOut, SignalPageOut, SignalsQueryIn

router = APIRouter(prefix=f"{PREFIX}/tasks", tags=["tasks"], route_class=StrictRoute)


@router.post(
    "/{task_id}/signals",
    status_code=201,
    responses=answers(
        SignalOut,
        SIGNAL_EXAMPLE,
        "The signal: given to the step in `taken_by`, or kept until one waits for it.",
        status=201,
        more={200: {"model": SignalOut, "description": "The idempotency key was known: the first signal."}},
    ),
)
async def send_signal(task_id: UUID, body: SignalIn, door: DoorDep, idempotency_key: IdempotencyKey = None) -> Response:
    """Send a task a signal, whether it waits for it yet or not."""
    sent = await door.services.signals.send(door.caller, task_id, body.to_request(idempotency_key=idempotency_key))
    if sent.replayed:
        return reply(SignalOut.from_domain(sent.signal), 200, {"Idempotent-Replayed": "true"})
    return reply(SignalOut.from_domain(sent.signal), 201)


@router.get(
    "/{task_id}/signals",
    responses=answers(SignalPageOut, {"data": [SIGNAL_EXAMPLE], "next_cursor": None}, "Some signals, oldest first."),
)
async def list_signals(
    task_id: UUID, request: Request, door: DoorDep, query: Annotated[SignalsQueryIn, Query()]
) -> Response:
    """List the signals that a task was sent, oldest first."""
    page = await door.services.signals.list(door.caller, task_id, limit=query.limit, cursor=query.cursor)
    return reply(SignalPageOut.from_domain(page), headers=next_page(request, page.next_cursor))
