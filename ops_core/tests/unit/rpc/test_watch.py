"""Watching and waiting over gRPC: order, resuming, deadlines, and what is left behind."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from uuid import UUID

import grpc
import grpc.aio
import pytest

from ops_core.domain.event import EventType, NewEvent
from ops_core.domain.text import TextDelta
from ops_core.ports import Lease, Nudge, NudgeKind
from ops_core.services.limits import TaskLimits
from ops_core.tests.unit.rpc.conftest import Door, OpenDoor
from ops_core.tests.unit.rpc.refusals import read, refusal_of, refused
from ops_core.tests.unit.rpc.test_tasks import DONE, submit
from ops_core.wire.pb.v1 import tasks_pb2 as pb


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.005)


async def test_a_watch_gives_what_was_and_what_comes_and_ends_with_the_task(door: Door) -> None:
    task = await submit(door)
    watch = door.tasks.WatchTask(pb.WatchTaskRequest(id=task.id), timeout=10)
    seen = asyncio.ensure_future(read(watch))
    await until(lambda: door.nudges.listeners == 1)

    await door.store.run(UUID(task.id), DONE, NewEvent(type=EventType.llm_completed, payload={}, step_key="1/llm"))

    events = await seen
    assert [event.seq for event in events] == [1, 2, 3, 4]
    assert [event.type for event in events] == ["task.submitted", "task.started", "llm.completed", "task.completed"]
    assert events[2].step_key == "1/llm"
    assert await watch.code() is grpc.StatusCode.OK


async def test_a_watch_goes_on_after_the_seq_it_is_given(door: Door) -> None:
    task = await submit(door)
    await door.store.run(UUID(task.id), DONE)

    events = await read(door.tasks.WatchTask(pb.WatchTaskRequest(id=task.id, after_seq=2), timeout=10))

    assert [event.seq for event in events] == [3]


async def test_a_watch_of_a_finished_task_with_nothing_more_ends_at_once(door: Door) -> None:
    task = await submit(door)
    await door.store.run(UUID(task.id), DONE)

    assert await read(door.tasks.WatchTask(pb.WatchTaskRequest(id=task.id, after_seq=3), timeout=10)) == []


async def test_a_watch_of_an_unknown_task_is_not_found(door: Door) -> None:
    request = pb.WatchTaskRequest(id="01890a5d-ac96-774b-bcce-b302099a8057")

    refusal = await refused(read(door.tasks.WatchTask(request, timeout=10)))

    assert (refusal.status, refusal.code) == (grpc.StatusCode.NOT_FOUND, "task_not_found")


async def test_a_watch_the_client_cancels_leaves_nothing_in_the_server(door: Door) -> None:
    task = await submit(door)
    watch = door.tasks.WatchTask(pb.WatchTaskRequest(id=task.id))
    async for _ in watch:
        break
    assert door.nudges.listeners == 1

    watch.cancel()

    await until(lambda: door.nudges.listeners == 0)


async def test_a_watch_ends_at_its_deadline_and_leaves_nothing_in_the_server(door: Door) -> None:
    task = await submit(door)

    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await read(door.tasks.WatchTask(pb.WatchTaskRequest(id=task.id), timeout=0.3))

    assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    await until(lambda: door.nudges.listeners == 0)


async def test_a_database_that_goes_away_mid_watch_is_unavailable(door: Door) -> None:
    task = await submit(door)
    seen = asyncio.ensure_future(read(door.tasks.WatchTask(pb.WatchTaskRequest(id=task.id), timeout=10)))
    await until(lambda: door.nudges.listeners == 1)

    door.store.away = True

    refusal = await refused(seen)
    assert (refusal.status, refusal.code) == (grpc.StatusCode.UNAVAILABLE, "store_unavailable")


async def test_a_stop_ends_watches_at_once_and_says_how_to_go_on(door: Door) -> None:
    task = await submit(door)
    watch = door.tasks.WatchTask(pb.WatchTaskRequest(id=task.id))
    seen = asyncio.ensure_future(read(watch))
    await until(lambda: door.nudges.listeners == 1)

    started = time.monotonic()
    await door.server.stop(grace_seconds=30)

    assert time.monotonic() - started < 5
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await seen
    refusal = refusal_of(caught.value)
    assert (refusal.status, refusal.code) == (grpc.StatusCode.UNAVAILABLE, "unavailable")
    assert "after_seq" in refusal.message
    assert door.nudges.listeners == 0


async def test_a_stop_answers_waits_with_the_task_as_it_is(door: Door) -> None:
    task = await submit(door)
    waiting = asyncio.ensure_future(door.tasks.WaitTask(pb.WaitTaskRequest(id=task.id, timeout_seconds=30)))
    await until(lambda: door.nudges.listeners == 1)

    started = time.monotonic()
    await door.server.stop(grace_seconds=30)

    assert time.monotonic() - started < 5
    assert (await waiting).status == pb.TASK_STATUS_QUEUED


async def test_a_wait_ends_with_the_task(door: Door) -> None:
    task = await submit(door)
    waiting = asyncio.ensure_future(door.tasks.WaitTask(pb.WaitTaskRequest(id=task.id), timeout=30))
    await until(lambda: door.nudges.listeners == 1)

    await door.store.run(UUID(task.id), DONE)

    assert (await waiting).status == pb.TASK_STATUS_COMPLETED


async def test_a_wait_answers_with_the_task_as_it_is_when_its_time_is_over(door: Door) -> None:
    task = await submit(door)

    found = await door.tasks.WaitTask(pb.WaitTaskRequest(id=task.id, timeout_seconds=0.05), timeout=30)

    assert found.status == pb.TASK_STATUS_QUEUED


@pytest.mark.parametrize("asked", [None, 30.0])
async def test_a_wait_answers_before_the_clients_deadline(door: Door, asked: float | None) -> None:
    task = await submit(door)
    request = pb.WaitTaskRequest(id=task.id, timeout_seconds=asked)

    found = await door.tasks.WaitTask(request, timeout=1.0)

    assert found.status == pb.TASK_STATUS_QUEUED


async def test_a_wait_without_any_limit_takes_the_servers(open_door: OpenDoor) -> None:
    door = await open_door(limits=TaskLimits(max_wait_seconds=0.05))
    task = await submit(door)

    found = await door.tasks.WaitTask(pb.WaitTaskRequest(id=task.id))

    assert found.status == pb.TASK_STATUS_QUEUED


@pytest.mark.parametrize("seconds", [-1.0, float("nan"), float("inf"), 61.0])
async def test_an_absurd_wait_is_refused(door: Door, seconds: float) -> None:
    task = await submit(door)

    refusal = await refused(door.tasks.WaitTask(pb.WaitTaskRequest(id=task.id, timeout_seconds=seconds), timeout=10))

    assert refusal.status is grpc.StatusCode.INVALID_ARGUMENT
    assert set(refusal.fields) == {"timeout_seconds"}
    assert "`timeout_seconds`" in refusal.message


async def test_text_comes_between_the_entries_with_the_number_of_the_one_before(door: Door) -> None:
    task = (await door.tasks.SubmitTask(pb.SubmitTaskRequest(agent="assistant", goal="x", stream=True))).task
    assert task.stream
    running = await door.store.run(UUID(task.id))
    door.store.texts[running.id] = [TextDelta(step_key="1/llm", epoch=running.epoch, offset=0, text="So far")]
    seen = asyncio.ensure_future(read(door.tasks.WatchTask(pb.WatchTaskRequest(id=task.id), timeout=10)))
    await until(lambda: door.store.text_reads > 0)
    piece = TextDelta(step_key="1/llm", epoch=running.epoch, offset=6, text=", so good")
    door.nudges.send([Nudge(NudgeKind.text, running.id, delta=piece)])
    await asyncio.sleep(0.01)

    await door.store.finish(Lease(running.id, running.epoch), DONE)

    events = await seen
    assert [(event.seq, event.type) for event in events[2:]] == [(2, "text"), (2, "text"), (3, "task.completed")]
    assert [(event.step_key, event.text.offset, event.text.text) for event in events[2:4]] == [
        ("1/llm", 0, "So far"),
        ("1/llm", 6, ", so good"),
    ]
