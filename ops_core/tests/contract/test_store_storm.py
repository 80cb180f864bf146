"""Everything at once on the same few tasks: claims, appends, ends, heartbeats, take-backs, cancels and retries."""

from __future__ import annotations

import asyncio
import random
import sqlite3
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

import psycopg
import pytest

from ops_core.domain.event import Event
from ops_core.domain.outcome import Completed, Failed, HandedOver, Outcome, Retry, Suspended
from ops_core.domain.signal import NewSignal
from ops_core.domain.task import RetryFrom, Task, TaskError, TaskStatus
from ops_core.domain.wait import SignalWait, TimerWait
from ops_core.errors import RunLost, TaskFinished, TaskNotFinished, TooManySignals
from ops_core.ports import Lease
from ops_core.storage.database_url import DatabaseUrl
from ops_core.storage.leases import open_lease_store
from ops_core.storage.migrations import upgrade
from ops_core.storage.store import Store, open_store
from ops_core.tests.contract.store_cases import USAGE, new_task, step, uuid7, worker

BOOM = TaskError("boom", "it broke", retryable=True)
TASKS = 12


@dataclass
class Storm:
    """The actors, what is left for them to do, and what the store told them that it wrote."""

    stores: Sequence[Store]
    url: str
    ids: Sequence[UUID]
    left: int
    waited: int = 0
    rng: random.Random = field(default_factory=lambda: random.Random(7))
    held: set[Lease] = field(default_factory=set)
    appended: list[tuple[Lease, str, int]] = field(default_factory=list)
    ended: list[tuple[Lease, TaskStatus]] = field(default_factory=list)

    async def rage(self) -> None:
        async with asyncio.timeout(90), asyncio.TaskGroup() as actors:
            for store in self.stores:
                for actor in (self.work, self.work, self.work, self.keep_house, self.meddle):
                    actors.create_task(actor(store))
            actors.create_task(self.heartbeat())

    def goes_on(self) -> bool:
        return self.left > 0

    async def work(self, store: Store) -> None:
        while self.goes_on():
            lease_seconds = self.rng.choice((0.02, 0.1, 0.5))
            tasks = await store.claim("default", limit=3, worker_id="w", lease_seconds=lease_seconds)
            await asyncio.gather(*(self.run(store, task) for task in tasks))
            if not tasks:
                await asyncio.sleep(0.006)

    async def run(self, store: Store, task: Task) -> None:
        held = Lease(task.id, task.epoch)
        self.held.add(held)
        self.left -= 2
        try:
            for n in range(self.rng.randrange(6)):
                key = f"{held.epoch}.{n}/llm"
                self.appended.append((held, key, await store.append(held, step(key, epoch=held.epoch))))
                self.left -= 1
            if self.rng.random() < 0.8:
                self.ended.append((held, (await store.finish(held, self.some_outcome())).status))
        except RunLost:
            pass
        finally:
            self.held.discard(held)

    def some_outcome(self) -> Outcome:
        self.waited += 1
        timer = TimerWait(key=f"{self.waited}/tool/1/timer/1", seconds=self.rng.choice((0, 0.01)))
        signal = SignalWait(key=f"{self.waited}/tool/2/signal/1", name="go", timeout_seconds=0.05)
        return self.rng.choice(
            (
                Completed(result={"n": 1}, usage=USAGE),
                Failed(error=BOOM, usage=USAGE),
                HandedOver(usage=USAGE),
                Retry(error=BOOM, delay_seconds=0, usage=USAGE),
                Retry(error=BOOM, delay_seconds=0.01, usage=USAGE),
                Suspended(waits=(timer,), usage=USAGE),
                Suspended(waits=(signal,), usage=USAGE),
                Suspended(waits=(timer, signal), usage=USAGE),
            )
        )

    async def keep_house(self, store: Store) -> None:
        while self.goes_on():
            await store.take_back_expired(limit=10, max_crashes=1000)
            await store.release_due(limit=10)
            await store.fail_overdue(limit=10)
            await store.backlogs()
            await asyncio.sleep(0.005)

    async def meddle(self, store: Store) -> None:
        while self.goes_on():
            task_id = self.rng.choice(self.ids)
            try:
                chance = self.rng.random()
                if chance < 0.2:
                    await store.cancel_task("default", task_id, by="me")
                elif chance < 0.5:
                    sent = NewSignal(id=uuid7(), name="go", payload={"n": 1}, sent_by="me")
                    await store.send_signal("default", task_id, sent, max_kept=3)
                else:
                    await store.retry_task("default", task_id, by="me", retry_from=RetryFrom.scratch)
            except (TaskFinished, TaskNotFinished, TooManySignals):
                pass
            await asyncio.sleep(0.003)

    async def heartbeat(self) -> None:
        leases = open_lease_store(self.url)
        while self.goes_on():
            held = self.rng.sample(sorted(self.held, key=lambda one: one.epoch), len(self.held))
            await asyncio.to_thread(leases.renew, held, worker=worker(), lease_seconds=6)
            await asyncio.sleep(0.01)
        leases.close()


@dataclass
class Told:
    """A task as its log tells it."""

    status: str = ""
    attempt: int = 0
    crashes: int = 0
    round: int = 1
    epoch: int = 0
    resuming: bool = False
    held: bool = False

    def go_on(self, event: Event) -> None:
        """Asserts that the event can follow what was told before."""
        over = self.status in ("completed", "failed", "canceled")
        assert not over or event.type == "task.reopened", event
        match str(event.type):
            case "task.started":
                assert self.status == "queued", event
                assert event.payload["epoch"] > self.epoch, event
                self.epoch, self.held, self.status = event.payload["epoch"], True, "running"
                self.attempt += not self.resuming
                self.resuming = False
            case "tool.completed" | "task.cancel_requested" if self.held or event.step_key:
                assert self.held, event
                assert event.payload["epoch"] == self.epoch, event
            case "task.lease_lost":
                assert self.held, event
                self.crashes += 1
                self.status, self.resuming, self.held = "queued", True, False
            case "task.handed_over" | "task.resumed":
                self.status, self.resuming, self.held = "queued", True, False
            case "task.retrying":
                at_once = datetime.fromisoformat(event.payload["retry_at"]) <= event.at
                self.status, self.held = "queued" if at_once else "scheduled", False
            case "timer.started" | "timer.fired" | "signal.awaited" | "signal.received" | "signal.kept":
                assert not over, event
            case "task.waiting":
                self.status, self.held = "waiting", False
            case "task.submitted" | "task.due":
                self.status = "queued"
            case "task.reopened":
                assert over, event
                self.status, self.round, self.attempt, self.crashes, self.resuming = (
                    "queued",
                    self.round + 1,
                    0,
                    0,
                    False,
                )
            case other:
                self.status, self.held, self.resuming = other.removeprefix("task."), False, False


async def check(storm: Storm) -> None:
    """Every log is whole, each row is what its log tells, and all that was told to be written is there."""
    store = storm.stores[0]
    logs: dict[UUID, Sequence[Event]] = {}
    for task_id in storm.ids:
        task = await store.get_task("default", task_id)
        assert task is not None
        events = logs[task_id] = await store.list_events(task_id, after_seq=0, limit=100_000)
        assert [event.seq for event in events] == list(range(1, task.seq + 1))
        told = Told()
        for event in events:
            told.go_on(event)
        row = (str(task.status), task.attempt, task.crashes, task.round)
        assert row == (told.status, told.attempt, told.crashes, told.round), task_id
    for held, key, seq in storm.appended:
        event = logs[held.task_id][seq - 1]
        assert (event.step_key, event.payload["epoch"]) == (key, held.epoch)
    assert len({(held.task_id, seq) for held, _, seq in storm.appended}) == len(storm.appended)
    assert len(set(storm.ended)) == len({held for held, _ in storm.ended})


@asynccontextmanager
async def raging(url: str, *, operations: int) -> AsyncIterator[Storm]:
    stores = [await open_store(url) for _ in range(2)]
    added = await asyncio.gather(*(stores[0].add_task(new_task(timeout_seconds=600)) for _ in range(TASKS)))
    storm = Storm(stores, url, [one.task.id for one in added], operations)
    try:
        await storm.rage()
        yield storm
    finally:
        for store in stores:
            await store.aclose()


@pytest.mark.services
async def test_in_a_storm_nothing_is_lost_doubled_or_deadlocked(postgres_url: str) -> None:
    async with raging(postgres_url, operations=1_000) as storm:
        await check(storm)
        assert len(storm.appended) > 300
        assert len(storm.ended) > 50
    async with await psycopg.AsyncConnection.connect(postgres_url, autocommit=True) as connection:
        query = "SELECT pg_stat_force_next_flush(), deadlocks FROM pg_stat_database WHERE datname = current_database()"
        row: Any = await (await connection.execute(query)).fetchone()
    assert row[1] == 0


async def test_in_a_storm_a_file_loses_and_doubles_nothing(sqlite_url: str) -> None:
    async with raging(sqlite_url, operations=600) as storm:
        await check(storm)
        assert len(storm.appended) > 100


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE tasks SET attempt = attempt + 1",
        "UPDATE tasks SET crashes = crashes + 1",
        "DELETE FROM task_events WHERE seq = 2",
        "UPDATE task_events SET payload = '{\"epoch\": 0}' WHERE type = 'task.started' AND seq > 2",
    ],
)
async def test_the_check_finds_what_was_lost(empty_sqlite_url: str, damage: str) -> None:
    """The negative control."""
    upgrade(empty_sqlite_url)
    async with raging(empty_sqlite_url, operations=80) as storm:
        connection = sqlite3.connect(DatabaseUrl.parse(empty_sqlite_url).sqlite_path, isolation_level=None)
        connection.execute(damage)
        connection.close()
        with pytest.raises(AssertionError):
            await check(storm)
