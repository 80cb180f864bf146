"""Waits on both databases: begun once with the suspend, answered once, gone with the task."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

import pytest
from sqlalchemy import select

from ops_core.domain.approval import ApprovalStatus
from ops_core.domain.outcome import Completed, Failed, Retry
from ops_core.domain.task import RetryFrom, TaskError, TaskStatus
from ops_core.domain.wait import Wait
from ops_core.errors import RunLost
from ops_core.ports import Nudge, NudgeKind
from ops_core.storage.schema import waits as wait_rows
from ops_core.storage.store import Store
from ops_core.storage.writes import Transaction
from ops_core.tests.contract.conftest import NudgesSeen
from ops_core.tests.contract.store_cases import USAGE, claim, event_types, lease, new_task, submit_and_claim
from ops_core.tests.contract.test_store_trouble import lost_answers
from ops_core.tests.contract.wait_cases import (
    APPROVAL,
    INPUT,
    SIGNAL,
    TIMER,
    answers,
    approval,
    asked_of,
    cast,
    events,
    question,
    read,
    send,
    signal,
    suspend,
    timer,
    waiting,
)

T = TypeVar("T")
COMPLETED = Completed(result=1, usage=USAGE)
FAILED = Failed(error=TaskError("boom", "it broke"), usage=USAGE)


async def open_waits(store: Store) -> list[str]:
    """Keys of all that is waited for."""
    rows = await store._reader.rows(select(wait_rows.c.step_key).order_by(wait_rows.c.step_key))
    return [row["step_key"] for row in rows]


@pytest.mark.parametrize(
    ("waits", "shown"),
    [
        ([timer(60)], "timer"),
        ([signal()], "signal"),
        ([timer(60), signal()], "signal"),
        ([signal(), question()], "input"),
        ([timer(60), question(), approval(), signal()], "approval"),
    ],
)
async def test_a_suspended_task_shows_the_strongest_of_what_it_waits_for(
    store: Store, waits: list[Wait], shown: str
) -> None:
    task = await submit_and_claim(store)
    ended = await suspend(store, task, *waits)
    assert (ended.status, ended.rings) == (TaskStatus.waiting, ())
    held = await read(store, task.id)
    assert (held.status, held.waiting_for, held.epoch, held.usage) == (TaskStatus.waiting, shown, task.epoch + 1, USAGE)
    (said,) = await events(store, task.id, "task.waiting")
    assert (said.payload["waiting_for"], said.payload["keys"]) == (shown, [wait.key for wait in waits])


async def test_the_log_says_what_is_waited_for(store: Store) -> None:
    waits = (approval(timeout_seconds=60), question(), signal(timeout_seconds=5), timer(60))
    task = await waiting(store, *waits)
    intents = [e for e in await store.load_journal(task.id, round=1) if e.phase == "intent"]
    assert [(e.type, e.step_key) for e in intents] == [
        ("approval.requested", APPROVAL),
        ("input.requested", INPUT),
        ("signal.awaited", SIGNAL),
        ("timer.started", TIMER),
    ]
    assert {(e.payload["kind"], e.payload["wait"]) for e in intents} == {
        ("wait", "approval"),
        ("wait", "input"),
        ("wait", "signal"),
        ("wait", "timer"),
    }
    first, second, third, _ = intents
    asked = await asked_of(store, task)
    assert [str(one.id) for one in asked] == [first.payload["approval_id"], second.payload["approval_id"]]
    assert (first.payload["fingerprint"], second.payload["fingerprint"]) == ("f" * 64, "")
    assert first.payload["request"] == waits[0].request.to_json()
    assert third.payload["request"] == {"name": "paid", "timeout_seconds": 5}
    expires_at = asked[0].expires_at
    assert expires_at is not None
    assert datetime.fromisoformat(first.payload["expires_at"]) == expires_at
    assert timedelta(seconds=59) < expires_at - asked[0].created_at <= timedelta(seconds=60)


async def test_a_cancel_request_wins_over_a_suspend(store: Store) -> None:
    task = await submit_and_claim(store)
    await store.cancel_task("default", task.id, by="me")
    assert (await suspend(store, task, approval(), timer(1))).status is TaskStatus.canceled
    assert (await open_waits(store), await asked_of(store, task)) == ([], [])


async def test_a_suspend_of_a_run_that_is_over_writes_nothing(store: Store) -> None:
    task = await waiting(store, signal())
    with pytest.raises(RunLost):
        await suspend(store, task, approval(), timer(1))
    assert await open_waits(store) == [SIGNAL]


async def test_what_still_waits_is_not_begun_again(store: Store) -> None:
    task = await waiting(store, approval(), signal(), timer(600))
    before = await asked_of(store, task)
    await send(store, task)
    (again,) = await claim(store)
    assert (again.attempt, await answers(store, task.id)) == (1, {SIGNAL: {"payload": {"amount": 80}, "by": "ada"}})
    await suspend(store, again, approval(), timer(600))
    assert await asked_of(store, task) == before
    assert await open_waits(store) == [APPROVAL, TIMER]
    assert (await event_types(store, task.id)).count("approval.requested") == 1
    assert (await read(store, task.id)).waiting_for == "approval"
    assert (await store.seconds_until_due() or 0) > 590


async def test_an_answer_that_comes_while_the_task_runs_lets_its_next_suspend_go_on_at_once(store: Store) -> None:
    task = await waiting(store, approval(), signal())
    (asked,) = await asked_of(store, task)
    await cast(store, asked)
    (running,) = await claim(store)
    assert (await send(store, running)).rings == []
    assert (await read(store, task.id)).status is TaskStatus.running
    ended = await suspend(store, running, signal(), timer(60))
    assert (ended.status, [ring.task_id for ring in ended.rings]) == (TaskStatus.queued, [task.id])
    (again,) = await claim(store)
    assert (again.attempt, again.epoch > running.epoch) == (1, True)
    assert {*await answers(store, task.id)} == {APPROVAL, SIGNAL}
    resumed = (await events(store, task.id, "task.resumed"))[-1]
    assert (resumed.payload["keys"], resumed.payload["epoch"]) == ([SIGNAL], running.epoch)


@pytest.mark.parametrize("kept", [False, True])
async def test_a_suspend_whose_answer_was_lost_is_told_as_it_was_written(store: Store, kept: bool) -> None:
    task = await submit_and_claim(store)
    if kept:
        await send(store, task)
    with lost_answers(store, "finishes"):
        ended = await suspend(store, task, approval(), signal())
    assert ended.status is (TaskStatus.queued if kept else TaskStatus.waiting)
    assert (await read(store, task.id)).status is ended.status
    assert len(await asked_of(store, task)) == 1
    assert (await event_types(store, task.id)).count("signal.awaited") == 1


async def test_timers_fire_when_they_are_over_and_not_before(store: Store) -> None:
    soon, late = await waiting(store, timer(0.2)), await waiting(store, timer(600), signal(timeout_seconds=900))
    assert await store.release_due(limit=10) == []
    assert 0 < (await store.seconds_until_due() or 0) <= 0.2
    await asyncio.sleep(0.25)
    assert (await store.seconds_until_due() or 0) < 0
    assert [ring.task_id for ring in await store.release_due(limit=10)] == [soon.id]
    assert await answers(store, soon.id) == {TIMER: {}}
    assert (await read(store, late.id)).status is TaskStatus.waiting
    assert 500 < (await store.seconds_until_due() or 0) <= 600


async def test_no_time_at_all_is_not_waited_for(store: Store) -> None:
    task = await submit_and_claim(store)
    assert (await suspend(store, task, timer(0))).status is TaskStatus.queued
    assert (await answers(store, task.id), await open_waits(store)) == ({TIMER: {}}, [])


async def test_a_timer_that_no_date_can_say_waits_for_ever(store: Store) -> None:
    task = await waiting(store, timer(1e300))
    assert (task.status, await store.seconds_until_due()) == (TaskStatus.waiting, None)


async def test_a_signal_and_a_question_that_nobody_answers_expire(store: Store) -> None:
    one = await waiting(store, signal(timeout_seconds=0.05))
    other = await waiting(store, question(timeout_seconds=0.05), timer(600))
    await asyncio.sleep(0.1)
    (ring,) = await store.release_due(limit=10)
    assert ring.count == 2
    assert await answers(store, one.id) == {SIGNAL: {"expired": True}}
    assert await answers(store, other.id) == {INPUT: {"expired": True}}
    assert [a.status for a in await asked_of(store, other)] == [ApprovalStatus.expired]
    assert await open_waits(store) == [TIMER]


async def test_two_times_that_are_over_together_are_both_answered_and_wake_once(store: Store) -> None:
    task = await waiting(store, timer(0.01, "1/tool/1/timer/1"), timer(0.02, "1/tool/2/timer/1"))
    await asyncio.sleep(0.1)
    (ring,) = await store.release_due(limit=10)
    assert (ring.count, len(await answers(store, task.id))) == (1, 2)
    assert (await event_types(store, task.id)).count("task.resumed") == 1


async def test_housekeepers_at_once_fire_each_timer_once(store: Store) -> None:
    tasks = [await waiting(store, timer(0.01)) for _ in range(20)]
    await asyncio.sleep(0.1)
    released = await asyncio.gather(*(store.release_due(limit=7) for _ in range(6)))
    assert sum(ring.count for rings in released for ring in rings) == 20
    for task in tasks:
        assert (await event_types(store, task.id)).count("timer.fired") == 1


async def _cancel(store: Store, task_id: Any) -> None:
    await store.cancel_task("default", task_id, by="me")


async def _fail_late(store: Store, task_id: Any) -> None:
    await asyncio.sleep(0.3)
    assert (await store.fail_overdue(limit=10))[0] == 1


@pytest.mark.parametrize("end", [_cancel, _fail_late])
async def test_what_a_task_waited_for_ends_with_it(store: Store, end: Callable[[Store, Any], Awaitable[None]]) -> None:
    other = await waiting(store, approval(), signal())
    task = await waiting(store, approval(), question(), signal(), timer(600), timeout_seconds=0.25)
    await end(store, task.id)
    assert (await read(store, task.id)).status.is_final
    assert {(one.status, one.decided_at is not None) for one in await asked_of(store, task)} == {
        (ApprovalStatus.closed, True)
    }
    assert await open_waits(store) == [APPROVAL, SIGNAL]
    assert [one.status for one in await asked_of(store, other)] == [ApprovalStatus.pending]


@pytest.mark.parametrize("outcome", [COMPLETED, FAILED])
async def test_what_a_run_left_open_ends_with_its_task(store: Store, outcome: Completed | Failed) -> None:
    task = await waiting(store, approval(), signal())
    await send(store, task)
    (running,) = await claim(store)
    await store.finish(lease(running), outcome)
    assert (await open_waits(store), [a.status for a in await asked_of(store, task)]) == ([], [ApprovalStatus.closed])


async def test_an_end_after_a_retry_ends_the_waits_too(store: Store) -> None:
    task = await waiting(store, signal(), signal("1/tool/2/signal/1", "other"))
    await send(store, task)
    (running,) = await claim(store)
    await store.finish(lease(running), Retry(error=TaskError("boom", "it broke"), delay_seconds=0, usage=USAGE))
    (again,) = await claim(store)
    await store.finish(lease(again), COMPLETED)
    assert await open_waits(store) == []


async def test_a_retry_from_the_journal_has_the_old_answers_and_asks_anew_what_was_not_answered(store: Store) -> None:
    task = await waiting(store, approval(), signal())
    await send(store, task)
    await store.cancel_task("default", task.id, by="me")
    await store.retry_task("default", task.id, by="me", retry_from=RetryFrom.journal)
    (again,) = await claim(store)
    assert {*await answers(store, task.id, round=2)} == {SIGNAL}
    ended = await suspend(store, again, approval())
    assert ended.status is TaskStatus.waiting
    old, new = sorted(await asked_of(store, task), key=lambda one: one.round)
    assert [(one.round, one.status) for one in (old, new)] == [
        (1, ApprovalStatus.closed),
        (2, ApprovalStatus.pending),
    ]
    await cast(store, new)
    assert {*await answers(store, task.id, round=2)} == {SIGNAL, APPROVAL}


async def test_long_requests_and_answers_come_back_whole(store: Store) -> None:
    text = "a\x00b " * 10_000
    task = await waiting(store, approval(arguments={"text": text}), signal())
    (asked,) = await asked_of(store, task)
    assert asked.request.arguments == {"text": text}
    await cast(store, asked, decision="edit", arguments={"text": text[1:]})
    await send(store, task, payload=text)
    found = await answers(store, task.id)
    assert (found[APPROVAL]["arguments"], found[SIGNAL]["payload"]) == ({"text": text[1:]}, text)


async def test_housekeepers_are_told_of_what_is_due_soon_and_of_nothing_else(store: Store, nudges: NudgesSeen) -> None:
    soon = await waiting(store, timer(2))
    await waiting(store, timer(6000))
    await waiting(store, signal())
    await store.add_task(new_task(run_at=datetime.now(UTC) + timedelta(seconds=6000)))
    at = datetime.now(UTC) + timedelta(seconds=3)
    submitted = (await store.add_task(new_task(run_at=at))).task
    due, other = [nudge for nudge in nudges.sent if nudge.kind is NudgeKind.due]
    assert due == Nudge(NudgeKind.due, soon.id, 2000)
    assert (other.task_id, 0 < other.seq <= 3000) == (submitted.id, True)


async def test_when_the_next_is_due_is_the_sooner_of_schedules_and_waits(store: Store) -> None:
    assert await store.seconds_until_due() is None
    await waiting(store, signal())
    assert await store.seconds_until_due() is None
    await waiting(store, timer(500))
    assert 400 < (await store.seconds_until_due() or 0) <= 500
    await store.add_task(new_task(run_at=datetime.now(UTC) + timedelta(seconds=100)))
    assert 90 < (await store.seconds_until_due() or 0) <= 100


class Counted:
    """A backend that notes what its transactions do."""

    def __init__(self, inner: Any) -> None:
        self.inner = inner
        self.calls: list[str] = []

    async def transact(self, work: Callable[[Transaction], Awaitable[T]]) -> T:
        noted: T = await self.inner.transact(lambda tx: work(_Noting(tx, self.calls)))
        return noted

    async def autocommit(self, work: Callable[[Transaction], Awaitable[T]]) -> T:
        noted: T = await self.inner.autocommit(lambda tx: work(_Noting(tx, self.calls)))
        return noted


class _Noting:
    def __init__(self, tx: Transaction, calls: list[str]) -> None:
        self._tx = tx
        self._calls = calls

    def __getattr__(self, name: str) -> Any:
        self._calls.append(name)
        return getattr(self._tx, name)


async def test_an_end_from_which_nothing_follows_costs_one_statement(store: Store) -> None:
    tasks = [await submit_and_claim(store) for _ in range(3)]
    plain, others = store._plain_ends._batch, store._finishes._batch
    counted, control = Counted(plain._backend), Counted(others._backend)  # type: ignore[attr-defined]  # our own two
    plain._backend, others._backend = counted, control  # type: ignore[attr-defined]
    await asyncio.gather(*(store.finish(lease(task), COMPLETED) for task in tasks))
    assert (counted.calls, control.calls) == (["end_plain"], [])
    # The negative control: a suspend is seen to cost more.
    await waiting(store, signal())
    assert control.calls.count("run") > 1
    plain._backend, others._backend = counted.inner, control.inner  # type: ignore[attr-defined]
