"""Changes that no request and no worker makes: release what is due, take back what was lost, fail what is late."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import func, select, text, tuple_

from ops_core.domain.event import EventType
from ops_core.domain.task import TaskStatus
from ops_core.ports import QueueBacklog, Ring
from ops_core.storage import settle
from ops_core.storage.column_types import UtcTime
from ops_core.storage.consequences import written
from ops_core.storage.family import tellable
from ops_core.storage.key_housekeeping import KeyHousekeeping
from ops_core.storage.lapses import lapse
from ops_core.storage.reader import Reader
from ops_core.storage.schema import task_events, workers
from ops_core.storage.settlement import Settlement, merged, rings_of
from ops_core.storage.single_write import SingleWrite
from ops_core.storage.writes import Change, Held, HeldTask, Transaction

#: Claimable tasks of a queue are counted up to here.
BACKLOG_BOUND = 10_000

# One look into the index for each queue, and one bounded walk: ten million queued tasks cost no more than ten thousand.
_BACKLOGS = text(f"""
WITH RECURSIVE queues (queue) AS (
    SELECT min(queue) FROM tasks WHERE status = 'queued' AND NOT blocked
    UNION ALL
    SELECT (SELECT min(t.queue) FROM tasks t WHERE t.status = 'queued' AND NOT t.blocked AND t.queue > q.queue)
    FROM queues q WHERE q.queue IS NOT NULL
)
SELECT q.queue,
    (SELECT count(*) FROM (SELECT 1 FROM tasks t
        WHERE t.status = 'queued' AND t.queue = q.queue AND NOT t.blocked LIMIT {BACKLOG_BOUND}) counted) AS claimable,
    (SELECT min(rung_at) FROM (SELECT t.rung_at FROM tasks t
        WHERE t.status = 'queued' AND t.queue = q.queue AND NOT t.blocked LIMIT {BACKLOG_BOUND}) rung) AS oldest_ring,
    CURRENT_TIMESTAMP AS now
FROM queues q WHERE q.queue IS NOT NULL
""").columns(oldest_ring=UtcTime)  # noqa: S608

# The first of each index: a hundred thousand that wait cost no more than one.
_NEXT_DUE = text("""
SELECT
    (SELECT run_at FROM tasks WHERE status = 'scheduled' ORDER BY run_at LIMIT 1) AS scheduled,
    (SELECT wake_at FROM tasks WHERE status = 'waiting' AND wake_at IS NOT NULL ORDER BY wake_at LIMIT 1) AS waiting,
    (SELECT release_at FROM rate_keys WHERE release_at IS NOT NULL ORDER BY release_at LIMIT 1) AS held_back,
    (SELECT release_at FROM concurrency_keys WHERE release_at IS NOT NULL ORDER BY release_at LIMIT 1) AS left_over,
    CURRENT_TIMESTAMP AS now
""").columns(scheduled=UtcTime, waiting=UtcTime, held_back=UtcTime, left_over=UtcTime)


class SqlHousekeepingStore:
    """See `HousekeepingStore`."""

    def __init__(self, *, single: SingleWrite, reader: Reader, machine_clock: Callable[[], datetime] | None) -> None:
        """`machine_clock` where the database has no clock of its own."""
        self._single = single
        self._reader = reader
        self._machine_clock = machine_clock
        self._keys = KeyHousekeeping(single=single, is_sqlite=machine_clock is not None)

    async def release_due(self, *, limit: int) -> Sequence[Ring]:
        async def release(tx: Transaction) -> Sequence[Change]:
            held = await tx.lock_due(limit)
            settlement = Settlement(tx, held)
            due = await tellable(settlement, held.tasks)
            for task in due:
                if task.status is TaskStatus.scheduled:
                    settlement.change(settle.released(task, settlement.now))
            await lapse(settlement, [task.id for task in due if task.status is TaskStatus.waiting])
            return await written(settlement)

        changes = await self._single.run_repeatable(release)
        self._single.tell(changes)
        return merged([*rings_of(changes), *await self._keys.let_in_due()])

    async def seconds_until_due(self) -> float | None:
        (row,) = await self._reader.rows(_NEXT_DUE)
        times = [at for name, at in row.items() if name != "now" and at is not None]
        return (min(times) - self._now(row)).total_seconds() if times else None

    async def take_back_expired(self, *, limit: int, max_crashes: int) -> Sequence[Ring]:
        async def take_back(tx: Transaction) -> Sequence[Change]:
            held = await tx.lock_expired(limit)
            settlement = Settlement(tx, held)
            lost = await tellable(settlement, held.tasks)
            stuck, orphans = await _no_further_than_started(tx, lost), await _of_dead_workers(tx, lost, held.now)
            for task in lost:
                got_on, worker_died = task.id not in stuck, task.id in orphans
                settlement.change(
                    settle.taken_back(task, max_crashes, held.now, got_on=got_on, worker_died=worker_died)
                )
            return await written(settlement)

        changes = await self._single.run_repeatable(take_back)
        self._single.tell(changes)
        return rings_of(changes)

    async def fail_overdue(self, *, limit: int) -> tuple[int, Sequence[Ring]]:
        changes = await self._change(lambda tx: tx.lock_overdue(limit), settle.overdue)
        return sum(change.after.status is TaskStatus.failed for change in changes), rings_of(changes)

    async def forget_silent_workers(self, *, silent_seconds: float) -> int:
        return await self._single.run_repeatable(lambda tx: tx.forget_silent_workers(silent_seconds))

    async def sweep_keys(self, *, unused_seconds: float, limit: int) -> int:
        return await self._keys.sweep_keys(unused_seconds=unused_seconds, limit=limit)

    async def backlogs(self) -> Sequence[QueueBacklog]:
        rows = await self._reader.rows(_BACKLOGS)
        return [QueueBacklog(row["queue"], row["claimable"], self._age(row)) for row in rows if row["claimable"]]

    async def _change(
        self, lock: Callable[[Transaction], Any], decide: Callable[[HeldTask, datetime], Change]
    ) -> Sequence[Change]:
        async def lock_and_decide(tx: Transaction) -> Sequence[Change]:
            held: Held = await lock(tx)
            settlement = Settlement(tx, held)
            for task in await tellable(settlement, held.tasks):
                settlement.change(decide(task, held.now))
            return await written(settlement)

        changes = await self._single.run_repeatable(lock_and_decide)
        self._single.tell(changes)
        return changes

    def _age(self, row: Any) -> float:
        age: float = (self._now(row) - row["oldest_ring"]).total_seconds()
        return max(0.0, age)

    def _now(self, row: Any) -> datetime:
        # SQLite's own CURRENT_TIMESTAMP knows no fractions.
        now: datetime = self._machine_clock() if self._machine_clock is not None else row["now"]
        return now


async def _no_further_than_started(tx: Transaction, lost: Sequence[HeldTask]) -> set[UUID]:
    """Those whose last event is that they were started."""
    if not lost:
        return set()
    event = task_events.c
    last = tuple_(event.task_id, event.seq).in_([(task.id, task.seq) for task in lost])
    rows = await tx.run(select(event.task_id).where(last, event.type == EventType.task_started))
    return {row["task_id"] for row in rows}


async def _of_dead_workers(tx: Transaction, lost: Sequence[HeldTask], now: datetime) -> set[UUID]:
    """Those whose worker has fallen silent while others were heard of.

    When nobody was, the database was away, or the network, and leases are lost although no worker has died.
    """
    if not lost:
        return set()
    worker = workers.c
    holders = {task.worker_id for task in lost}
    rows = await tx.run(select(worker.worker_id, worker.seen_at).where(worker.worker_id.in_(sorted(map(str, holders)))))
    seen = {row["worker_id"]: row["seen_at"] for row in rows}
    (newest,) = await tx.run(select(func.max(worker.seen_at, type_=UtcTime).label("at")))

    def has_died(task: HeldTask) -> bool:
        last = seen.get(task.worker_id)
        if last is None or task.lease_expires_at is None:
            return True
        # A worker is heard of with each renewal, three times in a lease.
        lease: timedelta = task.lease_expires_at - last
        return lease > timedelta(0) and bool(newest["at"] > now - lease / 2)

    return {task.id for task in lost if has_died(task)}
