"""Fair sharing of a queue: start-time fair queueing (Goyal, Vin, Cheng 1996), each task one unit of service.

A task gets a tag in the queue's virtual time when it is added, and anew when it is due: one more than the last of its
key, or than the virtual time, whichever is later. The virtual time is the lowest rank that can be claimed now; when
none can, the highest tag that was ever given. So a key with 10,000 tasks has tags far into the future, and who comes
with ten stands among its first. One that other keys held back comes after the virtual time in which they let it in: it
was not its queue that it has waited for.

Many slots serve a queue, and whoever was alone holds them all when another comes. So that the other need not take turns
from its first task on, its tags begin behind the virtual time: what others have begun counts, as in SFQ(D) (Jin, Chase,
Kaur 2004). That head start is one task for each of the queue's slots, for all newcomers together. The rank of a task is
its tag, but always after the virtual time: who came before is not kept waiting by ever new ones.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TypeAlias

from sqlalchemy import bindparam, select, text

from ops_core.domain.task import NewTask, TaskStatus
from ops_core.storage.column_types import UtcTime
from ops_core.storage.schema import workers
from ops_core.storage.settlement import Settlement
from ops_core.storage.writes import Change, HeldTask, TaskInsert, Transaction

#: Queue, namespace and key.
_Key: TypeAlias = tuple[str, str, str]

# One look into the claim's index for each priority; and one for the highest rank, where nothing can be claimed.
_LOWEST = " UNION ALL ".join(
    f"SELECT (SELECT rank FROM tasks WHERE status = 'queued' AND queue = :queue AND blocked = false "  # noqa: S608
    f"AND priority = {priority} AND rank > 0 ORDER BY rank LIMIT 1) AS rank"
    for priority in range(10)
)
_LOWEST_CLAIMABLE = text(f"SELECT min(rank) AS lowest FROM ({_LOWEST}) lowest")  # noqa: S608  numbers of ours
_VIRTUAL_TIME = text(f"""
SELECT min(rank) AS lowest,
    (SELECT last_rank FROM fairness_keys WHERE queue = :queue ORDER BY last_rank DESC LIMIT 1) AS last
FROM ({_LOWEST}) lowest
""")  # noqa: S608  numbers of ours

# Of those whose turn is the next one, up to a bound: a key has one of them by right.
_NEXT = " UNION ALL ".join(
    f"SELECT * FROM (SELECT namespace, fairness_key FROM tasks WHERE status = 'queued' AND queue = :queue "  # noqa: S608
    f"AND blocked = false AND priority = {priority} AND rank = :rank LIMIT :bound) next{priority}"
    for priority in range(10)
)
_COUNT_AHEAD = text(f"""
SELECT coalesce(sum(tasks - 1), 0) AS ahead
FROM (SELECT count(*) AS tasks FROM ({_NEXT}) next GROUP BY namespace, fairness_key) counted
""")  # noqa: S608  numbers of ours

#: A worker that was not heard of for so long has no slots.
_SILENT_SECONDS = 60.0
_WORKERS = select(workers.c.queues, workers.c.slots, workers.c.seen_at).where(workers.c.draining.is_(False))


@dataclass(slots=True)
class _Turn:
    """Where a queue stands, and how many tasks of newcomers may still go before their time."""

    virtual_time: int
    head_start: int = 0


async def ranked(tx: Transaction, items: Sequence[TaskInsert], now: datetime) -> list[TaskInsert]:
    """The same tasks in the same order; those with a fairness key with their ranks."""
    given = await _given(tx, [_key(item.new) for item in items], now)
    return [replace(item, place=replace(item.place, rank=rank)) for item, rank in zip(items, given, strict=True)]


async def rank_due(settlement: Settlement) -> None:
    """Tasks that were scheduled come into their queue when they are due: ten thousand of one night must not go before
    all that was added since they were."""
    due = [change.after for change in settlement.changes if _comes_in(change)]
    due.sort(key=lambda task: (task.rank, task.id))
    given = await _given(settlement.tx, [_key(task) for task in due], settlement.now)
    for task, rank in zip(due, given, strict=True):
        settlement.change(Change(task, replace(task, rank=rank), settlement.now, ()))


async def lowest_claimable(tx: Transaction, queue: str) -> int | None:
    """The virtual time while something can be claimed; None when nothing can that has a rank."""
    (row,) = await tx.run(_LOWEST_CLAIMABLE.bindparams(queue=queue))
    found: int | None = row["lowest"]
    return found


async def virtual_time(tx: Transaction, queue: str) -> int:
    """Where the queue stands."""
    return (await _turn(tx, queue, slots=0)).virtual_time


async def _turn(tx: Transaction, queue: str, *, slots: int) -> _Turn:
    (row,) = await tx.run(_VIRTUAL_TIME.bindparams(queue=queue))
    lowest: int | None = row["lowest"]
    if lowest is None:
        # Nobody waits: there is nobody to begin before.
        return _Turn(row["last"] or 0)
    if not slots:
        return _Turn(lowest)
    (counted,) = await tx.run(_COUNT_AHEAD.bindparams(queue=queue, rank=lowest + 1, bound=2 * slots))
    return _Turn(lowest, max(0, slots - int(counted["ahead"])))


async def _given(tx: Transaction, keys: Sequence[_Key | None], now: datetime) -> list[int]:
    """A rank for each, in their order; 0 without a key."""
    counts = Counter(key for key in keys if key is not None)
    if not counts:
        return [0] * len(keys)
    last = await _upsert(tx, dict.fromkeys(counts, 0), now, "used_at = excluded.used_at")
    slots = await _slots(tx, now)
    turns = {queue: await _turn(tx, queue, slots=slots[queue]) for queue in sorted({queue for queue, _, _ in counts})}
    taken: dict[_Key, int] = {}
    given: list[int] = []
    for key in keys:
        if key is None:
            given.append(0)
            continue
        turn = turns[key[0]]
        taken[key] = 1 + taken.get(key, max(last[key], turn.virtual_time - turn.head_start))
        if taken[key] <= turn.virtual_time:
            turn.head_start -= 1
        given.append(max(taken[key], turn.virtual_time + 1))
    await _upsert(tx, taken, now, "last_rank = excluded.last_rank")
    return given


async def _slots(tx: Transaction, now: datetime) -> Counter[str]:
    """Of each queue, in all workers that are heard of."""
    found: Counter[str] = Counter()
    heard_since = now - timedelta(seconds=_SILENT_SECONDS)
    for row in await tx.run(_WORKERS):
        for queue in row["queues"] if row["seen_at"] >= heard_since else ():
            found[queue] += row["slots"]
    return found


def _comes_in(change: Change) -> bool:
    before, after = change.before, change.after
    is_due = before.status is TaskStatus.scheduled and after.status is TaskStatus.queued
    return is_due and after.attempt == 0 and after.fairness_key is not None


def _key(task: NewTask | HeldTask) -> _Key | None:
    return (task.queue, task.namespace, task.fairness_key) if task.fairness_key is not None else None


async def _upsert(tx: Transaction, ranks: Mapping[_Key, int], now: datetime, update: str) -> dict[_Key, int]:
    """Add the rows that are not there, update the others; all are locked then, in the order of the keys."""
    ordered = sorted(ranks)
    rows = ", ".join(f"(:q{i}, :n{i}, :k{i}, :rank{i}, :now)" for i in range(len(ordered)))
    statement = text(f"""
    INSERT INTO fairness_keys (queue, namespace, fairness_key, last_rank, used_at) VALUES {rows}
    ON CONFLICT (queue, namespace, fairness_key) DO UPDATE SET {update}
    RETURNING queue, namespace, fairness_key, last_rank
    """)  # noqa: S608  names of ours
    values: dict[str, object] = {}
    for i, key in enumerate(ordered):
        values |= {f"q{i}": key[0], f"n{i}": key[1], f"k{i}": key[2], f"rank{i}": ranks[key]}
    found = await tx.run(statement.bindparams(bindparam("now", now, type_=UtcTime), **values))
    return {(row["queue"], row["namespace"], row["fairness_key"]): row["last_rank"] for row in found}
