"""What queues have and want, counted within bounds: it costs the same however many tasks wait."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Executable, select, text

from ops_core.ports import QueueLoad
from ops_core.storage.column_types import UtcTime
from ops_core.storage.database_clock import DatabaseClock
from ops_core.storage.housekeeping import BACKLOG_BOUND
from ops_core.storage.reader import Reader
from ops_core.storage.schema import workers

#: More queues than this with tasks in them can only be a mistake; the others are found by their names.
_MOST_QUEUES = 1000

# Of queued tasks, one look into the claim's index for each queue. Of running ones the whole of their index: they are as
# many as there are slots. It is read by itself, or the index of all live tasks of a namespace might be taken.
_NAMES = text(f"""
WITH RECURSIVE queued (queue, number) AS (
    SELECT min(queue), 1 FROM tasks WHERE status = 'queued'
    UNION ALL
    SELECT (SELECT min(t.queue) FROM tasks t WHERE t.status = 'queued' AND t.queue > q.queue), q.number + 1
    FROM queued q WHERE q.queue IS NOT NULL AND q.number < {_MOST_QUEUES}
), running AS MATERIALIZED (SELECT queue, namespace FROM tasks WHERE status = 'running')
SELECT queue FROM queued WHERE queue IS NOT NULL UNION SELECT queue FROM running WHERE namespace = :namespace
""")  # noqa: S608  a number of ours

# All in one statement, so that no task is missed or counted twice because it is claimed meanwhile.
_RUNNING = """
WITH running AS MATERIALIZED (SELECT queue, namespace FROM tasks WHERE status = 'running'),
by_queue AS MATERIALIZED (SELECT queue, count(*) AS tasks FROM running WHERE namespace = :namespace GROUP BY queue)
"""
# The order is the claim's index's: so it is walked, and left at the bound.
_COUNTED = """
SELECT {number} AS number, count(*) AS walked, count(*) FILTER (WHERE namespace = :namespace) AS ready,
    min(rung_at) FILTER (WHERE namespace = :namespace) AS oldest_ring,
    (SELECT tasks FROM by_queue WHERE queue = :queue{number}) AS running
FROM (SELECT namespace, rung_at FROM tasks WHERE status = 'queued' AND queue = :queue{number} AND blocked = false
    ORDER BY priority DESC, rank, id LIMIT :bound) ready
"""

_WORKERS = (
    select(workers.c.queues, workers.c.slots, workers.c.busy, workers.c.seen_at)
    .where(workers.c.draining.is_(False))
    .order_by(workers.c.worker_id)
)


@dataclass(frozen=True, slots=True)
class _Served:
    """By queue: what the workers that serve it have together."""

    workers: Counter[str] = field(default_factory=Counter)
    slots: Counter[str] = field(default_factory=Counter)
    free: Counter[str] = field(default_factory=Counter)


class SqlQueueStore:
    """See `QueueStore`."""

    def __init__(self, *, reader: Reader, clock: DatabaseClock, bound: int = BACKLOG_BOUND) -> None:
        """Ready tasks of a queue are counted up to `bound`."""
        self._reader = reader
        self._clock = clock
        self._bound = bound

    async def list_queue_names(self, namespace: str, *, silent_seconds: float) -> Collection[str]:
        rows = await self._reader.rows(_NAMES.bindparams(namespace=namespace))
        served = await self._served(await self._clock.now(), silent_seconds)
        return {row["queue"] for row in rows} | served.workers.keys()

    async def load_queues(self, namespace: str, names: Sequence[str], *, silent_seconds: float) -> Sequence[QueueLoad]:
        if not names:
            return []
        rows = await self._reader.rows(self._counts(namespace, names))
        now = await self._clock.now()
        served = await self._served(now, silent_seconds)
        counted = {names[row["number"]]: row for row in rows}
        return [self._load(name, counted[name], served, now) for name in names]

    def _counts(self, namespace: str, names: Sequence[str]) -> Executable:
        counted = " UNION ALL ".join(_COUNTED.format(number=number) for number in range(len(names)))
        queues = {f"queue{number}": name for number, name in enumerate(names)}
        statement = text(_RUNNING + counted).bindparams(namespace=namespace, bound=self._bound, **queues)
        return statement.columns(oldest_ring=UtcTime)

    async def _served(self, now: datetime, silent_seconds: float) -> _Served:
        served = _Served()
        heard_since = now - timedelta(seconds=silent_seconds)
        for row in await self._reader.rows(_WORKERS):
            if row["seen_at"] < heard_since:
                continue
            for queue in set(row["queues"]):
                served.workers[queue] += 1
                served.slots[queue] += row["slots"]
                served.free[queue] += max(0, row["slots"] - row["busy"])
        return served

    def _load(self, name: str, row: Mapping[str, Any], served: _Served, now: datetime) -> QueueLoad:
        oldest = row["oldest_ring"]
        return QueueLoad(
            name=name,
            ready=row["ready"],
            running=row["running"] or 0,
            workers=served.workers[name],
            slots=served.slots[name],
            free=served.free[name],
            oldest_ready_seconds=None if oldest is None else max(0.0, (now - oldest).total_seconds()),
            wanted_slots_capped=row["walked"] >= self._bound,
        )
