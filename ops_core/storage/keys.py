"""Keys that bound what runs: who has a place of its concurrency key and a start of its rate is let in.

A task holds its place while it is let in or runs. One that becomes queued is *blocked* until both of its keys let it
in; whoever frees a place lets the best blocked task in, in the same transaction.

Tasks are locked before keys, keys in the order of their names, those of concurrency before those of rates. Whoever
holds a key waits for nothing that comes before it: a blocked task or a rate of the line that somebody else holds is
passed over, and the housekeeper looks again.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from uuid import UUID

from ops_core.domain.rate import Rate
from ops_core.domain.task import TaskStatus
from ops_core.storage import key_rows, ranks
from ops_core.storage.key_rows import Name, PlacesRow, RateRow
from ops_core.storage.settlement import Settlement
from ops_core.storage.writes import Change, Held, HeldTask, Transaction

#: When blocked tasks of a rate are looked at again that the rate alone does not hold back.
_LOOK_AGAIN_SECONDS = (0.05, 1.0)

#: When a line is looked at again whose best were held by others: these are transactions of a few statements.
_HELD_BY_OTHERS = timedelta(seconds=0.05)


async def settle(
    settlement: Settlement,
    *,
    arriving: Sequence[HeldTask] = (),
    due: Sequence[HeldTask] = (),
    rate: Name | None = None,
    place: Name | None = None,
) -> None:
    """Give back the places of tasks that have stopped, and let in whom that makes room for.

    `arriving` are blocked tasks that have just been added; `due` those of `rate` whose turn it may be by now. A place
    of `place` may have been left.
    """
    for change in settlement.changes:
        if _is_keyed(change.after):
            _held_or_blocked(settlement, change)
    # One that stays blocked is not looked at: who frees a place while it is held here has the housekeeper look again.
    newcomers = [*arriving, *(c.after for c in settlement.changes if is_blocked(c.after) and not is_blocked(c.before))]
    freed = _freed(settlement)
    if newcomers or due or freed or rate is not None or place is not None:
        await _Gate(settlement, rate=rate, place=place).open(newcomers, due, freed)


async def let_in_by_rate(tx: Transaction, name: Name) -> Sequence[Change]:
    """Let in the tasks of a rate that it allows by now."""
    now = await tx.now()
    ids = await _next_of_rate(tx, name, now)
    # Here the keys come first, and no task is waited for.
    await key_rows.lock_places(tx, await key_rows.places_of(tx, ids), now)
    await key_rows.lock_rates(tx, {name}, now)
    tasks = (await tx.lock_free(ids)).tasks if ids else []
    settlement = Settlement(tx, Held(tasks, now))
    await settle(settlement, due=[task for task in tasks if is_blocked(task)], rate=name)
    if settlement.changes:
        await tx.apply_if_unchanged(settlement.changes)
    return settlement.changes


async def let_in_by_place(tx: Transaction, name: Name) -> Sequence[Change]:
    """Let in tasks of a concurrency key that were held by somebody when a place was free."""
    settlement = Settlement(tx, Held([], await tx.now()))
    await settle(settlement, place=name)
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

    def __init__(self, settlement: Settlement, *, rate: Name | None, place: Name | None) -> None:
        self._settlement = settlement
        self._tx = settlement.tx
        self._now = settlement.now
        #: The rate, and the concurrency key, that are being looked at because it is time to.
        self._due_rate, self._due_place = rate, place
        self._places: dict[Name, PlacesRow] = {}
        self._rates: dict[Name, RateRow] = {}
        self._rates_before: dict[Name, RateRow] = {}
        #: Let in and not yet claimed, by rate and bound of the count; and those of this transaction.
        self._unclaimed: dict[tuple[Name, int], int] = {}
        self._started: dict[Name, int] = {}
        #: By queue: the lowest rank that can be claimed.
        self._lowest_ranks: dict[str, int | None] = {}
        #: Rates that let nobody more in: the rest of their line is not looked at.
        self._closed: set[Name] = set()
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
        before = await key_rows.lock_places(self._tx, places | _names(self._due_place), self._now)
        self._rates_before = await key_rows.lock_rates(self._tx, starts | _names(self._due_rate), self._now)
        self._places, self._rates = dict(before), dict(self._rates_before)
        for name, count in freed.items():
            # A row that was lost must not keep its tasks from ending.
            self._places[name] = replace(before[name], held=max(0, before[name].held - count))
        if self._due_place is not None:
            self._places[self._due_place] = replace(self._places[self._due_place], release_at=None)
        if self._due_rate is not None:
            self._rates[self._due_rate] = replace(self._rates[self._due_rate], release_at=None)
        await self._let_in_best([*tasks.values()], freed)
        if self._due_rate is not None:
            await self._look_again_at(self._due_rate)
        for name, places_row in self._places.items():
            if places_row != before[name]:
                await key_rows.write_places(self._tx, name, places_row)
        for name, row in self._rates.items():
            if row != self._rates_before[name]:
                await key_rows.write_rate(self._tx, name, row)

    async def _let_in_best(self, tasks: Sequence[HeldTask], freed: Mapping[Name, int]) -> None:
        """Those who ask and those who have waited for the freed places, together; then the line, until nobody fits."""
        limits = {name: freed.get(name, 1) for name in sorted(freed.keys() | _names(self._due_place))}
        lines = [await self._next_in_line(name, limit) for name, limit in limits.items()]
        await self._let_in([*tasks, *(task for free, _ in lines for task in free)])
        for (name, limit), (free, is_more) in zip(limits.items(), lines, strict=True):
            while is_more:
                free, is_more = await self._next_in_line(name, limit)
                await self._let_in(free)

    async def _next_in_line(self, name: Name, limit: int) -> tuple[list[HeldTask], bool]:
        """The best tasks that could have a place, without those that somebody else has locked; and whether there may
        be more."""
        ids = await key_rows.blocked_by_concurrency(
            self._tx,
            name,
            held=self._places[name].held,
            now=self._now,
            passed_over=self._passed,
            closed_rates=[key for namespace, key in self._closed if namespace == name[0]],
            limit=limit,
        )
        self._line.update(ids)
        self._passed.update(ids)
        await self._settlement.lock_free(ids)
        free = [task for id in ids if (task := self._settlement.held(id)) is not None]
        if len(free) < len(ids):
            # Whoever holds the others may be about to leave them as they are, and a place may be left for them.
            self._look_again_at_place(name)
        return free, bool(ids)

    async def _let_in(self, tasks: Iterable[HeldTask]) -> None:
        for task in sorted(filter(is_blocked, tasks), key=_best_first):
            if await self._is_free_for(task):
                await self._take(task)

    async def _is_free_for(self, task: HeldTask) -> bool:
        place, start = _place(task), _start(task)
        is_full = place is not None and self._places[place].held >= (task.concurrency_limit or 0)
        if start is None:
            return not is_full
        row = self._rates.get(start) or await self._rate_in_line(start)
        if row is None:
            return False
        if task.id not in self._line and row.release_at is not None:
            return False
        rate = _rate(task)
        if not rate.allows(row.next_at, self._now):
            self._closed.add(start)
            self._look_again(start, rate.earliest(row.next_at))
            return False
        if is_full:
            self._look_again(start, self._now + _look_again_after(rate))
            return False
        if await self._count_unclaimed(start, rate.limit) >= rate.limit:
            self._closed.add(start)
            self._look_again(start, self._now + _look_again_after(rate))
            return False
        return True

    async def _take(self, task: HeldTask) -> None:
        place, start = _place(task), _start(task)
        if place is not None:
            self._places[place] = replace(self._places[place], held=self._places[place].held + 1)
        if start is not None:
            row = self._rates[start]
            self._rates[start] = replace(row, next_at=_rate(task).after_start(row.next_at, self._now))
            self._started[start] = self._started.get(start, 0) + 1
        rank = await self._rank_now(task)
        after = replace(task, blocked=False, holds_key=place is not None, rung_at=self._now, rank=rank)
        self._settlement.change(Change(task, after, self._now, ()))

    async def _rank_now(self, task: HeldTask) -> int:
        """See `ranks`. One that has run before, or has just been ranked, keeps what it has."""
        if not task.rank or task.attempt > 0 or task.id not in self._line:
            return task.rank
        if task.queue not in self._lowest_ranks:
            self._lowest_ranks[task.queue] = await ranks.lowest_claimable(self._tx, task.queue)
        lowest = self._lowest_ranks[task.queue]
        return task.rank if lowest is None else max(task.rank, lowest + 1)

    async def _rate_in_line(self, name: Name) -> RateRow | None:
        """The rate of a task that waits for a place. It is due, or the task would not be looked at: when somebody holds
        it, it is left to him and to the housekeeper."""
        row = await key_rows.lock_rate_if_free(self._tx, name)
        if row is None:
            self._closed.add(name)
        else:
            self._rates[name] = self._rates_before[name] = row
        return row

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

    def _look_again_at_place(self, name: Name) -> None:
        row, at = self._places[name], self._now + _HELD_BY_OTHERS
        self._places[name] = replace(row, release_at=at if row.release_at is None else min(at, row.release_at))


def _names(name: Name | None) -> set[Name]:
    return set() if name is None else {name}


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
