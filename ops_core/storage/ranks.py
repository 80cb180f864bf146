"""Fair sharing of a queue: start-time fair queueing (Goyal, Vin, Cheng 1996), each task one unit of service.

The rank of a task is its start tag in the queue's virtual time, given once, when it is added: one more than the last
of its key, or than the virtual time, whichever is later. The virtual time is the lowest rank that can be claimed now;
when none can, the highest that was ever given. So a key with 10,000 tasks has ranks far into the future, and who comes
with ten stands among its first.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import TypeAlias

from sqlalchemy import bindparam, text

from ops_core.storage.column_types import UtcTime
from ops_core.storage.writes import TaskInsert, Transaction

#: Queue, namespace and key.
_Key: TypeAlias = tuple[str, str, str]

# One look into the claim's index for each priority; and one for the highest rank, where nothing can be claimed.
_LOWEST = " UNION ALL ".join(
    f"SELECT (SELECT rank FROM tasks WHERE status = 'queued' AND queue = :queue AND blocked = false "  # noqa: S608
    f"AND priority = {priority} AND rank > 0 ORDER BY rank LIMIT 1) AS rank"
    for priority in range(10)
)
_VIRTUAL_TIME = text(f"""
SELECT coalesce(min(rank), (SELECT last_rank FROM fairness_keys WHERE queue = :queue ORDER BY last_rank DESC LIMIT 1),
    0) AS virtual_time
FROM ({_LOWEST}) lowest
""")  # noqa: S608  numbers of ours


async def ranked(tx: Transaction, items: Sequence[TaskInsert], now: datetime) -> list[TaskInsert]:
    """The same tasks in the same order; those with a fairness key with their ranks."""
    counts = Counter(key for item in items if (key := _key(item)) is not None)
    if not counts:
        return list(items)
    last = await _upsert(tx, dict.fromkeys(counts, 0), now, "used_at = excluded.used_at")
    virtual = {queue: await virtual_time(tx, queue) for queue in {queue for queue, _, _ in counts}}
    taken = {key: max(virtual[key[0]], last[key]) for key in counts}
    placed: list[TaskInsert] = []
    for item in items:
        key = _key(item)
        if key is not None:
            taken[key] += 1
            item = replace(item, place=replace(item.place, rank=taken[key]))
        placed.append(item)
    await _upsert(tx, taken, now, "last_rank = excluded.last_rank")
    return placed


async def virtual_time(tx: Transaction, queue: str) -> int:
    """Where the queue stands."""
    (row,) = await tx.run(_VIRTUAL_TIME.bindparams(queue=queue))
    found: int = row["virtual_time"]
    return found


def _key(item: TaskInsert) -> _Key | None:
    new = item.new
    return (new.queue, new.namespace, new.fairness_key) if new.fairness_key is not None else None


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
