"""Forks: a new task that begins with journaled steps of a finished one."""

from __future__ import annotations

from dataclasses import replace
from uuid import UUID

from sqlalchemy import Uuid, func, insert, literal, select, update

from ops_core.domain.task import NewTask, Task
from ops_core.errors import OpsCoreError, TaskNotFinished, TaskNotFound
from ops_core.ports import Added, Nudge, NudgeKind
from ops_core.storage.admission import insert_tasks
from ops_core.storage.blobs import Blobs
from ops_core.storage.column_types import UtcTime
from ops_core.storage.journal import (
    TAKEN_OVER,
    check_reached,
    reopenings_of,
    replayed,
    stages,
    steps_of,
    taken_over,
)
from ops_core.storage.schema import task_events, tasks
from ops_core.storage.single_write import SingleWrite
from ops_core.storage.submissions import Replayed, as_added, ring_of_added, task_insert, what_became
from ops_core.storage.tasks import SqlTaskStore
from ops_core.storage.writes import Held, HeldTask, Inserted, TaskInsert, Transaction

_COPIED = ("type", "step_key", "phase", "format", "payload", "payload_blob")


class SqlForkStore:
    """Adds tasks that take over steps; the rest of a task's life is `SqlTaskStore`'s."""

    def __init__(self, *, single: SingleWrite, tasks: SqlTaskStore, blobs: Blobs) -> None:
        self._single = single
        self._tasks = tasks
        self._blobs = blobs

    async def fork_task(self, source: Task, new: NewTask) -> Added:
        """See `TaskStore`."""
        wanted = task_insert(new, await self._blobs.stored(new.namespace, new.input))

        async def fork(tx: Transaction) -> tuple[Inserted | Replayed | OpsCoreError, int]:
            return await _add(tx, wanted, _finished(source.id, new, await tx.lock([source.id])))

        outcome, taken = await self._single.run_repeatable(fork)
        match outcome:
            case Replayed(id):
                return Added(await self._found(new.namespace, id), replayed=True, ring=None)
            case Inserted() as inserted:
                added = replace(as_added(new, inserted), seq=1 + taken)
                self._single.send([Nudge(NudgeKind.event, added.id, added.seq)])
                return Added(added, replayed=False, ring=ring_of_added(new, inserted))
            case refusal:
                raise refusal

    async def _found(self, namespace: str, task_id: UUID) -> Task:
        found = await self._tasks.get_task(namespace, task_id)
        if found is None:
            raise TaskNotFound(f"There is no task {task_id}. List tasks to find the one you mean.")
        return found


def _finished(source_id: UUID, new: NewTask, held: Held) -> HeldTask:
    """Raises:
    TaskNotFound, TaskNotFinished.
    """
    if not held.tasks or held.tasks[0].namespace != new.namespace:
        raise TaskNotFound(f"There is no task {source_id}. List tasks to find the one you mean.")
    source = held.tasks[0]
    if not source.status.is_final:
        raise TaskNotFinished(
            f"The task is {source.status}: only a finished task can be forked. Cancel it first, or wait for it."
        )
    return source


async def _add(tx: Transaction, wanted: TaskInsert, source: HeldTask) -> tuple[Inserted | Replayed | OpsCoreError, int]:
    """The task, and how many events it has taken over; nothing is added when the submission is known."""
    added = await insert_tasks(tx, [wanted])
    became = added[0] if added else what_became(wanted.new, await tx.find_known([wanted]))
    if not isinstance(became, Inserted):
        return became, 0
    seqs = await _steps(tx, source, wanted.new)
    if added and seqs:
        await _copy(tx, source.id, seqs, wanted.new, became)
        await tx.run(update(tasks).where(tasks.c.id == wanted.new.id).values(seq=1 + len(seqs)))
    return became, len(seqs)


async def _steps(tx: Transaction, source: HeldTask, new: NewTask) -> list[int]:
    """Raises:
    StepNotFound: the journal does not reach the step that the fork begins with.
    """
    origin = new.forked_from
    if origin is None:
        raise AssertionError("a fork says what it was made from")
    reopenings = await tx.run(reopenings_of(source.id))
    steps = replayed(await tx.run(steps_of(source.id)), stages(origin.round, reopenings))
    check_reached(steps, origin.before_step, source.status)
    return taken_over(steps, origin.before_step)


async def _copy(tx: Transaction, source_id: UUID, seqs: list[int], new: NewTask, added: Inserted) -> None:
    """In the order they had, numbered after `task.submitted`. A long payload stays the one blob that it is."""
    events = task_events.c
    copies = select(
        literal(new.id, Uuid()),
        (func.row_number().over(order_by=events.seq) + 1),
        literal(new.namespace),
        literal(TAKEN_OVER),
        literal(added.created_at, UtcTime()),
        *(events[name] for name in _COPIED),
    ).where(events.task_id == source_id, events.seq.in_(seqs))
    into = ("task_id", "seq", "namespace", "round", "at", *_COPIED)
    await tx.run(insert(task_events).from_select(into, copies))
