"""Tasks, their events and requests about them: between protobuf messages and our own values."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any, TypeVar
from uuid import UUID

from ops_core.domain.event import Event
from ops_core.domain.task import JsonObject, RetryFrom, Task, TaskError, TaskKind, TaskStatus, TaskUsage, WaitingFor
from ops_core.domain.text import TextDelta
from ops_core.errors import FieldProblem, InvalidInput
from ops_core.services.submission import Submission
from ops_core.services.tasks import Submitted, TaskFilter
from ops_core.wire.events import TEXT_EVENT
from ops_core.wire.pb.v1 import tasks_pb2 as pb
from ops_core.wire.protobuf_json import (
    json_from_struct,
    json_text,
    object_from_json_text,
    struct_from_json,
    value_from_json,
)
from ops_core.wire.protobuf_time import datetime_from, timestamp_from

_E = TypeVar("_E", bound=StrEnum)


def _numbers(enum: type[_E], message_enum: Any, prefix: str) -> Mapping[_E, Any]:
    """The protobuf number of each member, found by its name in the message enum (which stubs describe as a type)."""
    return {member: message_enum.Value(f"{prefix}_{member.name.upper()}") for member in enum}


STATUS_NUMBERS = _numbers(TaskStatus, pb.TaskStatus, "TASK_STATUS")
KIND_NUMBERS = _numbers(TaskKind, pb.TaskKind, "TASK_KIND")
WAITING_FOR_NUMBERS = _numbers(WaitingFor, pb.WaitingFor, "WAITING_FOR")
RETRY_FROM_NUMBERS = _numbers(RetryFrom, pb.RetryFrom, "RETRY_FROM")


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
        stream=task.stream,
    )
    if (struct := struct_from_json(task.input)) is not None:
        message.input.CopyFrom(struct)
    else:
        message.input_json = json_text(task.input)
    if task.status is TaskStatus.completed:
        if (value := value_from_json(task.result)) is not None:
            message.result.CopyFrom(value)
        else:
            message.result_json = json_text(task.result)
    return message


def _error_message(error: TaskError) -> pb.TaskError:
    return pb.TaskError(code=error.code, message=error.message, retryable=error.retryable)


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
    if (struct := struct_from_json(event.payload)) is not None:
        message.payload.CopyFrom(struct)
    else:
        message.payload_json = json_text(event.payload)
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


def submission_from(request: pb.SubmitTaskRequest, *, traceparent: str | None, pointer: str = "") -> Submission:
    """What the request asks for; its values are judged by the service.

    Raises:
        InvalidInput: a part of it means nothing. `pointer` is where the request stands in a batch.
    """
    given: dict[str, Any] = {
        name: getattr(request, name)
        for name in ("goal", "priority", "timeout_seconds", "max_attempts", "queue", "idempotency_key")
        if request.HasField(name)
    }
    if request.HasField("run_at"):
        given["run_at"] = datetime_from(request.run_at, pointer=f"{pointer}/run_at")
    return Submission(
        agent=request.agent,
        input=_input(request, pointer),
        labels=dict(request.labels),
        stream=request.stream,
        traceparent=traceparent,
        **given,
    )


def _input(request: pb.SubmitTaskRequest, pointer: str) -> JsonObject | None:
    match request.WhichOneof("input_form"):
        case "input":
            return json_from_struct(request.input, pointer=f"{pointer}/input")
        case "input_json":
            return object_from_json_text(request.input_json, pointer=f"{pointer}/input_json")
        case _:
            return None


def filter_from(request: pb.ListTasksRequest) -> TaskFilter:
    """Which tasks the request asks for.

    Raises:
        InvalidInput: a status is none, or a time is out of range.
    """
    return TaskFilter(
        statuses=frozenset(
            _member(STATUS_NUMBERS, number, pointer=f"/statuses/{index}")
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
    return _member(RETRY_FROM_NUMBERS, number, pointer="/retry_from")


def _member(numbers: Mapping[_E, int], number: int, *, pointer: str) -> _E:
    for member, known in numbers.items():
        if known == number:
            return member
    detail = f"must be one of {', '.join(f'{known} ({member})' for member, known in numbers.items())}, not {number}"
    raise InvalidInput(f"`{pointer[1:]}` {detail}.", problems=[FieldProblem(pointer, detail)])


def task_id_from(text: str) -> UUID:
    """The id.

    Raises:
        InvalidInput: it is no UUID in the usual form.
    """
    try:
        task_id = UUID(text)
    except ValueError:
        task_id = None
    if task_id is None or str(task_id) != text.lower():
        detail = "must be a task's id, such as 01890a5d-ac96-774b-bcce-b302099a8057"
        raise InvalidInput(f"`id` {detail}.", problems=[FieldProblem("/id", detail)])
    return task_id
