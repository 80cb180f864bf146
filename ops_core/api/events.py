"""A task's events over HTTP: as a list, or as a stream of server-sent events on the same path."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Header, Query, Response
from starlette.responses import StreamingResponse

from ops_core.api.door import PREFIX, Door, DoorDep, reply
from ops_core.api.long_wait import with_pings
from ops_core.api.openapi import answers
from ops_core.domain.event import Event
from ops_core.domain.text import TextDelta
from ops_core.errors import FieldProblem, InvalidInput, OpsCoreError
from ops_core.telemetry import LogEvent, get_logger
from ops_core.wire.events import (
    EVENT_EXAMPLE,
    SSE_PING,
    SSE_PREAMBLE,
    EventPageOut,
    text_to_server_sent,
    to_server_sent,
)
from ops_core.wire.tasks import EventsQueryIn

router = APIRouter(prefix=f"{PREFIX}/tasks", tags=["tasks"])

_STREAM = "text/event-stream"
#: More than any task's log will ever have.
_SEQ_DIGITS = 18
# A proxy that collects the stream before it passes it on would make it useless.
_STREAM_HEADERS = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}
_DOCS = answers(
    EventPageOut,
    {"data": [EVENT_EXAMPLE], "next_after": None},
    "The events; with `Accept: text/event-stream` a stream that ends when the task has finished. Of a task that "
    "streams it has messages of the type `text` in between, without an id: the text that the model is writing.",
    more={204: {"description": "Stream only: the task has finished and you have its last event. Stop reconnecting."}},
)
_DOCS[200]["content"][_STREAM] = {
    "schema": {"type": "string"},
    "example": "retry: 1000\n\nid: 1\nevent: task.submitted\ndata: {…}\n\nevent: text\ndata: {…}\n\n",
}


@router.get("/{task_id}/events", responses=_DOCS)
async def list_or_stream_events(
    task_id: UUID,
    door: DoorDep,
    query: Annotated[EventsQueryIn, Query()],
    accept: Annotated[str, Header(include_in_schema=False)] = "",
    last_event_id: Annotated[
        str | None,
        Header(alias="Last-Event-ID", description="Stream only: go on after this `seq`. Comes before `?after=`."),
    ] = None,
) -> Response:
    """A task's events. `Accept: text/event-stream` streams them as they happen; go on with `Last-Event-ID`."""
    if _STREAM in accept.lower():
        return await _stream(door, task_id, query.after if last_event_id is None else _seq(last_event_id))
    events = await door.tasks.events(door.caller, task_id, after_seq=query.after, limit=query.limit)
    return reply(EventPageOut.from_domain(events, limit=query.limit))


async def _stream(door: Door, task_id: UUID, after_seq: int) -> Response:
    # Asked here, since nothing can be refused once the stream has begun.
    task = await door.tasks.get(door.caller, task_id)
    if not 0 <= after_seq < 10**_SEQ_DIGITS:
        raise _bad_seq()
    if task.status.is_final and after_seq >= task.seq:
        return Response(status_code=204, headers=_STREAM_HEADERS)
    return StreamingResponse(_messages(door, task_id, after_seq), 200, _STREAM_HEADERS, _STREAM)


async def _messages(door: Door, task_id: UUID, after_seq: int) -> AsyncIterator[bytes]:
    yield SSE_PREAMBLE
    events = door.tasks.watch(door.caller, task_id, after_seq=after_seq)
    try:
        async with aclosing(with_pings(events, door.draining, every_seconds=door.config.ping_seconds)) as paced:
            async for item in paced:
                yield _message(item)
    except OpsCoreError as exc:
        # The database is away, or the task has been removed. The stream ends; its reader connects again after the
        # pause it was told, and goes on where it was, or is told what is wrong.
        get_logger().warning(LogEvent.request_failed, task_id=str(task_id), error_code=exc.code)


def _message(item: Event | TextDelta | None) -> bytes:
    match item:
        case None:
            return SSE_PING
        case TextDelta():
            return text_to_server_sent(item)
        case Event():
            return to_server_sent(item)


def _seq(last_event_id: str) -> int:
    if not (last_event_id.isascii() and last_event_id.isdecimal() and len(last_event_id) <= _SEQ_DIGITS):
        raise _bad_seq()
    return int(last_event_id)


def _bad_seq() -> InvalidInput:
    detail = "must be the seq of an event: a whole number from 0 on"
    return InvalidInput(f"`Last-Event-ID` or `after` {detail}.", problems=[FieldProblem("/after", detail)])
