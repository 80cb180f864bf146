"""Bad input over gRPC: each kind is refused with a status and the field at fault, never with INTERNAL."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import grpc
import grpc.aio
import pytest
from google.protobuf.struct_pb2 import ListValue, Struct, Value
from google.protobuf.timestamp_pb2 import Timestamp

from ops_core.services.limits import TaskLimits
from ops_core.tests.unit.rpc.conftest import MAX_BODY_BYTES, Door, OpenDoor
from ops_core.tests.unit.rpc.refusals import refused
from ops_core.tests.unit.rpc.test_tasks import struct, submit
from ops_core.wire.pb.v1 import tasks_pb2 as pb

NOWHERE = "01890a5d-ac96-774b-bcce-b302099a8057"
INVALID = grpc.StatusCode.INVALID_ARGUMENT


def nested(depth: int) -> Struct:
    """Objects within one another, built without recursion; the outermost is a valid input."""
    value = Value(string_value="deep")
    for _ in range(depth):
        value = Value(struct_value=Struct(fields={"a": value}))
    value.struct_value.fields["goal"].string_value = "x"
    return value.struct_value


def sized(data: bytes) -> bytes:
    """The bytes of a field, behind their length as a varint."""
    length, head = len(data), b""
    while length > 0x7F:
        head += bytes([length & 0x7F | 0x80])
        length >>= 7
    return head + bytes([length]) + data


def nested_bytes(depth: int) -> bytes:
    """A Struct as `nested`, but of any depth: protobuf itself writes no more than it reads."""
    value = b"\x1a\x04deep"
    for _ in range(depth):
        value = b"\x2a" + sized(b"\x0a" + sized(b"\x0a\x01a\x12" + sized(value)))
    return value[2:]


SUBMISSIONS: dict[str, tuple[dict[str, Any], str]] = {
    "neither goal nor input": ({"goal": None}, "goal"),
    "goal and input": ({"input": struct({"goal": "x"})}, "goal"),
    "empty goal": ({"goal": "  "}, "goal"),
    "goal over the limit": ({"goal": "x" * 1_001}, "goal"),
    "goal with NUL": ({"goal": "a\0b"}, "goal"),
    "no agent": ({"agent": ""}, "agent"),
    "priority too high": ({"priority": 10}, "priority"),
    "priority absurd": ({"priority": -(2**31)}, "priority"),
    "no attempts": ({"max_attempts": 0}, "max_attempts"),
    "attempts absurd": ({"max_attempts": 2**31 - 1}, "max_attempts"),
    "timeout of 0": ({"timeout_seconds": 0.0}, "timeout_seconds"),
    "timeout negative": ({"timeout_seconds": -1.0}, "timeout_seconds"),
    "timeout not a number": ({"timeout_seconds": float("nan")}, "timeout_seconds"),
    "timeout infinite": ({"timeout_seconds": float("inf")}, "timeout_seconds"),
    "run_at in the past": ({"run_at": Timestamp(seconds=0)}, "run_at"),
    "run_at in another age": ({"run_at": Timestamp(seconds=2**62)}, "run_at"),
    "run_at with broken nanos": ({"run_at": Timestamp(seconds=1_900_000_000, nanos=-7)}, "run_at"),
    "queue with a blank": ({"queue": "my queue"}, "queue"),
    "queue empty": ({"queue": ""}, "queue"),
    "label name": ({"labels": {"": "x"}}, "labels."),
    "label too long": ({"labels": {"a": "x" * 500}}, "labels.a"),
    "idempotency key empty": ({"idempotency_key": ""}, "idempotency_key"),
    "idempotency key too long": ({"idempotency_key": "k" * 300}, "idempotency_key"),
    "NaN in the input": ({"goal": None, "input": struct({"goal": "x", "a": [1, float("nan")]})}, "input.a[1]"),
    "infinity in the input": ({"goal": None, "input": struct({"goal": "x", "a": float("inf")})}, "input.a"),
    "a value of no kind": ({"goal": None, "input": Struct(fields={"a/b": Value()})}, "input.a/b"),
    "a list value of no kind": (
        {"goal": None, "input": Struct(fields={"a": Value(list_value=ListValue(values=[Value()]))})},
        "input.a[0]",
    ),
    "input over the depth": ({"goal": None, "input": nested(20)}, "input"),
    "JSON text that is none": ({"goal": None, "input_json": "{'goal': 1}"}, "input_json"),
    "JSON text of a list": ({"goal": None, "input_json": "[]"}, "input_json"),
    "JSON text with NaN": ({"goal": None, "input_json": '{"goal": "x", "a": NaN}'}, "input.a"),
    "JSON text of an endless number": ({"goal": None, "input_json": '{"a": ' + "9" * 5_000 + "}"}, "input_json"),
    "JSON text that nests for ever": ({"goal": None, "input_json": "[" * 50_000}, "input_json"),
    "input that breaks the schema": ({"agent": "translator", "goal": None, "input": struct({"text": 7})}, "input.text"),
}


@pytest.mark.parametrize("name", SUBMISSIONS)
async def test_a_bad_submission_names_its_field(open_door: OpenDoor, name: str) -> None:
    door = await open_door(limits=TaskLimits(max_goal_chars=1_000, max_json_depth=16))
    fields, at_fault = SUBMISSIONS[name]
    request = pb.SubmitTaskRequest(**{"agent": "assistant", "goal": "x", **fields})

    refusal = await refused(door.tasks.SubmitTask(request))

    assert refusal.status is INVALID
    assert list(refusal.fields) == [at_fault]
    assert refusal.message
    assert door.store.tasks == {}


async def test_a_bad_task_in_a_batch_refuses_all_of_it_and_is_named(door: Door) -> None:
    good, bad = pb.SubmitTaskRequest(agent="assistant", goal="x"), pb.SubmitTaskRequest(agent="assistant", priority=99)
    late = pb.SubmitTaskRequest(agent="assistant", goal="x", run_at=Timestamp(seconds=2**62))

    first = await refused(door.tasks.SubmitTasks(pb.SubmitTasksRequest(tasks=[good, bad])))
    second = await refused(door.tasks.SubmitTasks(pb.SubmitTasksRequest(tasks=[good, late])))

    assert set(first.fields) == {"tasks[1].goal", "tasks[1].priority"}
    assert set(second.fields) == {"tasks[1].run_at"}
    assert door.store.tasks == {}


async def test_a_batch_has_between_one_and_the_limit(open_door: OpenDoor) -> None:
    door = await open_door(limits=TaskLimits(max_batch=2))
    one = pb.SubmitTaskRequest(agent="assistant", goal="x")

    empty = await refused(door.tasks.SubmitTasks(pb.SubmitTasksRequest()))
    over = await refused(door.tasks.SubmitTasks(pb.SubmitTasksRequest(tasks=[one] * 3)))

    assert (empty.status, empty.code) == (INVALID, "invalid_input")
    assert (over.status, over.code) == (INVALID, "payload_too_large")


async def test_an_unknown_agent_is_not_found(door: Door) -> None:
    refusal = await refused(door.tasks.SubmitTask(pb.SubmitTaskRequest(agent="asistant", goal="x")))

    assert (refusal.status, refusal.code) == (grpc.StatusCode.NOT_FOUND, "agent_not_found")
    assert "did you mean 'assistant'" in refusal.message


async def test_a_key_used_for_another_request_is_refused(door: Door) -> None:
    await submit(door, goal="one", idempotency_key="k")

    refusal = await refused(submit(door, goal="two", idempotency_key="k"))

    assert (refusal.status, refusal.code) == (INVALID, "idempotency_key_reused")


BY_ID: dict[str, Callable[[Door, str], Awaitable[Any]]] = {
    "GetTask": lambda door, id: door.tasks.GetTask(pb.GetTaskRequest(id=id)),
    "CancelTask": lambda door, id: door.tasks.CancelTask(pb.CancelTaskRequest(id=id)),
    "RetryTask": lambda door, id: door.tasks.RetryTask(pb.RetryTaskRequest(id=id)),
    "WaitTask": lambda door, id: door.tasks.WaitTask(pb.WaitTaskRequest(id=id, timeout_seconds=1)),
    "ListTaskEvents": lambda door, id: door.tasks.ListTaskEvents(pb.ListTaskEventsRequest(id=id)),
}


@pytest.mark.parametrize("method", BY_ID)
@pytest.mark.parametrize("id", ["", "7", "not-a-uuid", f"{{{NOWHERE}}}", f"urn:uuid:{NOWHERE}", "x" * 10_000, "\0"])
async def test_a_malformed_id_is_refused(door: Door, method: str, id: str) -> None:
    refusal = await refused(BY_ID[method](door, id))

    assert (refusal.status, set(refusal.fields)) == (INVALID, {"id"})


@pytest.mark.parametrize("method", BY_ID)
async def test_an_unknown_task_is_not_found(door: Door, method: str) -> None:
    refusal = await refused(BY_ID[method](door, NOWHERE))

    assert (refusal.status, refusal.code) == (grpc.StatusCode.NOT_FOUND, "task_not_found")


LISTS: dict[str, tuple[pb.ListTasksRequest, str]] = {
    "page size": (pb.ListTasksRequest(page_size=-1), "page_size"),
    "token": (pb.ListTasksRequest(page_token="rubbish"), "page_token"),
    "token of many bytes": (pb.ListTasksRequest(page_token="A" * 50_000), "page_token"),
    "status unset": (pb.ListTasksRequest(statuses=[pb.TASK_STATUS_UNSPECIFIED]), "statuses[0]"),
    "status unknown": (
        pb.ListTasksRequest(statuses=[pb.TASK_STATUS_QUEUED, 4_711]),  # type: ignore[list-item]  # it is none
        "statuses[1]",
    ),
    "created_after": (pb.ListTasksRequest(created_after=Timestamp(seconds=-(2**62))), "created_after"),
    "created_before": (pb.ListTasksRequest(created_before=Timestamp(nanos=2**31 - 1)), "created_before"),
    "id_prefix": (pb.ListTasksRequest(id_prefix="xyz"), "id_prefix"),
}


@pytest.mark.parametrize("name", LISTS)
async def test_a_bad_list_names_its_field(door: Door, name: str) -> None:
    request, at_fault = LISTS[name]

    refusal = await refused(door.tasks.ListTasks(request))

    assert (refusal.status, set(refusal.fields)) == (INVALID, {at_fault})


async def test_a_token_of_another_list_is_refused(door: Door) -> None:
    for _ in range(3):
        await submit(door)
    token = (await door.tasks.ListTasks(pb.ListTasksRequest(page_size=1))).next_page_token

    refusal = await refused(door.tasks.ListTasks(pb.ListTasksRequest(page_token=token, agent="assistant")))

    assert (refusal.status, refusal.code) == (INVALID, "cursor_malformed")


@pytest.mark.parametrize(
    ("request_", "at_fault"),
    [
        (pb.ListTaskEventsRequest(after_seq=-1), "after_seq"),
        (pb.ListTaskEventsRequest(page_size=-1), "page_size"),
    ],
)
async def test_a_bad_list_of_events_names_its_field(
    door: Door, request_: pb.ListTaskEventsRequest, at_fault: str
) -> None:
    request_.id = (await submit(door)).id

    refusal = await refused(door.tasks.ListTaskEvents(request_))

    assert (refusal.status, set(refusal.fields)) == (INVALID, {at_fault})


async def test_an_unknown_place_to_retry_from_is_refused(door: Door) -> None:
    request = pb.RetryTaskRequest(id=NOWHERE, retry_from=99)  # type: ignore[arg-type]  # it is none

    refusal = await refused(door.tasks.RetryTask(request))

    assert (refusal.status, set(refusal.fields)) == (INVALID, {"retry_from"})


def submit_bytes(door: Door, data: bytes) -> Awaitable[Any]:
    """A SubmitTask of exactly these bytes."""
    call: Callable[[bytes], Awaitable[Any]] = door.channel.unary_unary("/ops_core.v1.TaskService/SubmitTask")  # type: ignore[assignment]  # without serializers it takes bytes
    return call(data)


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"\x0a\x02\xff\xfe", id="text that is not UTF-8"),
        pytest.param(b"\x0a\xff\xff\xff\xff\x0f", id="cut off"),
        pytest.param(b"\xff" * 100, id="rubbish"),
        pytest.param(b"\x12" + sized(nested_bytes(200)), id="nested deeper than protobuf reads"),
    ],
)
async def test_bytes_that_are_no_request_are_malformed(door: Door, data: bytes) -> None:
    refusal = await refused(submit_bytes(door, data))

    assert (refusal.status, refusal.code) == (INVALID, "malformed_request")


async def test_a_message_over_the_limit_is_refused_by_grpc_itself(door: Door) -> None:
    request = pb.SubmitTaskRequest(agent="assistant", goal="x" * MAX_BODY_BYTES)

    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await door.tasks.SubmitTask(request)

    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert str(MAX_BODY_BYTES) in (caught.value.details() or "")


async def test_the_server_goes_on_after_all_that(door: Door) -> None:
    await refused(submit_bytes(door, b"\xff" * 1_000))

    assert (await submit(door)).status == pb.TASK_STATUS_QUEUED
