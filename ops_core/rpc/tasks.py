"""The gRPC door to tasks."""

# ruff: noqa: N802 - methods have the names that the contract gives them
from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing

from ops_core.domain.event import Event
from ops_core.domain.task import Task
from ops_core.domain.text import TextDelta
from ops_core.rpc.call import Call
from ops_core.rpc.drain import Drain, ServerStopping
from ops_core.rpc.paging import as_many_as_fit, fitting_page, page_size
from ops_core.services.limits import TaskLimits
from ops_core.services.signals import MAX_LISTED, SignalService
from ops_core.services.tasks import TaskService
from ops_core.wire.pb.v1 import tasks_pb2 as pb
from ops_core.wire.protobuf_signals import sent_message, signal_request_from, signals_message
from ops_core.wire.protobuf_tasks import (
    children_message,
    event_message,
    filter_from,
    fork_request_from,
    retry_from_from,
    submission_from,
    submitted_message,
    task_id_from,
    task_message,
    tasks_message,
    text_message,
)

_DEFAULT_TASKS = 50
_DEFAULT_EVENTS = 100
_MAX_EVENTS = 500
_DEFAULT_SIGNALS = 200
#: A wait answers this long before the client's deadline; for short ones, a tenth of what is left.
_ANSWER_SECONDS = 0.5


class TaskServicer:
    """Each method: translate in, call one service method, translate out."""

    def __init__(self, *, tasks: TaskService, signals: SignalService, limits: TaskLimits, drain: Drain) -> None:
        self._tasks = tasks
        self._signals = signals
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
        limit = page_size(request.page_size, default=_DEFAULT_TASKS, most=self._limits.max_page)
        wanted, cursor = filter_from(request), request.page_token or None

        async def read(limit: int) -> tuple[pb.ListTasksResponse, int]:
            page = await self._tasks.list(call.caller, wanted, limit=limit, cursor=cursor)
            return tasks_message(page), len(page.tasks)

        return await fitting_page(limit, read)

    async def CancelTask(self, request: pb.CancelTaskRequest, call: Call) -> pb.Task:
        return task_message(await self._tasks.cancel(call.caller, task_id_from(request.id)))

    async def RetryTask(self, request: pb.RetryTaskRequest, call: Call) -> pb.Task:
        task_id, retry_from = task_id_from(request.id), retry_from_from(request.retry_from)
        step = request.step if request.HasField("step") else None
        return task_message(await self._tasks.retry(call.caller, task_id, retry_from=retry_from, before_step=step))

    async def ForkTask(self, request: pb.ForkTaskRequest, call: Call) -> pb.SubmitTaskResponse:
        task_id, fork = task_id_from(request.id), fork_request_from(request, traceparent=call.traceparent)
        return submitted_message(await self._tasks.fork(call.caller, task_id, fork))

    async def ListTaskChildren(self, request: pb.ListTaskChildrenRequest, call: Call) -> pb.ListTaskChildrenResponse:
        most = self._limits.max_page
        limit = page_size(request.page_size, default=most, most=most)
        task_id, cursor = task_id_from(request.id), request.page_token or None

        async def read(limit: int) -> tuple[pb.ListTaskChildrenResponse, int]:
            page = await self._tasks.children(call.caller, task_id, limit=limit, cursor=cursor)
            return children_message(page), len(page.tasks)

        return await fitting_page(limit, read)

    async def ListTaskAncestors(self, request: pb.ListTaskAncestorsRequest, call: Call) -> pb.ListTaskAncestorsResponse:
        tasks = await self._tasks.ancestors(call.caller, task_id_from(request.id))
        shown = as_many_as_fit(map(task_message, tasks))
        return pb.ListTaskAncestorsResponse(tasks=shown, has_more=len(shown) < len(tasks))

    async def SendSignal(self, request: pb.SendSignalRequest, call: Call) -> pb.SendSignalResponse:
        task_id, signal = task_id_from(request.id), signal_request_from(request)
        return sent_message(await self._signals.send(call.caller, task_id, signal))

    async def ListSignals(self, request: pb.ListSignalsRequest, call: Call) -> pb.ListSignalsResponse:
        limit = page_size(request.page_size, default=_DEFAULT_SIGNALS, most=MAX_LISTED)
        task_id, cursor = task_id_from(request.id), request.page_token or None

        async def read(limit: int) -> tuple[pb.ListSignalsResponse, int]:
            page = await self._signals.list(call.caller, task_id, limit=limit, cursor=cursor)
            return signals_message(page), len(page.signals)

        return await fitting_page(limit, read)

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
        limit = page_size(request.page_size, default=_DEFAULT_EVENTS, most=_MAX_EVENTS)
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


def _wait_seconds(asked: float | None, left: float | None, *, most: float) -> float:
    """How long to wait, so that the answer is back before the deadline. What was asked for is judged by the service."""
    wanted = most if asked is None else asked
    # Not min() alone: a NaN has to reach the service, which refuses it.
    if left is None or not 0 <= wanted <= most:
        return wanted
    return min(wanted, left - min(_ANSWER_SECONDS, left / 10))


def _events_page(events: Sequence[Event], limit: int) -> pb.ListTaskEventsResponse:
    shown = as_many_as_fit(map(event_message, events[:limit]))
    return pb.ListTaskEventsResponse(events=shown, has_more=len(shown) < len(events))
