"""Deletes what is kept no longer: finished tasks with all that is theirs, and long values that no row names.

Rows are looked at without a lock, in the order of their names, so many at a time. Then one short transaction locks what
is to be deleted and still is as it was seen, passing over what somebody else holds, and deletes it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Any
from uuid import UUID

from sqlalchemy import bindparam, delete, exists, select, text, tuple_

from ops_core.domain.event import Event
from ops_core.domain.task import FINAL, LIVE, Task, TaskStatus
from ops_core.ports import BlobName, Pruned, PrunedBlobs, Retention, TaskArchive
from ops_core.storage.column_types import UtcTime
from ops_core.storage.database_clock import DatabaseClock
from ops_core.storage.reader import Reader
from ops_core.storage.schema import blobs, signals, task_deltas, task_events, tasks, waits
from ops_core.storage.single_write import SingleWrite
from ops_core.storage.tasks import SqlTaskStore
from ops_core.storage.writes import Transaction

#: Events that one transaction deletes, unless one task alone has more.
_MAX_EVENTS = 10_000
_EVENTS_A_READ = 200

# What a row does not name when this statement begins it will not name later: whoever makes a row name a blob puts it
# right before, which makes it young, or copies the name from a row that stays until then.
_DELETE_UNNAMED = """
DELETE FROM blobs WHERE (namespace, digest) IN (
    SELECT namespace, digest FROM blobs b
    WHERE (namespace, digest) >= (:first_namespace, :first_digest)
        AND (namespace, digest) <= (:last_namespace, :last_digest) AND put_at < :before
        AND NOT EXISTS (SELECT 1 FROM tasks t WHERE t.namespace = b.namespace AND t.input_blob = b.digest)
        AND NOT EXISTS (SELECT 1 FROM tasks t WHERE t.namespace = b.namespace AND t.result_blob = b.digest)
        AND NOT EXISTS (SELECT 1 FROM task_events e WHERE e.namespace = b.namespace AND e.payload_blob = b.digest)
    {locking})
RETURNING 1 AS gone
"""


class SqlRetentionStore:
    """See `RetentionStore`."""

    def __init__(
        self,
        *,
        single: SingleWrite,
        reader: Reader,
        tasks: SqlTaskStore,
        clock: DatabaseClock,
        is_sqlite: bool,
    ) -> None:
        self._single = single
        self._reader = reader
        self._tasks = tasks
        self._clock = clock
        locking = "" if is_sqlite else "FOR UPDATE SKIP LOCKED"
        self._delete_unnamed = text(_DELETE_UNNAMED.format(locking=locking))

    async def prune_tasks(
        self, *, policy: Retention, after: UUID | None, limit: int, archive: TaskArchive | None = None
    ) -> Pruned:
        """See `RetentionStore`."""
        shortest = min((s for s in (policy.completed_seconds, policy.unhappy_seconds) if s is not None), default=None)
        if shortest is None:
            return Pruned(tasks=0, after=None)
        now = await self._clock.now()
        rows = await self._seen(after, made_before=now - timedelta(seconds=shortest), limit=limit)
        live = await self._live_parents(rows)
        chosen, looked_at = _chosen([row for row in rows if _is_over(row, policy, now, live)], rows)
        if archive is not None and chosen:
            await archive.keep(self._whole(chosen))
        gone = await self._single.run_repeatable(partial(_delete, seen=chosen)) if chosen else 0
        is_end = len(rows) < limit and looked_at == len(rows)
        return Pruned(tasks=gone, after=None if is_end else rows[looked_at - 1]["id"])

    async def prune_blobs(self, *, unused_seconds: float, after: BlobName | None, limit: int) -> PrunedBlobs:
        """See `RetentionStore`."""
        name = tuple_(blobs.c.namespace, blobs.c.digest)
        page = select(blobs.c.namespace, blobs.c.digest).order_by(blobs.c.namespace, blobs.c.digest).limit(limit)
        rows = await self._reader.rows(page if after is None else page.where(name > after))
        if not rows:
            return PrunedBlobs(blobs=0, after=None)
        first, last = rows[0], rows[-1]
        statement = self._delete_unnamed.bindparams(
            bindparam("before", await self._clock.now() - timedelta(seconds=unused_seconds), type_=UtcTime),
            first_namespace=first["namespace"],
            first_digest=first["digest"],
            last_namespace=last["namespace"],
            last_digest=last["digest"],
        )
        gone = await self._single.run_repeatable(lambda tx: tx.run(statement))
        is_end = len(rows) < limit
        return PrunedBlobs(blobs=len(gone), after=None if is_end else (last["namespace"], last["digest"]))

    async def _seen(self, after: UUID | None, *, made_before: datetime, limit: int) -> Sequence[dict[str, Any]]:
        """Tasks in the order of their ids, which is that of their making: what is younger than the policy keeps at
        least is not looked at."""
        column = tasks.c
        wanted = (column.id, column.namespace, column.status, column.finished_at, column.seq, column.parent_id)
        statement = select(*wanted).where(column.id < _first_id_of(made_before)).order_by(column.id).limit(limit)
        return await self._reader.rows(statement if after is None else statement.where(column.id > after))

    async def _live_parents(self, rows: Sequence[Mapping[str, Any]]) -> set[UUID]:
        parents = {row["parent_id"] for row in rows if row["parent_id"] is not None}
        if not parents:
            return set()
        live = select(tasks.c.id).where(tasks.c.id.in_(parents), tasks.c.status.in_(sorted(LIVE)))
        return {row["id"] for row in await self._reader.rows(live)}

    async def _whole(self, seen: Sequence[Mapping[str, Any]]) -> AsyncIterator[tuple[Task, Sequence[Event]]]:
        for row in seen:
            task = await self._tasks.get_task(row["namespace"], row["id"])
            if task is not None:
                yield task, await self._log_of(task)

    async def _log_of(self, task: Task) -> list[Event]:
        events: list[Event] = []
        while found := await self._tasks.list_events(
            task.id, after_seq=events[-1].seq if events else 0, limit=_EVENTS_A_READ
        ):
            events += found
        return events


def _is_over(row: Mapping[str, Any], policy: Retention, now: datetime, live_parents: Collection[UUID]) -> bool:
    status = TaskStatus(row["status"])
    if not status.is_final or row["parent_id"] in live_parents:
        return False
    kept_seconds = policy.completed_seconds if status is TaskStatus.completed else policy.unhappy_seconds
    finished_at: datetime = row["finished_at"]
    return kept_seconds is not None and now - finished_at >= timedelta(seconds=kept_seconds)


def _chosen(over: Sequence[dict[str, Any]], rows: Sequence[dict[str, Any]]) -> tuple[Sequence[dict[str, Any]], int]:
    """As many as one transaction should delete, and how many rows have been looked at with them."""
    events = 0
    for n, row in enumerate(over):
        events += row["seq"]
        if n and events > _MAX_EVENTS:
            return over[:n], rows.index(over[n - 1]) + 1
    return over, len(rows)


async def _delete(tx: Transaction, *, seen: Sequence[Mapping[str, Any]]) -> int:
    """What has been reopened since it was seen, or has a live parent by now, or is held by somebody, stays."""
    parent = tasks.alias("parent")
    has_live_parent = exists().where(parent.c.id == tasks.c.parent_id, parent.c.status.in_(sorted(LIVE)))
    free = (
        select(tasks.c.id, tasks.c.seq)
        .where(tasks.c.id.in_([row["id"] for row in seen]), tasks.c.status.in_(sorted(FINAL)), ~has_live_parent)
        .order_by(tasks.c.id)
        .with_for_update(of=tasks, skip_locked=True)
    )
    last_seq = {row["id"]: row["seq"] for row in seen}
    ids = [row["id"] for row in await tx.run(free) if row["seq"] == last_seq[row["id"]]]
    if ids:
        for table in (task_events, signals, waits, task_deltas):
            await tx.run(delete(table).where(table.c.task_id.in_(ids)))
        await tx.run(delete(tasks).where(tasks.c.id.in_(ids)))
    return len(ids)


def _first_id_of(at: datetime) -> UUID:
    """Ids begin with the milliseconds of their making (UUIDv7)."""
    return UUID(int=max(0, int(at.timestamp() * 1000)) << 80)
