from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from uuid import UUID

import pytest
from google.protobuf.message import Message
from pydantic import BaseModel, ValidationError

from ops_core.domain.task import Task, TaskError, TaskKind, TaskStatus, TaskUsage
from ops_core.errors import InvalidInput
from ops_core.services.submission import Submission
from ops_core.wire.agents import (
    AgentLimitsOut,
    AgentOut,
    ApprovalRuleOut,
    KeyRuleOut,
    ModelOut,
    RetryRuleOut,
)
from ops_core.wire.approvals import ApprovalOut, VoteOut
from ops_core.wire.events import EventOut
from ops_core.wire.info import InfoOut, LimitsOut
from ops_core.wire.pb.v1 import agents_pb2, approvals_pb2, info_pb2, schedules_pb2, tasks_pb2
from ops_core.wire.schedules import ScheduleOut
from ops_core.wire.signals import SignalOut
from ops_core.wire.tasks import RetryIn, TaskIn, TaskOut, TaskQueryIn

TASK = Task(
    id=UUID(int=1),
    namespace="default",
    kind=TaskKind.agent,
    status=TaskStatus.failed,
    agent="assistant",
    agent_digest="d",
    queue="default",
    priority=5,
    input={"goal": "x"},
    labels={"a": "b"},
    attempt=1,
    max_attempts=3,
    crashes=0,
    round=1,
    epoch=1,
    seq=4,
    created_at=datetime(2026, 11, 21, 19, tzinfo=timezone(timedelta(hours=9))),
    created_by="anonymous",
    error=TaskError("limit_steps", "over", retryable=False),
    usage=TaskUsage(steps=25),
)


def test_what_is_left_out_of_a_submission_is_left_to_the_agent() -> None:
    submission = TaskIn.model_validate_json('{"agent": "a", "goal": "g"}').to_submission()
    assert submission == Submission(agent="a", goal="g")


def test_every_field_of_a_submission_arrives() -> None:
    body = """{"agent": "a", "input": {"x": 1}, "priority": 7, "run_at": "2030-01-31T09:00:00+01:00",
    "timeout_seconds": 60, "max_attempts": 2, "queue": "q", "labels": {"k": "v"}, "idempotency_key": "i"}"""
    assert TaskIn.model_validate_json(body).to_submission(traceparent="t") == Submission(
        agent="a",
        input={"x": 1},
        priority=7,
        run_at=datetime(2030, 1, 31, 8, tzinfo=UTC),
        timeout_seconds=60.0,
        max_attempts=2,
        queue="q",
        labels={"k": "v"},
        idempotency_key="i",
        traceparent="t",
    )


@pytest.mark.parametrize(
    "wrong",
    [
        {"agent": 7},
        {"goal": ["x"]},
        {"input": "x"},
        {"labels": {"a": 1}},
        {"labels": ["a"]},
        {"run_at": 1893456000},
        {"run_at": "1893456000"},
        {"run_at": "2030-01-31"},
        {"queue": None, "unknown": 1},
    ],
)
def test_values_of_another_type_are_not_bent_into_shape(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        TaskIn.model_validate({"agent": "a", "goal": "g", **wrong})


def test_a_task_is_written_with_times_in_utc_and_read_back_the_same() -> None:
    written = TaskOut.from_domain(TASK).model_dump_json()
    assert '"created_at":"2026-11-21T10:00:00Z"' in written
    read = TaskOut.model_validate_json(written)
    assert read.error is not None
    assert (read.error.to_domain(), read.usage.to_domain()) == (TASK.error, TASK.usage)
    assert read == TaskOut.from_domain(TASK)


def test_a_client_can_read_a_newer_servers_task() -> None:
    written = TaskOut.from_domain(TASK).model_dump(mode="json")
    assert TaskOut.model_validate({**written, "a_field_of_tomorrow": 1}) == TaskOut.from_domain(TASK)


def test_what_is_internal_is_not_shown() -> None:
    assert not {"epoch", "request_hash"} & set(TaskOut.model_fields)


def test_a_retry_goes_on_from_the_journal_unless_it_says_otherwise() -> None:
    assert RetryIn.model_validate({}).retry_from == "journal"
    assert RetryIn.model_validate({"from": "scratch"}).retry_from == "scratch"


def test_statuses_and_labels_of_a_query_are_taken_apart() -> None:
    found = TaskQueryIn(status=["failed, canceled", "queued"], label=["a:b:c", "empty:"]).to_filter()
    assert found.statuses == {TaskStatus.failed, TaskStatus.canceled, TaskStatus.queued}
    assert found.labels == {"a": "b:c", "empty": ""}


@pytest.mark.parametrize("wrong", [{"status": ["done"]}, {"status": [""]}, {"label": ["no-colon"]}])
def test_a_filter_that_can_match_nothing_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput):
        TaskQueryIn(**wrong).to_filter()


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (TaskOut, tasks_pb2.Task),
        (TaskIn, tasks_pb2.SubmitTaskRequest),
        (EventOut, tasks_pb2.TaskEvent),
        (ApprovalOut, approvals_pb2.Approval),
        (VoteOut, approvals_pb2.Vote),
        (SignalOut, tasks_pb2.Signal),
        (ScheduleOut, schedules_pb2.Schedule),
        (AgentOut, agents_pb2.Agent),
        (ModelOut, agents_pb2.ModelChoice),
        (AgentLimitsOut, agents_pb2.AgentLimits),
        (ApprovalRuleOut, agents_pb2.ApprovalRule),
        (RetryRuleOut, agents_pb2.RetryRule),
        (KeyRuleOut, agents_pb2.KeyRule),
        (LimitsOut, info_pb2.Limits),
        (InfoOut, info_pb2.GetInfoResponse),
    ],
)
def test_both_doors_call_a_thing_the_same(model: type[BaseModel], message: type[Message]) -> None:
    # A Struct has a twin for what it cannot hold.
    names = {name.removesuffix("_json") for name in message.DESCRIPTOR.fields_by_name}
    # HTTP streams text as messages of their own, beside the events.
    beside = {"text"} if message is tasks_pb2.TaskEvent else set()
    assert names - beside == set(model.model_fields)
