"""The gRPC door to tasks."""

# ruff: noqa: N802 - methods have the names that the contract gives them
from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing

from ops_core.domain.event import Event
from ops_core.domain.task import Task
from ops_core.domain.text import TextDelta
from ops_core.errors import FieldProblem, InvalidInput
from ops_core.rpc.call import Call
from ops_core.rpc.drain import Drain, ServerStopping
from ops_core.services.limits import TaskLimits
from ops_core.services.tasks import TaskService
from ops_core.wire.pb.v1 import tasks_pb2 as pb
from ops_core.wire.protobuf_tasks import (
    event_message,
    filter_from,
    retry_from_from,
    submission_from,
    submitted_message,
    task_id_from,
    task_message,
    text_message,
)

_DEFAULT_TASKS = 50
_DEFAULT_EVENTS = 100
_MAX_EVENTS = 500
#: gRPC clients refuse replies over 4 MiB unless told otherwise, so a page ends before that.
_PAGE_BYTES = 3 * 1024 * 1024
#: A wait answers this long before the client's deadline; for short ones, a tenth of what is left.
_ANSWER_SECONDS = 0.5


class TaskServicer:
    """Each method: translate in, call one service method, translate out."""

    def __init__(self, *, tasks: TaskService, limits: TaskLimits, drain: Drain) -> None:
        self._tasks = tasks
        self._limits = limits
        self._drain = drain

    async def SubmitTask(self, request: pb.SubmitTaskRequest, call: Call) -> pb.SubmitTaskResponse:
        submission = submission_from(request, traceparent=call.traceparent)
        return submitted_message(await self._tasks.submit(call.caller, submission))

    async def SubmitTasks(self, request: pb.SubmitTasksRequest, call: Call) -> pb.SubmitTasksResponse:
        submissions = [
            submission_from(one, traceparent=call.traceparent, pointer=f"/tasks/{index}")
            for index, one in enumerate(request.tasks)
        ]
        submitted = await self._tasks.submit_batch(call.caller, submissions)
        return pb.SubmitTasksResponse(results=[submitted_message(one) for one in submitted])

    async def GetTask(self, request: pb.GetTaskRequest, call: Call) -> pb.Task:
        return task_message(await self._tasks.get(call.caller, task_id_from(request.id)))

    async def ListTasks(self, request: pb.ListTasksRequest, call: Call) -> pb.ListTasksResponse:
        limit = _page_size(request.page_size, default=_DEFAULT_TASKS, most=self._limits.max_page)
        wanted, cursor = filter_from(request), request.page_token or None
        while True:
            page = await self._tasks.list(call.caller, wanted, limit=limit, cursor=cursor)
            reply = pb.ListTasksResponse(tasks=map(task_message, page.tasks), next_page_token=page.next_cursor or "")
            if limit == 1 or reply.ByteSize() <= _PAGE_BYTES:
                return reply
            limit = max(1, min(limit, len(page.tasks)) // 2)

    async def CancelTask(self, request: pb.CancelTaskRequest, call: Call) -> pb.Task:
        return task_message(await self._tasks.cancel(call.caller, task_id_from(request.id)))

    async def RetryTask(self, request: pb.RetryTaskRequest, call: Call) -> pb.Task:
        task_id, retry_from = task_id_from(request.id), retry_from_from(request.retry_from)
        return task_message(await self._tasks.retry(call.caller, task_id, retry_from=retry_from))

    async def WaitTask(self, request: pb.WaitTaskRequest, call: Call) -> pb.Task:
        wanted = request.timeout_seconds if request.HasField("timeout_seconds") else None
        seconds = _wait_seconds(wanted, call.seconds_left(), most=self._limits.max_wait_seconds)
        return task_message(await self._wait(call, request.id, seconds))

    async def _wait(self, call: Call, id: str, seconds: float) -> Task:
        task_id = task_id_from(id)
        try:
            async with self._drain.cut_short():
                return await self._tasks.wait(call.caller, task_id, timeout_seconds=seconds)
        except ServerStopping:
            return await self._tasks.get(call.caller, task_id)

    async def ListTaskEvents(self, request: pb.ListTaskEventsRequest, call: Call) -> pb.ListTaskEventsResponse:
        limit = _page_size(request.page_size, default=_DEFAULT_EVENTS, most=_MAX_EVENTS)
        events = await self._tasks.events(
            # One more than asked for tells whether there are more.
            call.caller,
            task_id_from(request.id),
            after_seq=request.after_seq,
            limit=limit + 1,
        )
        return _events_page(events, limit)

    async def WatchTask(self, request: pb.WatchTaskRequest, call: Call) -> AsyncGenerator[pb.TaskEvent]:
        task_id = task_id_from(request.id)
        items, seq = self._tasks.watch(call.caller, task_id, after_seq=request.after_seq), request.after_seq
        async with aclosing(items):
            async for item in items:
                match item:
                    case Event():
                        seq = item.seq
                        yield event_message(item)
                    case TextDelta():
                        yield text_message(item, task_id=task_id, seq=seq)


def _page_size(asked: int, *, default: int, most: int) -> int:
    """AIP-158: 0 is the server's choice, too many are cut down, fewer than none are refused."""
    if asked < 0:
        detail = f"must not be negative, not {asked}: 0 leaves it to the server"
        raise InvalidInput(f"`page_size` {detail}.", problems=[FieldProblem("/page_size", detail)])
    return min(asked or default, most)


def _wait_seconds(asked: float | None, left: float | None, *, most: float) -> float:
    """How long to wait, so that the answer is back before the deadline. What was asked for is judged by the service."""
    wanted = most if asked is None else asked
    # Not min() alone: a NaN has to reach the service, which refuses it.
    if left is None or not 0 <= wanted <= most:
        return wanted
    return min(wanted, left - min(_ANSWER_SECONDS, left / 10))


def _events_page(events: Sequence[Event], limit: int) -> pb.ListTaskEventsResponse:
    reply, size = pb.ListTaskEventsResponse(), 0
    for event in events[:limit]:
        message = event_message(event)
        size += message.ByteSize()
        # The first one goes in whatever its size, or the client would never get past it.
        if size > _PAGE_BYTES and reply.events:
            break
        reply.events.append(message)
    reply.has_more = len(reply.events) < len(events)
    return reply
