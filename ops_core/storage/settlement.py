"""The tasks that one transaction has locked, and what becomes of them: each is written once, at the end."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from uuid import UUID

from ops_core.domain.task import TaskStatus
from ops_core.ports import Nudge, NudgeKind, Ring
from ops_core.storage.writes import Change, Held, HeldTask, Transaction

#: Housekeepers are told of what is due sooner: what is due later they find by themselves.
DUE_SOON = timedelta(seconds=60)


class Settlement:
    """Gathers changes. What follows from one (a parent is woken, a key is freed) is one more change of another task,
    or of the same, that is written with it."""

    def __init__(self, tx: Transaction, held: Held) -> None:
        self.tx = tx
        #: The database's time after the first locks were had.
        self.now: datetime = held.now
        self._tasks: dict[UUID, HeldTask] = {task.id: task for task in held.tasks}
        self._changes: dict[UUID, Change] = {}
        self._unfollowed: list[Change] = []
        #: Of tasks that were added.
        self.rings: list[Ring] = []
        self._arrived: list[UUID] = []

    async def lock(self, ids: Iterable[UUID]) -> None:
        """Lock more tasks; those that are held already stay as they stand here."""
        missing = [id for id in ids if id not in self._tasks]
        if missing:
            found = await self.tx.lock(missing)
            self._tasks.update((task.id, task) for task in found.tasks)

    async def lock_free(self, ids: Iterable[UUID]) -> None:
        """The same, but nobody is waited for."""
        missing = [id for id in ids if id not in self._tasks]
        if missing:
            found = await self.tx.lock_free(missing)
            self._tasks.update((task.id, task) for task in found.tasks)

    async def arrive(self, ids: Sequence[UUID]) -> None:
        """Tasks were added that ask their keys to let them in: with the others, when all tasks are locked."""
        await self.lock(ids)
        self._arrived += ids

    @property
    def arrived(self) -> Sequence[HeldTask]:
        """Those that were added and are still blocked, as they stand."""
        return [task for id in self._arrived if (task := self._tasks[id]).blocked]

    def held(self, id: UUID) -> HeldTask | None:
        """The task as it stands after the changes so far; None when it is not locked, or not there."""
        return self._tasks.get(id)

    def change(self, change: Change) -> None:
        """Add a change of a task that is held; its `before` is the task as it stands."""
        if self._tasks.get(change.before.id) != change.before:
            raise AssertionError("a change starts from the task as it stands in this settlement")
        earlier = self._changes.get(change.before.id)
        before, events = (earlier.before, earlier.events) if earlier else (change.before, ())
        after = change.after
        self._changes[after.id] = Change(before, after, self.now, (*events, *change.events), _ring(before, after))
        self._tasks[after.id] = after
        self._unfollowed.append(change)

    def ring(self, ring: Ring) -> None:
        """Something was added that is to be rung for after the commit."""
        self.rings.append(ring)

    def unfollowed(self) -> Sequence[Change]:
        """The changes whose consequences nobody has looked at yet; told once."""
        found, self._unfollowed = self._unfollowed, []
        return found

    @property
    def changes(self) -> Sequence[Change]:
        """One for each task that has changed, in the order of their ids."""
        return [self._changes[id] for id in sorted(self._changes)]


def rings_of(changes: Iterable[Change]) -> list[Ring]:
    """What is to be rung after the commit: one ring for each queue."""
    return merged(change.ring for change in changes if change.ring is not None)


def merged(rings: Iterable[Ring]) -> list[Ring]:
    """One ring for each queue, with the hints of its first."""
    by_queue: dict[str, list[Ring]] = {}
    for ring in rings:
        by_queue.setdefault(ring.queue, []).append(ring)
    return [replace(alike[0], count=sum(ring.count for ring in alike)) for alike in by_queue.values()]


def nudges_of(changes: Sequence[Change]) -> list[Nudge]:
    """Who may want to look after the commit: whoever watches the tasks, the workers of those that are to stop, and the
    housekeepers when something is due soon."""
    nudges = [Nudge(NudgeKind.event, change.after.id, change.after.seq) for change in changes]
    asked = (c.after.id for c in changes if c.before.cancel_requested_at is None is not c.after.cancel_requested_at)
    nudges += [Nudge(NudgeKind.cancel, id) for id in asked]
    for change in changes:
        at = _due_at(change.after)
        if at != _due_at(change.before):
            nudges += due_nudges(change.after.id, at, change.at)
    return nudges


def due_nudges(task_id: UUID, at: datetime | None, now: datetime) -> list[Nudge]:
    """What tells the housekeepers that something of the task is due at a time which is soon."""
    if at is None or at - now >= DUE_SOON:
        return []
    return [Nudge(NudgeKind.due, task_id, max(0, round((at - now).total_seconds() * 1000)))]


def _due_at(task: HeldTask) -> datetime | None:
    match task.status:
        case TaskStatus.scheduled:
            return task.run_at
        case TaskStatus.waiting:
            return task.wake_at
        case _:
            return None


def _ring(before: HeldTask, after: HeldTask) -> Ring | None:
    if _is_claimable(after) and not _is_claimable(before):
        return Ring(after.queue, 1, after.id, after.traceparent)
    return None


def _is_claimable(task: HeldTask) -> bool:
    return task.status is TaskStatus.queued and not task.blocked
