"""Changes that no request and no worker makes: release what is due, take back what was lost, fail what is late."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import text

from ops_core.domain.task import TaskStatus
from ops_core.ports import QueueBacklog, Ring
from ops_core.storage import settle
from ops_core.storage.column_types import UtcTime
from ops_core.storage.consequences import written
from ops_core.storage.family import tellable
from ops_core.storage.key_housekeeping import KeyHousekeeping
from ops_core.storage.lapses import lapse
from ops_core.storage.reader import Reader
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
    CURRENT_TIMESTAMP AS now
""").columns(scheduled=UtcTime, waiting=UtcTime, held_back=UtcTime)


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
        return merged([*rings_of(changes), *await self._keys.let_in_by_rate()])

    async def seconds_until_due(self) -> float | None:
        (row,) = await self._reader.rows(_NEXT_DUE)
        times = [at for name, at in row.items() if name != "now" and at is not None]
        return (min(times) - self._now(row)).total_seconds() if times else None

    async def take_back_expired(self, *, limit: int, max_crashes: int) -> Sequence[Ring]:
        def take_back(held: HeldTask, now: datetime) -> Change:
            return settle.taken_back(held, max_crashes, now)

        return rings_of(await self._change(lambda tx: tx.lock_expired(limit), take_back))

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
