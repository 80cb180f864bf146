"""Tasks as services need them: add, read, cancel, retry."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import Any
from uuid import UUID

from sqlalchemy import Select, String, cast, func, literal, select, text, tuple_
from sqlalchemy.dialects.postgresql import JSONB

from ops_core.domain.event import Event
from ops_core.domain.task import FINAL, LIVE, NewTask, RetryFrom, Task, TaskStatus
from ops_core.errors import OpsCoreError, TaskFinished, TaskNotFinished, TaskNotFound
from ops_core.ports import Added, Glance, Nudge, NudgeBus, NudgeKind, Ring, TaskQuery
from ops_core.storage import settle
from ops_core.storage.admission import insert_tasks, is_keyed
from ops_core.storage.blobs import Blobs
from ops_core.storage.group_commit import GroupCommit
from ops_core.storage.id_ranges import ids_beginning
from ops_core.storage.journal import check_reached, reopenings_of, replayed, stages, steps_of
from ops_core.storage.reader import Reader
from ops_core.storage.records import TASK_COLUMNS, event_from_record, task_from_record
from ops_core.storage.schema import IS_LIVE, IS_UNHAPPY, task_events, tasks
from ops_core.storage.settlement import due_nudges
from ops_core.storage.single_write import SingleWrite
from ops_core.storage.submissions import Replayed, as_added, ring_of_added, task_insert, what_became
from ops_core.storage.writes import Backend, Change, HeldTask, Inserted, KnownTask, TaskInsert, Transaction

_TASK = [tasks.c[name] for name in TASK_COLUMNS]


class SqlTaskStore:
    """See `TaskStore`."""

    def __init__(
        self,
        *,
        adds: GroupCommit[TaskInsert, Inserted | Replayed],
        single: SingleWrite,
        reader: Reader,
        blobs: Blobs,
        is_sqlite: bool,
    ) -> None:
        self._adds = adds
        self._single = single
        self._reader = reader
        self._blobs = blobs
        self._is_sqlite = is_sqlite

    async def add_task(self, new: NewTask) -> Added:
        match await self._adds.write(task_insert(new, await self._blobs.stored(new.namespace, new.input))):
            case Replayed(id):
                return Added(await self._must_get(new.namespace, id), replayed=True, ring=None)
            case Inserted() as inserted:
                return Added(as_added(new, inserted), replayed=False, ring=ring_of_added(new, inserted))

    async def find_submitted(self, namespace: str, idempotency_key: str, *, request_hash: str) -> Task | None:
        statement = select(*_TASK).where(
            tasks.c.namespace == namespace,
            tasks.c.idempotency_key == idempotency_key,
            tasks.c.request_hash == request_hash,
        )
        found = await self._tasks(await self._reader.rows(statement))
        return found[0] if found else None

    async def get_task(self, namespace: str, task_id: UUID) -> Task | None:
        # By the id alone: a condition on the namespace tempts PostgreSQL to walk its index as well.
        rows = await self._reader.rows(select(*_TASK).where(tasks.c.id == task_id))
        found = await self._tasks([row for row in rows if row["namespace"] == namespace])
        return found[0] if found else None

    async def list_tasks(self, query: TaskQuery) -> Sequence[Task]:
        return await self._tasks(await self._reader.rows(self._listing(query)))

    async def list_events(self, task_id: UUID, *, after_seq: int, limit: int) -> Sequence[Event]:
        statement = (
            select(task_events)
            .where(task_events.c.task_id == task_id, task_events.c.seq > after_seq)
            .order_by(task_events.c.seq)
            .limit(limit)
        )
        rows = await self._reader.rows(statement)
        payloads = await self._blobs.values(rows, "payload")
        return [event_from_record(row, payload=payload) for row, payload in zip(rows, payloads, strict=True)]

    async def glance(self, task_ids: Sequence[UUID]) -> Mapping[UUID, Glance]:
        column = tasks.c
        statement = select(column.id, column.seq, column.epoch, column.status).where(column.id.in_(task_ids))
        rows = await self._reader.rows(statement)
        return {r["id"]: Glance(r["seq"], r["epoch"] if r["status"] == TaskStatus.running else None) for r in rows}

    async def cancel_task(self, namespace: str, task_id: UUID, *, by: str) -> tuple[Task, Sequence[Ring]]:
        def cancel(held: HeldTask, now: Any) -> Change | None:
            if held.status.is_final:
                raise TaskFinished(f"The task is {held.status} already: only a live task can be canceled.")
            return settle.canceled_by(held, by, now)

        changed = await self._single.change(namespace, task_id, cancel)
        return await self._must_get(namespace, task_id), changed.rings if changed is not None else ()

    async def retry_task(
        self, namespace: str, task_id: UUID, *, by: str, retry_from: RetryFrom, before_step: int | None = None
    ) -> tuple[Task, Sequence[Ring]]:
        round = None
        if retry_from is RetryFrom.step:
            round = await self._round_that_reaches(namespace, task_id, before_step or 0)

        def reopen(held: HeldTask, now: Any) -> Change:
            if not held.status.is_final:
                raise TaskNotFinished(
                    f"The task is {held.status}: only a finished task can be retried. Cancel it first, or wait for it."
                )
            if round not in (None, held.round):
                raise TaskNotFinished("Somebody else has retried the task meanwhile: look at it again.")
            return settle.reopened(held, by, retry_from, now, before_step=before_step)

        changed = await self._single.change(namespace, task_id, reopen)
        return await self._must_get(namespace, task_id), changed.rings if changed is not None else ()

    async def list_ancestors(self, task_id: UUID, *, limit: int) -> Sequence[Task]:
        itself = select(tasks.c.id, tasks.c.parent_id, literal(0).label("above")).where(tasks.c.id == task_id)
        line = itself.cte("line", recursive=True)
        above = select(tasks.c.id, tasks.c.parent_id, line.c.above + 1).where(tasks.c.id == line.c.parent_id)
        line = line.union_all(above.where(line.c.above + 1 < limit))
        statement = select(*_TASK).join(line, tasks.c.id == line.c.id).order_by(line.c.above).limit(limit)
        return await self._tasks(await self._reader.rows(statement))

    async def list_children(
        self, namespace: str, task_id: UUID, *, limit: int, after: tuple[datetime, UUID] | None = None
    ) -> Sequence[Task]:
        # By the database's clock and not by the ids, which workers make: one whose clock is behind would add a child
        # in front of pages that were read. And without the namespace, which is the parent's: with it PostgreSQL is
        # tempted to walk the list of all tasks.
        place = tuple_(tasks.c.created_at, tasks.c.id)
        statement = select(*_TASK).where(tasks.c.parent_id == task_id)
        if after is not None:
            statement = statement.where(place > after)
        rows = await self._reader.rows(statement.order_by(*place).limit(limit))
        return await self._tasks([row for row in rows if row["namespace"] == namespace])

    async def _round_that_reaches(self, namespace: str, task_id: UUID, before_step: int) -> int:
        """The round of a finished task whose journal reaches that step.

        Raises:
            TaskNotFound, TaskNotFinished, StepNotFound.
        """
        task = await self._must_get(namespace, task_id)
        if not task.status.is_final:
            raise TaskNotFinished(
                f"The task is {task.status}: only a finished task can be retried. Cancel it first, or wait for it."
            )
        reopenings = await self._reader.rows(reopenings_of(task_id))
        steps = await self._reader.rows(steps_of(task_id))
        check_reached(replayed(steps, stages(task.round, reopenings)), before_step, task.status)
        return task.round

    def _listing(self, query: TaskQuery) -> Select[Any]:
        column = tasks.c
        statement = select(*_TASK).where(column.namespace == query.namespace)
        if query.statuses:
            statement = statement.where(column.status.in_(sorted(query.statuses)))
            # The condition of an index says it once more, or the index is not used.
            if query.statuses <= LIVE:
                statement = statement.where(text(IS_LIVE))
            elif query.statuses <= FINAL - {TaskStatus.completed}:
                statement = statement.where(text(IS_UNHAPPY))
        if query.agent is not None:
            statement = statement.where(column.agent == query.agent)
        if query.queue is not None:
            statement = statement.where(column.queue == query.queue)
        if query.created_after is not None:
            statement = statement.where(column.created_at > query.created_after)
        if query.created_before is not None:
            statement = statement.where(column.created_at < query.created_before)
        if query.id_prefix:
            statement = statement.where(column.id.between(*ids_beginning(query.id_prefix)))
        if query.before is not None:
            # As a row: with `or` the index would be walked from its end, past all that is newer.
            statement = statement.where(tuple_(column.created_at, column.id) < tuple_(*query.before))
        for name, value in query.labels.items():
            statement = statement.where(self._has_label(name, value))
        return statement.order_by(column.created_at.desc(), column.id.desc()).limit(query.limit)

    def _has_label(self, name: str, value: str) -> Any:
        if not self._is_sqlite:
            return tasks.c.labels.op("@>")(cast({name: value}, JSONB))
        each = func.json_each(cast(tasks.c.labels, String)).table_valued("key", "value")
        return select(1).select_from(each).where(each.c.key == name, each.c.value == value).exists()

    async def _must_get(self, namespace: str, task_id: UUID) -> Task:
        task = await self.get_task(namespace, task_id)
        if task is None:
            raise TaskNotFound(f"There is no task {task_id}. List tasks to find the one you mean.")
        return task

    async def _tasks(self, rows: Sequence[dict[str, Any]]) -> list[Task]:
        inputs, results = await self._blobs.values(rows, "input"), await self._blobs.values(rows, "result")
        return [task_from_record(r, input=i, result=o) for r, i, o in zip(rows, inputs, results, strict=True)]


class AddBatch:
    """Many submissions in one transaction."""

    def __init__(self, backend: Backend, nudges: NudgeBus) -> None:
        self._backend = backend
        self._nudges = nudges

    def key(self, item: TaskInsert) -> UUID:
        return item.new.id

    async def write(self, items: Sequence[TaskInsert]) -> Sequence[Inserted | Replayed | OpsCoreError]:
        # In the order of the keys: two processes that insert the same keys wait for each other, not in a circle.
        ordered = sorted(items, key=lambda item: (item.new.namespace, item.new.idempotency_key or "", item.new.id))

        plain = [item for item in ordered if not is_keyed(item.new)]
        keyed = [item for item in ordered if is_keyed(item.new)]
        inserted: dict[UUID, Inserted] = {}
        known: list[KnownTask] = []
        for part, run in ((plain, self._backend.autocommit), (keyed, self._backend.transact)):
            if part:
                added, passed_over = await run(partial(_insert, items=part))
                inserted |= added
                known += passed_over
        self._nudges.send([Nudge(NudgeKind.event, id, 1) for id in inserted])
        due = {item.new.id: item.new.run_at for item in items if item.new.run_at is not None}
        scheduled = [row for row in inserted.values() if row.status is TaskStatus.scheduled]
        self._nudges.send([n for row in scheduled for n in due_nudges(row.id, due[row.id], row.created_at)])
        return [inserted.get(item.new.id) or what_became(item.new, known) for item in items]

    # A task that was written before the answer was lost is found by its id.
    write_unless_written = write


async def _insert(tx: Transaction, *, items: Sequence[TaskInsert]) -> tuple[dict[UUID, Inserted], Sequence[KnownTask]]:
    """What is new, and the rows for which the rest was passed over."""
    inserted = {row.id: row for row in await insert_tasks(tx, items)}
    known = [item for item in items if item.new.id not in inserted]
    return inserted, await tx.find_known(known) if known else ()
