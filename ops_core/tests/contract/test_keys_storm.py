"""Random lives of many keyed tasks at once, on both databases: the count of a key is always that of its holders."""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import text

from ops_core.domain.outcome import Canceled, Completed, Failed, HandedOver, Outcome, Retry, Suspended
from ops_core.domain.signal import NewSignal
from ops_core.domain.task import RateLimit, RetryFrom, Task, TaskError
from ops_core.domain.wait import SignalWait, TimerWait
from ops_core.errors import Conflict, RunLost, TaskNotFound
from ops_core.storage import key_rows, keys
from ops_core.storage.settlement import Settlement
from ops_core.storage.store import Store, open_store
from ops_core.tests.contract.store_cases import USAGE, claim, lease, new_task, uuid7

SEED = int(os.environ.get("OPS_CORE_TEST_SEED", "7"))
LIMITS = {"a": 1, "b": 3}
#: A rate is looked at again after at most a second.
_NOTHING_ENDED_SECONDS = 30
ERROR = TaskError("x", "y", retryable=True)

_COUNTS = text("""
SELECT c.concurrency_key AS key, c.held AS held,
    (SELECT count(*) FROM tasks t WHERE t.namespace = c.namespace AND t.concurrency_key = c.concurrency_key
        AND t.holds_key) AS holders,
    (SELECT count(*) FROM tasks t WHERE t.namespace = c.namespace AND t.concurrency_key = c.concurrency_key
        AND (t.status = 'running' OR (t.status = 'queued' AND NOT t.blocked))) AS let_in
FROM concurrency_keys c
""")
_ODD = text("""
SELECT count(*) AS found FROM tasks WHERE (blocked AND status <> 'queued')
    OR (holds_key AND status NOT IN ('queued', 'running')) OR (holds_key AND blocked)
""")
_STUCK = text("""
SELECT count(*) AS found FROM tasks t JOIN concurrency_keys c
    ON c.namespace = t.namespace AND c.concurrency_key = t.concurrency_key
WHERE t.blocked AND c.held < t.concurrency_limit AND c.release_at IS NULL AND (t.rate_key IS NULL OR t.attempt > 0)
""")
_LEFT = text("""
SELECT t.status, t.blocked, t.holds_key, t.attempt, t.concurrency_key, t.concurrency_limit, c.held, t.rate_key,
    r.next_at, r.release_at
FROM tasks t
LEFT JOIN concurrency_keys c ON c.namespace = t.namespace AND c.concurrency_key = t.concurrency_key
LEFT JOIN rate_keys r ON r.namespace = t.namespace AND r.rate_key = t.rate_key
WHERE t.status IN ('scheduled', 'queued', 'running')
""")
_FORGOTTEN = text("""
SELECT count(*) AS found FROM tasks t JOIN rate_keys r ON r.namespace = t.namespace AND r.rate_key = t.rate_key
WHERE t.blocked AND t.attempt = 0 AND r.release_at IS NULL
""")


class Storm:
    """Does at random what clients, workers and housekeepers do."""

    def __init__(self, stores: Sequence[Store], rng: random.Random) -> None:
        self.stores = stores
        self.rng = rng
        self.tasks: list[Task] = []
        self.running: list[Task] = []
        self.worst: list[str] = []
        self._acts: dict[Callable[[], Awaitable[None]], int] = {
            self.submit: 30,
            self.claim: 25,
            self.end: 25,
            self.cancel: 6,
            self.retry: 5,
            self.signal: 6,
            self.crash: 3,
            self.keep_house: 8,
        }

    @property
    def store(self) -> Store:
        return self.rng.choice(self.stores)

    async def play(self, count: int) -> None:
        for _ in range(count):
            (act,) = self.rng.choices([*self._acts], weights=[*self._acts.values()])
            try:
                await act()
            except (Conflict, RunLost, TaskNotFound):
                # Somebody else was first.
                continue

    async def submit(self) -> None:
        key = self.rng.choice([*LIMITS, None])
        rate = RateLimit(key="r", limit=5, per_seconds=0.05) if self.rng.random() < 0.3 else None
        later = datetime.now(UTC) + timedelta(seconds=0.05) if self.rng.random() < 0.2 else None
        new = new_task(
            concurrency_key=key,
            concurrency_limit=LIMITS.get(key or ""),
            rate=rate,
            fairness_key=self.rng.choice(["x", "y", None]),
            priority=self.rng.randrange(10),
            run_at=later,
            idempotency_key=f"k{self.rng.randrange(400)}" if self.rng.random() < 0.3 else None,
            request_hash="h",
        )
        self.tasks.append((await self.store.add_task(new)).task)

    async def claim(self) -> None:
        self.running += await claim(self.store, limit=self.rng.randrange(1, 4), lease_seconds=60)

    async def end(self) -> None:
        if not self.running:
            return
        task = self.running.pop(self.rng.randrange(len(self.running)))
        outcomes: list[Outcome] = [
            Completed(result=1, usage=USAGE),
            Failed(error=ERROR, usage=USAGE),
            Canceled(usage=USAGE),
            HandedOver(usage=USAGE),
            Retry(error=ERROR, delay_seconds=self.rng.choice([0.0, 0.03]), usage=USAGE),
            Suspended(waits=(SignalWait(key=f"{uuid7()}/signal/1", name="go"),), usage=USAGE),
            Suspended(waits=(TimerWait(key=f"{uuid7()}/timer/1", seconds=0.02),), usage=USAGE),
        ]
        await self.store.finish(lease(task), self.rng.choice(outcomes))

    async def cancel(self) -> None:
        if self.tasks:
            await self.store.cancel_task("default", self.rng.choice(self.tasks).id, by="me")

    async def retry(self) -> None:
        if self.tasks:
            await self.store.retry_task(
                "default", self.rng.choice(self.tasks).id, by="me", retry_from=RetryFrom.scratch
            )

    async def signal(self) -> None:
        if self.tasks:
            new = NewSignal(id=uuid7(), name="go", payload=None, sent_by="me")
            await self.store.send_signal("default", self.rng.choice(self.tasks).id, new, max_kept=1000)

    async def crash(self) -> None:
        """A worker dies: its leases are over."""
        if self.running:
            lost = self.running.pop(self.rng.randrange(len(self.running)))
            over = text("UPDATE tasks SET lease_expires_at = created_at WHERE id = :id AND epoch = :epoch")
            id = lost.id.hex if self.store.url.is_sqlite else lost.id
            await self.store._backends[0].transact(lambda tx: tx.run(over.bindparams(id=id, epoch=lost.epoch)))

    async def keep_house(self) -> None:
        await self.store.release_due(limit=100)
        await self.store.take_back_expired(limit=100, max_crashes=1000)
        await self.look()

    async def look(self) -> None:
        """In one statement, so of one moment."""
        for row in await self.store._reader.rows(_COUNTS):
            key, held, holders, let_in = row["key"], row["held"], row["holders"], row["let_in"]
            if not held == holders == let_in or held > LIMITS[key]:
                self.worst.append(f"{key}: {held} counted, {holders} holders, {let_in} let in, of {LIMITS[key]}")
        for name, statement in {"odd": _ODD, "stuck": _STUCK, "forgotten": _FORGOTTEN}.items():
            (row,) = await self.store._reader.rows(statement)
            if row["found"]:
                self.worst.append(f"{row['found']} tasks are {name}")

    async def finish_all(self) -> None:
        """Run everything to its end: nobody is left behind. Given up when nothing has ended for a while, however long
        all of it takes."""
        clock = asyncio.get_running_loop().time
        left, give_up_at = len(self.tasks) + 1, clock() + _NOTHING_ENDED_SECONDS
        while (now_left := len(await self.left())) and clock() < give_up_at:
            if now_left < left:
                left, give_up_at = now_left, clock() + _NOTHING_ENDED_SECONDS
            for task in [*self.running, *await claim(self.store, limit=50, lease_seconds=60)]:
                try:
                    await self.store.finish(lease(task), Completed(result=1, usage=USAGE))
                except RunLost:
                    continue
            self.running = []
            await self.keep_house()

    async def left(self) -> list[str]:
        """What is not final, and what holds it back; one that waits for a signal that nobody sends does as it is
        told."""
        return [str(row) for row in await self.store._reader.rows(_LEFT)]


@pytest.mark.timeout(300)
async def test_however_tasks_live_and_die_a_key_counts_its_holders_and_lets_in_no_more_than_its_limit(
    store: Store, store_url: str
) -> None:
    other = await open_store(store_url)
    storm = Storm([store, other], random.Random(SEED))
    await asyncio.gather(*(storm.play(60) for _ in range(8)))
    await storm.look()
    await storm.finish_all()
    left = await storm.left()
    (waiting,) = await other._reader.rows(text("SELECT count(*) AS found FROM tasks WHERE blocked OR holds_key"))
    await other.aclose()
    assert storm.worst == [], f"seed {SEED}"
    assert (left, waiting["found"]) == ([], 0), f"seed {SEED}"
    assert len(storm.tasks) > 50


@contextmanager
def nothing_given_back() -> Iterator[None]:
    """The remedy taken away: who stops keeps its place in the count."""
    freed = keys._freed

    def none(_: Settlement) -> dict[key_rows.Name, int]:
        return {}

    keys._freed = none  # type: ignore[assignment]  # the control's own
    try:
        yield
    finally:
        keys._freed = freed


async def test_a_place_that_is_not_given_back_is_noticed(store: Store) -> None:
    """The control of the test above."""
    storm = Storm([store], random.Random(SEED))
    with nothing_given_back():
        await storm.play(150)
        await storm.look()
    assert any("counted" in finding for finding in storm.worst)
