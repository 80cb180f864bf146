"""RunStore on both databases: claim, journal, finish, each write fenced by the epoch."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import select

from ops_core.domain.event import EventType, NewEvent, StepPhase
from ops_core.domain.outcome import Canceled, Completed, Failed, HandedOver, Outcome, Retry, Suspended
from ops_core.domain.task import TaskError, TaskStatus
from ops_core.domain.wait import SignalWait, TimerWait
from ops_core.errors import RunLost, TaskFinished
from ops_core.ports import Lease, Nudge, NudgeKind
from ops_core.storage.runs import FinishAsk
from ops_core.storage.schema import tasks
from ops_core.storage.store import Store
from ops_core.storage.writes import NO_JSON, StoredJson
from ops_core.tests.contract.conftest import NudgesSeen
from ops_core.tests.contract.store_cases import USAGE, claim, event_types, lease, new_task, step, submit_and_claim

BOOM = TaskError("boom", "it broke", retryable=True)
COMPLETED = Completed(result={"answer": 4}, usage=USAGE)
FAILED = Failed(error=BOOM, usage=USAGE)
RETRY_NOW = Retry(error=BOOM, delay_seconds=0, usage=USAGE)
RETRY_LATER = Retry(error=BOOM, delay_seconds=60, usage=USAGE)
SUSPENDED = Suspended(waits=(SignalWait(key="1/tool/1/signal/1", name="paid"),), usage=USAGE)
HANDED_OVER = HandedOver(usage=USAGE)
CANCELED = Canceled(usage=USAGE)


async def test_a_claim_takes_the_best_first(store: Store) -> None:
    low = (await store.add_task(new_task(priority=1))).task
    first = (await store.add_task(new_task(priority=9))).task
    second = (await store.add_task(new_task(priority=9))).task
    await store.add_task(new_task(queue="other", priority=9))
    assert [t.id for t in await claim(store, limit=10)] == [first.id, second.id, low.id]
    assert await claim(store, limit=10) == []


async def test_a_claimed_task_carries_its_epoch_attempt_and_times(store: Store, nudges: NudgesSeen) -> None:
    task = await submit_and_claim(store)
    assert (task.status, task.epoch, task.attempt, task.worker_id) == (TaskStatus.running, 1, 1, "w1")
    assert task.claimed_at is not None
    assert task.claimed_at == task.started_at
    assert Nudge(NudgeKind.event, task.id, 2) in nudges.sent
    started = (await store.list_events(task.id, after_seq=1, limit=10))[0]
    assert started.payload == {"attempt": 1, "epoch": 1, "worker_id": "w1"}


async def test_a_task_past_its_deadline_is_not_claimed(store: Store) -> None:
    await store.add_task(new_task(timeout_seconds=0.001))
    await asyncio.sleep(0.01)  # the database's clock, not ours, decides
    assert await claim(store) == []


async def test_claims_at_once_share_out_what_there_is(store: Store) -> None:
    tasks = await asyncio.gather(*(store.add_task(new_task()) for _ in range(10)))
    shares = await asyncio.gather(*(claim(store, limit=3) for _ in range(5)))
    assert [len(share) for share in shares] == [3, 3, 3, 1, 0]
    assert {t.id for share in shares for t in share} == {a.task.id for a in tasks}


async def test_claims_of_other_queues_at_once_stay_apart(store: Store) -> None:
    await asyncio.gather(*(store.add_task(new_task(queue=q)) for q in ("a", "b", "a", "b")))
    a, b = await asyncio.gather(claim(store, limit=5, queue="a"), claim(store, limit=5, queue="b"))
    assert ({t.queue for t in a}, {t.queue for t in b}) == ({"a"}, {"b"})
    assert len(a) == len(b) == 2


async def test_events_are_numbered_without_gaps_however_many_write(store: Store) -> None:
    task = await submit_and_claim(store)
    seqs = await asyncio.gather(*(store.append(lease(task), step(f"{n}/tool/1")) for n in range(50)))
    assert sorted(seqs) == list(range(3, 53))
    events = await store.list_events(task.id, after_seq=0, limit=100)
    assert [event.seq for event in events] == list(range(1, 53))
    read = await store.get_task("default", task.id)
    assert read is not None
    assert read.seq == 52


async def test_a_step_written_twice_is_there_once(store: Store) -> None:
    task = await submit_and_claim(store)
    first = await store.append(lease(task), step("1/tool/1", StepPhase.intent, n=1))
    other = await store.append(lease(task), step("1/tool/1", StepPhase.result, n=2))
    again = await store.append(lease(task), step("1/tool/1", StepPhase.intent, n=3))
    assert (first, other, again) == (3, 4, 3)
    journal = await store.load_journal(task.id, round=1)
    assert [(e.phase, e.payload) for e in journal] == [("intent", {"n": 1}), ("result", {"n": 2})]


async def test_an_event_without_a_step_is_no_part_of_the_journal(store: Store) -> None:
    task = await submit_and_claim(store)
    event = NewEvent(type=EventType.llm_completed, payload={})
    assert [await store.append(lease(task), event), await store.append(lease(task), event)] == [3, 4]
    assert await store.load_journal(task.id, round=1) == []


@pytest.mark.parametrize(
    ("outcome", "status"),
    [
        (COMPLETED, TaskStatus.completed),
        (FAILED, TaskStatus.failed),
        (CANCELED, TaskStatus.canceled),
        (RETRY_NOW, TaskStatus.queued),
        (RETRY_LATER, TaskStatus.scheduled),
        (SUSPENDED, TaskStatus.waiting),
        (HANDED_OVER, TaskStatus.queued),
    ],
)
async def test_each_outcome_has_its_status_and_ends_the_lease(
    store: Store, outcome: Outcome, status: TaskStatus
) -> None:
    task = await submit_and_claim(store, traceparent="00-1-2-01")
    ended = await store.finish(lease(task), outcome)
    read = await store.get_task("default", task.id)
    assert read is not None
    assert ended.status is read.status is status
    assert (read.finished_at is not None) == status.is_final
    assert read.usage == USAGE
    assert [ring.traceparent for ring in ended.rings] == (["00-1-2-01"] if status is TaskStatus.queued else [])
    for late in (COMPLETED, HANDED_OVER):
        with pytest.raises(RunLost):
            await store.finish(lease(task), late)
    with pytest.raises(RunLost):
        await store.append(lease(task), step("9/llm"))


@pytest.mark.parametrize(
    ("outcome", "status"),
    [
        (COMPLETED, TaskStatus.completed),
        (FAILED, TaskStatus.failed),
        (CANCELED, TaskStatus.canceled),
        (RETRY_NOW, TaskStatus.canceled),
        (RETRY_LATER, TaskStatus.canceled),
        (SUSPENDED, TaskStatus.canceled),
        (HANDED_OVER, TaskStatus.canceled),
    ],
)
async def test_a_requested_cancel_wins_over_whatever_would_go_on(
    store: Store, outcome: Outcome, status: TaskStatus
) -> None:
    task = await submit_and_claim(store)
    await store.cancel_task("default", task.id, by="me")
    ended = await store.finish(lease(task), outcome)
    assert (ended.status, list(ended.rings)) == (status, [])


async def test_a_result_is_read_back_and_an_error_too(store: Store) -> None:
    task = await submit_and_claim(store)
    await store.finish(lease(task), COMPLETED)
    read = await store.get_task("default", task.id)
    assert read is not None
    assert (read.result, read.error) == ({"answer": 4}, None)
    task = await submit_and_claim(store)
    await store.finish(lease(task), FAILED)
    read = await store.get_task("default", task.id)
    assert read is not None
    assert (read.result, read.error) == (None, BOOM)


async def test_a_retry_spends_an_attempt_and_a_hand_over_none(store: Store) -> None:
    task = await submit_and_claim(store)
    await store.finish(lease(task), RETRY_NOW)
    (task,) = await claim(store)
    assert (task.attempt, task.error) == (2, BOOM)
    await store.finish(lease(task), HANDED_OVER)
    (task,) = await claim(store)
    assert task.attempt == 2
    await store.finish(lease(task), COMPLETED)
    assert await event_types(store, task.id) == [
        *("task.submitted", "task.started", "task.retrying", "task.started", "task.handed_over"),
        *("task.started", "task.completed"),
    ]


@pytest.mark.parametrize("outcome", [COMPLETED, FAILED])
@pytest.mark.parametrize("cancel_first", [False, True])
@pytest.mark.parametrize("last_step", [None, step("1/llm", text="four")])
async def test_the_short_way_to_an_end_writes_what_the_long_way_does(
    store: Store, outcome: Completed | Failed, cancel_first: bool, last_step: NewEvent | None
) -> None:
    short, long = await submit_and_claim(store), await submit_and_claim(store)
    if cancel_first:
        for task in (short, long):
            await store.cancel_task("default", task.id, by="me")
    await store.finish(lease(short), outcome, last_step=last_step)
    if last_step is not None:
        await store.append(lease(long), last_step)
    result = StoredJson('{"answer":4}') if isinstance(outcome, Completed) else NO_JSON
    await store._finishes.write(FinishAsk(lease(long), outcome, result))
    rows = [await whole_row(store, task.id) for task in (short, long)]
    assert rows[0] == rows[1]
    logs = [await store.list_events(task.id, after_seq=0, limit=10) for task in (short, long)]
    assert [replace(e, task_id=short.id, at=short.created_at) for e in logs[0]] == [
        replace(e, task_id=short.id, at=short.created_at) for e in logs[1]
    ]


@pytest.mark.parametrize("outcome", [COMPLETED, HANDED_OVER, RETRY_LATER])
@pytest.mark.parametrize("keys", [{}, {"concurrency_key": "a", "concurrency_limit": 1}])
async def test_the_last_step_is_written_before_any_end_and_once(
    store: Store, outcome: Outcome, keys: dict[str, Any]
) -> None:
    task = await submit_and_claim(store, **keys)
    await store.finish(lease(task), outcome, last_step=step("1/llm"))
    types = await event_types(store, task.id)
    assert types[2] == "tool.completed"
    assert len(types) == 4
    with pytest.raises(RunLost):
        await store.finish(lease(task), outcome, last_step=step("1/llm"))
    assert await event_types(store, task.id) == types


async def whole_row(store: Store, task_id: UUID) -> dict[str, Any]:
    """All that is the same of two tasks that went the same way."""
    (row,) = await store._reader.rows(select(tasks).where(tasks.c.id == task_id))
    times = {name: row[name] is None for name in row if name.endswith("_at")}
    return {**row, **times, "id": None, "claim_token": row["claim_token"] is None, "request_hash": None}


async def test_a_lease_of_another_epoch_writes_nothing(store: Store) -> None:
    task = await submit_and_claim(store)
    for epoch in (task.epoch - 1, task.epoch + 1):
        with pytest.raises(RunLost):
            await store.append(Lease(task.id, epoch), step("1/llm"))
        with pytest.raises(RunLost):
            await store.finish(Lease(task.id, epoch), COMPLETED)
    assert await event_types(store, task.id) == ["task.submitted", "task.started"]


async def test_of_many_ends_at_once_one_is_written(store: Store) -> None:
    task = await submit_and_claim(store)
    outcomes = await asyncio.gather(*(store.finish(lease(task), COMPLETED) for _ in range(10)), return_exceptions=True)
    assert sum(isinstance(outcome, RunLost) for outcome in outcomes) == 9


async def test_a_cancel_and_a_finish_at_once_agree(store: Store) -> None:
    for _ in range(20):
        task = await submit_and_claim(store)
        finished, canceled = await asyncio.gather(
            store.finish(lease(task), HANDED_OVER),
            store.cancel_task("default", task.id, by="me"),
            return_exceptions=True,
        )
        assert not isinstance(finished, BaseException)
        assert not isinstance(canceled, BaseException) or isinstance(canceled, TaskFinished)
        read = await store.get_task("default", task.id)
        assert read is not None
        assert read.status is TaskStatus.canceled


async def test_a_suspended_task_wakes_when_its_time_comes(store: Store) -> None:
    task = await submit_and_claim(store)
    wait = TimerWait(key="1/tool/1/timer/1", seconds=0.05)
    await store.finish(lease(task), Suspended(waits=(wait,), usage=USAGE))
    async with asyncio.timeout(30):
        while not (rings := await store.release_due(limit=10)):
            await asyncio.sleep(0.01)
    (ring,) = rings
    assert (ring.queue, ring.count) == ("default", 1)
    at = {event.type: event.at for event in await store.list_events(task.id, after_seq=0, limit=10)}
    assert at[EventType.timer_fired] - at[EventType.timer_started] >= timedelta(seconds=wait.seconds)
    (again,) = await claim(store)
    assert (again.attempt, again.waiting_for) == (1, None)
    assert (await event_types(store, task.id))[2:] == [
        *("timer.started", "task.waiting", "timer.fired", "task.resumed", "task.started"),
    ]


async def test_a_cancelled_caller_does_not_undo_its_write(store: Store) -> None:
    task = await submit_and_claim(store)
    writing = asyncio.create_task(store.append(lease(task), step("1/llm")))
    await asyncio.sleep(0)
    writing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await writing
    assert await store.append(lease(task), step("2/llm")) == 4
