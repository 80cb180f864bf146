"""Signals to tasks over HTTP."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query, Response

from ops_core.api.door import PREFIX, DoorDep, IdempotencyKey, reply
from ops_core.api.openapi import answers
from ops_core.api.strict_json import StrictRoute
from ops_core.wire.signals import SIGNAL_EXAMPLE, SignalIn, SignalListOut, SignalOut, SignalsQueryIn

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
    responses=answers(SignalListOut, {"data": [SIGNAL_EXAMPLE], "next_cursor": None}, "The signals, oldest first."),
)
async def list_signals(task_id: UUID, door: DoorDep, query: Annotated[SignalsQueryIn, Query()]) -> Response:
    """List the signals that a task was sent."""
    signals = await door.services.signals.list(door.caller, task_id, limit=query.limit)
    return reply(SignalListOut.from_domain(signals))
