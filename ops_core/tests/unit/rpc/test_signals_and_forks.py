"""Signals, retries from a step, forks and the family of a task over gRPC."""

from __future__ import annotations

from dataclasses import replace
from typing import Any
from uuid import UUID

import grpc
import pytest
import pytest_asyncio

from ops_core.domain.event import EventType, NewEvent, StepPhase
from ops_core.domain.outcome import Completed
from ops_core.domain.task import TaskUsage
from ops_core.tests.unit.rpc.conftest import Door
from ops_core.tests.unit.rpc.refusals import refused
from ops_core.tests.unit.rpc.test_tasks import struct
from ops_core.wire.pb.v1 import tasks_pb2 as pb

INVALID = grpc.StatusCode.INVALID_ARGUMENT
TOO_LATE = grpc.StatusCode.FAILED_PRECONDITION
NOWHERE = "01890a5d-ac96-774b-bcce-b302099a8057"
STEP = NewEvent(type=EventType.llm_completed, payload={}, step_key="1/llm", phase=StepPhase.result)


@pytest_asyncio.fixture
async def task_id(door: Door) -> str:
    return (await door.tasks.SubmitTask(pb.SubmitTaskRequest(agent="assistant", goal="x"))).task.id


@pytest_asyncio.fixture
async def finished(door: Door, task_id: str) -> str:
    """Of one step."""
    await door.store.run(UUID(task_id), Completed(result="4", usage=TaskUsage()), STEP)
    return task_id


async def test_a_signal_is_kept_once_for_its_key_and_listed(door: Door, task_id: str) -> None:
    request = pb.SendSignalRequest(id=task_id, name="paid", payload_json='{"amount": 80}', idempotency_key="k")
    first, again = await door.tasks.SendSignal(request), await door.tasks.SendSignal(request)
    assert (first.replayed, again.replayed) == (False, True)
    assert first.signal == again.signal
    assert first.signal.payload.struct_value.fields["amount"].number_value == 80
    listed = await door.tasks.ListSignals(pb.ListSignalsRequest(id=task_id))
    assert (list(listed.signals), listed.has_more) == ([first.signal], False)


async def test_a_signal_for_a_finished_task(door: Door, finished: str) -> None:
    refusal = await refused(door.tasks.SendSignal(pb.SendSignalRequest(id=finished, name="paid")))
    assert (refusal.status, refusal.code) == (TOO_LATE, "task_finished")


@pytest.mark.parametrize(
    ("signal", "field"),
    [
        ({"name": ""}, "name"),
        ({"name": "a b"}, "name"),
        ({"name": "x", "payload_json": '"' + "y" * 64_000 + '"'}, "payload"),
        ({"name": "x", "payload_json": "{"}, "payload_json"),
        ({"name": "x", "idempotency_key": "ü"}, "idempotency_key"),
    ],
)
async def test_what_cannot_be_a_signal(door: Door, task_id: str, signal: dict[str, Any], field: str) -> None:
    refusal = await refused(door.tasks.SendSignal(pb.SendSignalRequest(id=task_id, **signal)))
    assert (refusal.status, set(refusal.fields)) == (INVALID, {field})


async def test_a_fork_is_a_new_task_with_a_link(door: Door, finished: str) -> None:
    request = pb.ForkTaskRequest(
        id=finished,
        from_step=2,
        instructions="Be brief.",
        model=pb.ForkModel(provider="demo"),
        input=struct({"goal": "else"}),
        idempotency_key="k",
    )
    first, again = await door.tasks.ForkTask(request), await door.tasks.ForkTask(request)
    assert (first.replayed, again.replayed) == (False, True)
    origin = first.task.forked_from
    assert (origin.task_id, origin.round, origin.before_step) == (finished, 1, 2)
    assert dict(first.task.input) == {"goal": "else"}
    definition = door.store.definitions[first.task.agent_digest]
    assert (definition.instructions, definition.model.provider) == ("Be brief.", "demo")


async def test_a_fork_from_a_step_that_is_not_there(door: Door, finished: str) -> None:
    refusal = await refused(door.tasks.ForkTask(pb.ForkTaskRequest(id=finished, from_step=9)))
    assert (refusal.status, refusal.code, set(refusal.fields)) == (INVALID, "step_not_found", {"from_step"})
    refusal = await refused(door.tasks.ForkTask(pb.ForkTaskRequest(id=finished)))
    assert (refusal.status, set(refusal.fields)) == (INVALID, {"from_step"})


async def test_only_a_finished_task_is_forked(door: Door, task_id: str) -> None:
    refusal = await refused(door.tasks.ForkTask(pb.ForkTaskRequest(id=task_id, from_step=1)))
    assert (refusal.status, refusal.code) == (TOO_LATE, "task_not_finished")


async def test_a_retry_from_a_step(door: Door, finished: str) -> None:
    for wrong in ({"retry_from": pb.RETRY_FROM_STEP}, {"step": 1}, {"retry_from": pb.RETRY_FROM_STEP, "step": 9}):
        refusal = await refused(door.tasks.RetryTask(pb.RetryTaskRequest(id=finished, **wrong)))
        assert (refusal.status, set(refusal.fields)) == (INVALID, {"step"})
    task = await door.tasks.RetryTask(pb.RetryTaskRequest(id=finished, retry_from=pb.RETRY_FROM_STEP, step=1))
    assert task.round == 2


@pytest.mark.parametrize(
    ("bounds", "field"),
    [
        ({"concurrency_key": "k" * 10_240, "concurrency_limit": 1}, "concurrency_key"),
        ({"fairness_key": "k" * 10_240}, "fairness_key"),
        ({"rate": pb.RateLimit(key="k" * 10_240, limit=1, per_seconds=1)}, "rate.key"),
        ({"rate": pb.RateLimit(key="k", limit=1)}, "rate.per_seconds"),
        ({"concurrency_key": "k"}, "concurrency_limit"),
    ],
)
async def test_a_key_of_ten_kilobytes_and_other_limits_that_cannot_be(
    door: Door, bounds: dict[str, Any], field: str
) -> None:
    refusal = await refused(door.tasks.SubmitTask(pb.SubmitTaskRequest(agent="assistant", goal="x", **bounds)))
    assert (refusal.status, set(refusal.fields)) == (INVALID, {field})
    assert door.store.tasks == {}


async def kept(door: Door, task_id: str, count: int, **signal: Any) -> list[str]:
    """The ids of so many signals, as they were sent."""
    requests = [pb.SendSignalRequest(id=task_id, name="paid", **signal) for _ in range(count)]
    return [(await door.tasks.SendSignal(request)).signal.id for request in requests]


async def born(door: Door, parent_id: str, count: int, *, goal: str = "x") -> list[str]:
    """The ids of so many children, as they were added."""
    request = pb.SubmitTaskRequest(agent="assistant", goal=goal)
    ids = [(await door.tasks.SubmitTask(request)).task.id for _ in range(count)]
    for id in map(UUID, ids):
        door.store.tasks[id] = replace(door.store.tasks[id], parent_id=UUID(parent_id))
    return ids


async def all_children(door: Door, task_id: str, page_size: int) -> list[str]:
    found, token = [], ""
    while True:
        request = pb.ListTaskChildrenRequest(id=task_id, page_size=page_size, page_token=token)
        page = await door.tasks.ListTaskChildren(request)
        found += [task.id for task in page.tasks]
        token = page.next_page_token
        assert page.has_more == bool(token)
        if not token:
            return found


async def all_signals(door: Door, task_id: str, page_size: int) -> list[str]:
    found, token = [], ""
    while True:
        request = pb.ListSignalsRequest(id=task_id, page_size=page_size, page_token=token)
        page = await door.tasks.ListSignals(request)
        found += [one.id for one in page.signals]
        token = page.next_page_token
        assert page.has_more == bool(token)
        if not token:
            return found


@pytest.mark.parametrize("page_size", [0, 1, 2, 5])
async def test_children_and_signals_come_page_by_page(door: Door, task_id: str, page_size: int) -> None:
    children, signals = await born(door, task_id, 5), await kept(door, task_id, 5)
    assert await all_children(door, task_id, page_size) == children
    assert await all_signals(door, task_id, page_size) == signals


async def test_pages_of_large_children_and_signals_stay_below_what_clients_take(door: Door, task_id: str) -> None:
    """A client's default limit is 4 MiB; all of them together are more."""
    children = await born(door, task_id, 60, goal="g" * 90_000)
    signals = await kept(door, task_id, 80, payload_json='"' + "y" * 63_000 + '"')
    assert await all_children(door, task_id, 200) == children
    assert await all_signals(door, task_id, 200) == signals


async def test_a_page_token_of_another_task_or_another_list_is_refused(door: Door, task_id: str) -> None:
    await born(door, task_id, 3)
    await kept(door, task_id, 3)
    other = (await door.tasks.SubmitTask(pb.SubmitTaskRequest(agent="assistant", goal="x"))).task.id
    children = await door.tasks.ListTaskChildren(pb.ListTaskChildrenRequest(id=task_id, page_size=2))
    signals = await door.tasks.ListSignals(pb.ListSignalsRequest(id=task_id, page_size=2))
    of_children, of_signals = children.next_page_token, signals.next_page_token
    for call in (
        door.tasks.ListTaskChildren(pb.ListTaskChildrenRequest(id=other, page_token=of_children)),
        door.tasks.ListTaskChildren(pb.ListTaskChildrenRequest(id=task_id, page_token=of_signals)),
        door.tasks.ListSignals(pb.ListSignalsRequest(id=other, page_token=of_signals)),
        door.tasks.ListSignals(pb.ListSignalsRequest(id=task_id, page_token=of_children)),
        door.tasks.ListTasks(pb.ListTasksRequest(page_token=of_children)),
        door.tasks.ListTaskChildren(pb.ListTaskChildrenRequest(id=task_id, page_token="x")),
        door.tasks.ListSignals(pb.ListSignalsRequest(id=task_id, page_token="x")),
    ):
        refusal = await refused(call)
        assert (refusal.status, refusal.code) == (INVALID, "cursor_malformed")


async def test_the_family_of_a_task(door: Door, task_id: str) -> None:
    children = await door.tasks.ListTaskChildren(pb.ListTaskChildrenRequest(id=task_id))
    above = await door.tasks.ListTaskAncestors(pb.ListTaskAncestorsRequest(id=task_id))
    assert (list(children.tasks), [one.id for one in above.tasks]) == ([], [task_id])
    for call in (
        door.tasks.ListTaskChildren(pb.ListTaskChildrenRequest(id=NOWHERE)),
        door.tasks.ListTaskAncestors(pb.ListTaskAncestorsRequest(id=NOWHERE)),
        door.tasks.ListSignals(pb.ListSignalsRequest(id=NOWHERE)),
        door.tasks.SendSignal(pb.SendSignalRequest(id=NOWHERE, name="x")),
        door.tasks.ForkTask(pb.ForkTaskRequest(id=NOWHERE, from_step=1)),
    ):
        assert (await refused(call)).code == "task_not_found"
