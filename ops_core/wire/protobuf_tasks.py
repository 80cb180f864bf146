"""Tasks, their events and requests about them: between protobuf messages and our own values."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from ops_core.domain.event import Event
from ops_core.domain.task import (
    ForkOrigin,
    RateLimit,
    RetryFrom,
    Task,
    TaskError,
    TaskKind,
    TaskStatus,
    TaskUsage,
    WaitingFor,
)
from ops_core.domain.text import TextDelta
from ops_core.services.forks import ForkRequest, ModelChange
from ops_core.services.submission import Submission
from ops_core.services.tasks import Submitted, TaskFilter, TaskPage
from ops_core.wire.events import TEXT_EVENT
from ops_core.wire.pb.v1 import tasks_pb2 as pb
from ops_core.wire.protobuf_enums import member_of, numbers_of
from ops_core.wire.protobuf_ids import uuid_from
from ops_core.wire.protobuf_json import object_of, put_object, put_value
from ops_core.wire.protobuf_time import datetime_from, timestamp_from

STATUS_NUMBERS = numbers_of(TaskStatus, pb.TaskStatus, "TASK_STATUS")
KIND_NUMBERS = numbers_of(TaskKind, pb.TaskKind, "TASK_KIND")
WAITING_FOR_NUMBERS = numbers_of(WaitingFor, pb.WaitingFor, "WAITING_FOR")
RETRY_FROM_NUMBERS = numbers_of(RetryFrom, pb.RetryFrom, "RETRY_FROM")


def task_message(task: Task) -> pb.Task:
    """The task as a message."""
    message = pb.Task(
        id=str(task.id),
        namespace=task.namespace,
        kind=KIND_NUMBERS[task.kind],
        status=STATUS_NUMBERS[task.status],
        agent=task.agent,
        agent_digest=task.agent_digest,
        queue=task.queue,
        priority=task.priority,
        labels=task.labels,
        attempt=task.attempt,
        max_attempts=task.max_attempts,
        crashes=task.crashes,
        round=task.round,
        seq=task.seq,
        created_at=timestamp_from(task.created_at),
        created_by=task.created_by,
        run_at=timestamp_from(task.run_at),
        started_at=timestamp_from(task.started_at),
        finished_at=timestamp_from(task.finished_at),
        timeout_seconds=task.timeout_seconds,
        deadline_at=timestamp_from(task.deadline_at),
        cancel_requested_at=timestamp_from(task.cancel_requested_at),
        waiting_for=None if task.waiting_for is None else WAITING_FOR_NUMBERS[task.waiting_for],
        error=None if task.error is None else _error_message(task.error),
        usage=_usage_message(task.usage),
        idempotency_key=task.idempotency_key,
        parent_id=None if task.parent_id is None else str(task.parent_id),
        traceparent=task.traceparent,
        worker_id=task.worker_id,
        queue_timeout_seconds=task.queue_timeout_seconds,
        attempt_timeout_seconds=task.attempt_timeout_seconds,
        concurrency_key=task.concurrency_key,
        concurrency_limit=task.concurrency_limit,
        rate=_rate_message(task.rate),
        fairness_key=task.fairness_key,
        blocked=task.blocked,
        depth=task.depth,
        pending_children=task.pending_children,
        forked_from=None if task.forked_from is None else _fork_origin_message(task.forked_from),
        schedule_id=None if task.schedule_id is None else str(task.schedule_id),
        stream=task.stream,
    )
    put_object(message, "input", task.input)
    if task.status is TaskStatus.completed:
        put_value(message, "result", task.result)
    return message


def _error_message(error: TaskError) -> pb.TaskError:
    message = pb.TaskError(code=error.code, message=error.message, retryable=error.retryable)
    put_object(message, "evidence", error.evidence)
    return message


def _rate_message(rate: RateLimit | None) -> pb.RateLimit | None:
    return None if rate is None else pb.RateLimit(key=rate.key, limit=rate.limit, per_seconds=rate.per_seconds)


def _fork_origin_message(origin: ForkOrigin) -> pb.ForkOrigin:
    return pb.ForkOrigin(task_id=str(origin.task_id), round=origin.round, before_step=origin.before_step)


def _usage_message(usage: TaskUsage) -> pb.TaskUsage:
    return pb.TaskUsage(
        steps=usage.steps,
        tool_calls=usage.tool_calls,
        input_tokens=usage.input_tokens,
        output_tokens=usage.output_tokens,
        cached_input_tokens=usage.cached_input_tokens,
        reasoning_tokens=usage.reasoning_tokens,
        active_seconds=usage.active_seconds,
    )


def tasks_message(page: TaskPage) -> pb.ListTasksResponse:
    """A page of tasks, as a message."""
    return pb.ListTasksResponse(tasks=map(task_message, page.tasks), next_page_token=page.next_cursor or "")


def children_message(page: TaskPage) -> pb.ListTaskChildrenResponse:
    """A page of a task's children, as a message."""
    return pb.ListTaskChildrenResponse(
        tasks=map(task_message, page.tasks),
        has_more=page.next_cursor is not None,
        next_page_token=page.next_cursor or "",
    )


def submitted_message(submitted: Submitted) -> pb.SubmitTaskResponse:
    """What became of a submission, as a message."""
    return pb.SubmitTaskResponse(task=task_message(submitted.task), replayed=submitted.replayed)


def event_message(event: Event) -> pb.TaskEvent:
    """The event as a message."""
    message = pb.TaskEvent(
        task_id=str(event.task_id),
        seq=event.seq,
        round=event.round,
        type=event.type.value,
        at=timestamp_from(event.at),
        step_key=event.step_key,
        phase=None if event.phase is None else event.phase.value,
        format=event.format,
    )
    put_object(message, "payload", event.payload)
    return message


def text_message(delta: TextDelta, *, task_id: UUID, seq: int) -> pb.TaskEvent:
    """The piece of text as a message; it has the number of the entry before it, for readers that only look at that."""
    return pb.TaskEvent(
        task_id=str(task_id),
        seq=seq,
        type=TEXT_EVENT,
        step_key=delta.step_key,
        text=pb.TextDelta(epoch=delta.epoch, offset=delta.offset, text=delta.text),
    )


#: Fields of a submission that are taken as they are where they are set.
_OPTIONAL = (
    *("goal", "priority", "timeout_seconds", "max_attempts", "queue", "idempotency_key"),
    *("queue_timeout_seconds", "attempt_timeout_seconds", "concurrency_key", "concurrency_limit", "fairness_key"),
)


def submission_from(request: pb.SubmitTaskRequest, *, traceparent: str | None, pointer: str = "") -> Submission:
    """What the request asks for; its values are judged by the service.

    Raises:
        InvalidInput: a part of it means nothing. `pointer` is where the request stands in a batch.
    """
    given: dict[str, Any] = {
        name: getattr(request, name)
        for name in _OPTIONAL
        if request.HasField(name)  # type: ignore[arg-type]  # names of optional fields
    }
    if request.HasField("rate"):
        rate = request.rate
        given["rate"] = RateLimit(key=rate.key, limit=rate.limit, per_seconds=rate.per_seconds)
    if request.HasField("run_at"):
        given["run_at"] = datetime_from(request.run_at, pointer=f"{pointer}/run_at")
    return Submission(
        agent=request.agent,
        input=object_of(request, "input", pointer=pointer),
        labels=dict(request.labels),
        stream=request.stream,
        traceparent=traceparent,
        **given,
    )


def submission_message(submission: Submission) -> pb.SubmitTaskRequest:
    """The inverse of `submission_from`, for submissions that are kept."""
    message = pb.SubmitTaskRequest(
        agent=submission.agent,
        run_at=timestamp_from(submission.run_at),
        labels=submission.labels,
        rate=_rate_message(submission.rate),
        stream=submission.stream,
        **{name: getattr(submission, name) for name in _OPTIONAL},
    )
    put_object(message, "input", submission.input)
    return message


def fork_request_from(request: pb.ForkTaskRequest, *, traceparent: str | None) -> ForkRequest:
    """What the fork takes over, and what is different; its values are judged by the service.

    Raises:
        InvalidInput, MalformedRequest: the input is none.
    """
    model = request.model
    return ForkRequest(
        before_step=request.from_step,
        instructions=request.instructions if request.HasField("instructions") else None,
        model=(
            ModelChange(
                provider=model.provider if model.HasField("provider") else None,
                name=model.name if model.HasField("name") else None,
            )
            if request.HasField("model")
            else None
        ),
        input=object_of(request, "input"),
        idempotency_key=request.idempotency_key if request.HasField("idempotency_key") else None,
        traceparent=traceparent,
    )


def filter_from(request: pb.ListTasksRequest) -> TaskFilter:
    """Which tasks the request asks for.

    Raises:
        InvalidInput: a status is none, or a time is out of range.
    """
    return TaskFilter(
        statuses=frozenset(
            member_of(STATUS_NUMBERS, number, pointer=f"/statuses/{index}")
            for index, number in enumerate(request.statuses)
        ),
        agent=request.agent if request.HasField("agent") else None,
        queue=request.queue if request.HasField("queue") else None,
        labels=dict(request.labels),
        created_after=(
            datetime_from(request.created_after, pointer="/created_after")
            if request.HasField("created_after")
            else None
        ),
        created_before=(
            datetime_from(request.created_before, pointer="/created_before")
            if request.HasField("created_before")
            else None
        ),
        id_prefix=request.id_prefix if request.HasField("id_prefix") else None,
    )


def retry_from_from(number: int) -> RetryFrom:
    """Where to start; unspecified means the journal.

    Raises:
        InvalidInput: this version knows no such place.
    """
    if number == pb.RETRY_FROM_UNSPECIFIED:
        return RetryFrom.journal
    return member_of(RETRY_FROM_NUMBERS, number, pointer="/retry_from")


def task_id_from(text: str) -> UUID:
    """Raises:
    InvalidInput: it is no UUID in the usual form.
    """
    return uuid_from(text, of="a task")
