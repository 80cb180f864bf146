"""Keys that bound what runs: who has a place of its concurrency key and a start of its rate is let in.

A task holds its place while it is let in or runs. One that becomes queued is *blocked* until both of its keys let it
in; whoever frees a place lets the best blocked task in, in the same transaction. Tasks are locked before keys, keys in
the order of their names, those of concurrency before those of rates.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import replace
from datetime import datetime, timedelta
from uuid import UUID

from ops_core.domain.rate import Rate
from ops_core.domain.task import TaskStatus
from ops_core.storage import key_rows
from ops_core.storage.key_rows import Name, RateRow
from ops_core.storage.settlement import Settlement
from ops_core.storage.writes import Change, Held, HeldTask, Transaction

#: When blocked tasks of a rate are looked at again that the rate alone does not hold back.
_LOOK_AGAIN_SECONDS = (0.05, 1.0)


async def settle(
    settlement: Settlement, *, arriving: Sequence[HeldTask] = (), due: Sequence[HeldTask] = (), rate: Name | None = None
) -> None:
    """Give back the places of tasks that have stopped, and let in whom that makes room for.

    `arriving` are blocked tasks that have just been added; `due` those of `rate` whose turn it may be by now.
    """
    for change in settlement.changes:
        if _is_keyed(change.after):
            _held_or_blocked(settlement, change)
    # One that stays blocked is not looked at: who frees a place while it is held here waits for it, and holds
    # the key: to want that key now would be a circle.
    newcomers = [*arriving, *(c.after for c in settlement.changes if is_blocked(c.after) and not is_blocked(c.before))]
    freed = _freed(settlement)
    if newcomers or due or freed or rate is not None:
        await _Gate(settlement, due=rate).open(newcomers, due, freed)


async def let_in_due(tx: Transaction, name: Name) -> Sequence[Change]:
    """Let in the tasks of a rate that it allows by now."""
    now = await tx.now()
    ids = await _next_of_rate(tx, name, now)
    # Here the keys come first, and no task is waited for: who frees a place waits for the tasks that are held here.
    await key_rows.lock_places(tx, await key_rows.places_of(tx, ids), now)
    await key_rows.lock_rates(tx, {name}, now)
    tasks = (await tx.lock_free(ids)).tasks if ids else []
    settlement = Settlement(tx, Held(tasks, now))
    await settle(settlement, due=[task for task in tasks if is_blocked(task)], rate=name)
    if settlement.changes:
        await tx.apply_if_unchanged(settlement.changes)
    return settlement.changes


async def _next_of_rate(tx: Transaction, name: Name, now: datetime) -> Sequence[UUID]:
    theoretical = await key_rows.rate_next_at(tx, name)
    best = await key_rows.blocked_by_rate(tx, name, limit=1)
    if theoretical is None or not best:
        return []
    allowed = best[0][1].allowed(theoretical, now)
    return [id for id, _ in await key_rows.blocked_by_rate(tx, name, limit=allowed)] if allowed else []


def needs_place(task: HeldTask) -> bool:
    return task.concurrency_key is not None and task.concurrency_limit is not None


def needs_start(task: HeldTask) -> bool:
    """Retries and resumes of a task that has run do not count again."""
    return task.rate_key is not None and task.attempt == 0


def is_blocked(task: HeldTask) -> bool:
    return task.blocked and task.status is TaskStatus.queued


def _is_keyed(task: HeldTask) -> bool:
    return task.concurrency_key is not None or task.rate_key is not None


def _held_or_blocked(settlement: Settlement, change: Change) -> None:
    """What the change of status means for the place: it is kept, given back, or to be asked for."""
    task, was = change.after, change.before.status
    match task.status:
        case TaskStatus.running:
            return
        case TaskStatus.queued:
            if was is TaskStatus.queued:
                return
            # One that comes from a worker still has its place, unless a version took it that knew of none.
            asks_place = needs_place(task) and not task.holds_key
            asks_start = needs_start(task) and was is not TaskStatus.running
            after = replace(task, blocked=asks_place or asks_start)
        case _:
            after = replace(task, blocked=False, holds_key=False)
    if after != task:
        settlement.change(Change(task, after, settlement.now, ()))


def _freed(settlement: Settlement) -> dict[Name, int]:
    """Places given back by the tasks that have changed."""
    freed: dict[Name, int] = {}
    for change in settlement.changes:
        if change.before.holds_key and not change.after.holds_key and (name := _place(change.after)) is not None:
            freed[name] = freed.get(name, 0) + 1
    return freed


class _Gate:
    """Lets tasks in, the best first, while it holds the locks of their keys."""

    def __init__(self, settlement: Settlement, *, due: Name | None) -> None:
        self._settlement = settlement
        self._tx = settlement.tx
        self._now = settlement.now
        #: The rate that is being looked at because it is time to.
        self._due = due
        self._held: dict[Name, int] = {}
        self._rates: dict[Name, RateRow] = {}
        self._rates_before: dict[Name, RateRow] = {}
        #: Let in and not yet claimed, by rate and bound of the count; and those of this transaction.
        self._unclaimed: dict[tuple[Name, int], int] = {}
        self._started: dict[Name, int] = {}
        #: Tasks that were in line for one of their keys; newcomers are behind them.
        self._line: set[UUID] = set()
        self._passed: set[UUID] = set()

    async def open(self, newcomers: Sequence[HeldTask], line: Sequence[HeldTask], freed: Mapping[Name, int]) -> None:
        """Let in who fits, and write what became of the keys."""
        tasks = {task.id: task for task in (*newcomers, *line)}
        self._line.update(task.id for task in line)
        self._passed.update(tasks)
        places = {name for task in tasks.values() if (name := _place(task)) is not None} | freed.keys()
        starts = {name for task in tasks.values() if (name := _start(task)) is not None}
        self._held = before = await key_rows.lock_places(self._tx, places, self._now)
        await self._lock_rates(starts | ({self._due} if self._due is not None else set()))
        # A row that was lost must not keep its tasks from ending.
        self._held = before | {name: max(0, before[name] - count) for name, count in freed.items()}
        if self._due is not None:
            self._rates[self._due] = replace(self._rates[self._due], release_at=None)
        await self._let_in_best([*tasks.values()], freed)
        if self._due is not None:
            await self._look_again_at(self._due)
        await key_rows.write_places(self._tx, {n: held for n, held in self._held.items() if held != before[n]})
        for name, row in sorted(self._rates.items()):
            if row != self._rates_before[name]:
                await key_rows.write_rate(self._tx, name, row)

    async def _let_in_best(self, tasks: Sequence[HeldTask], freed: Mapping[Name, int]) -> None:
        """Those who ask and those who have waited for the freed places, together; then the line, until nobody fits."""
        names = sorted(freed)
        busy: list[UUID] = []
        lines = [await self._next_in_line(name, freed[name]) for name in names]
        await self._let_in([*tasks, *(task for free, _ in lines for task in free)])
        for name, (free, locked) in zip(names, lines, strict=True):
            while free or locked:
                busy += locked
                free, locked = await self._next_in_line(name, freed[name])
                await self._let_in(free)
        if busy:
            # A place may be left, and whoever holds these tasks may be about to leave them as they are: wait for him.
            await self._settlement.lock(sorted(busy))
            await self._let_in([task for id in busy if (task := self._settlement.held(id)) is not None])

    async def _next_in_line(self, name: Name, limit: int) -> tuple[list[HeldTask], list[UUID]]:
        """The best tasks that could have a place; and of those the ones that somebody else has locked."""
        ids = await key_rows.blocked_by_concurrency(
            self._tx, name, held=self._held[name], now=self._now, passed_over=self._passed, limit=limit
        )
        self._line.update(ids)
        self._passed.update(ids)
        await self._settlement.lock_free(ids)
        held = [self._settlement.held(id) for id in ids]
        return [task for task in held if task], [id for id, task in zip(ids, held, strict=True) if task is None]

    async def _let_in(self, tasks: Iterable[HeldTask]) -> None:
        for task in sorted(filter(is_blocked, tasks), key=_best_first):
            if await self._is_free_for(task):
                self._take(task)

    async def _is_free_for(self, task: HeldTask) -> bool:
        place, start = _place(task), _start(task)
        is_full = place is not None and self._held[place] >= (task.concurrency_limit or 0)
        if start is None:
            return not is_full
        await self._lock_rates({start})
        row = self._rates[start]
        if task.id not in self._line and row.release_at is not None:
            return False
        rate = _rate(task)
        if not rate.allows(row.next_at, self._now):
            self._look_again(start, rate.earliest(row.next_at))
            return False
        if is_full or await self._count_unclaimed(start, rate.limit) >= rate.limit:
            self._look_again(start, self._now + _look_again_after(rate))
            return False
        return True

    def _take(self, task: HeldTask) -> None:
        place, start = _place(task), _start(task)
        if place is not None:
            self._held[place] += 1
        if start is not None:
            row = self._rates[start]
            self._rates[start] = replace(row, next_at=_rate(task).after_start(row.next_at, self._now))
            self._started[start] = self._started.get(start, 0) + 1
        after = replace(task, blocked=False, holds_key=place is not None, rung_at=self._now)
        self._settlement.change(Change(task, after, self._now, ()))

    async def _lock_rates(self, names: Set[Name]) -> None:
        found = await key_rows.lock_rates(self._tx, names - self._rates.keys(), self._now)
        self._rates |= found
        self._rates_before |= found

    async def _count_unclaimed(self, name: Name, limit: int) -> int:
        """While workers are away nobody claims: what is let in then must not all start when they are back."""
        if (name, limit) not in self._unclaimed:
            self._unclaimed[name, limit] = await key_rows.count_let_in_by_rate(self._tx, name, limit=limit)
        return self._unclaimed[name, limit] + self._started.get(name, 0)

    async def _look_again_at(self, name: Name) -> None:
        """When it is time again for those that are still in the rate's line."""
        rate = await key_rows.held_back_by_rate(self._tx, name, passed_over=[c.after.id for c in self._let_in_now()])
        if rate is None:
            return
        earliest = rate.earliest(self._rates[name].next_at)
        self._look_again(name, earliest if earliest > self._now else self._now + _look_again_after(rate))

    def _let_in_now(self) -> Iterator[Change]:
        return (change for change in self._settlement.changes if not is_blocked(change.after))

    def _look_again(self, name: Name, at: datetime) -> None:
        row = self._rates[name]
        self._rates[name] = replace(row, release_at=at if row.release_at is None else min(at, row.release_at))


def _place(task: HeldTask) -> Name | None:
    return (task.namespace, task.concurrency_key) if task.concurrency_key is not None and needs_place(task) else None


def _start(task: HeldTask) -> Name | None:
    return (task.namespace, task.rate_key) if task.rate_key is not None and needs_start(task) else None


def _rate(task: HeldTask) -> Rate:
    return Rate(task.rate_limit or 1, task.rate_seconds or 1.0)


def _best_first(task: HeldTask) -> tuple[int, int, UUID]:
    return -task.priority, task.rank, task.id


def _look_again_after(rate: Rate) -> timedelta:
    shortest, longest = _LOOK_AGAIN_SECONDS
    return timedelta(seconds=min(longest, max(shortest, rate.per_seconds)))
