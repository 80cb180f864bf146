"""New tasks, each inserted in its place among those of its keys."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from uuid import UUID

from ops_core.domain.task import NewTask, TaskStatus
from ops_core.storage import keys
from ops_core.storage.ranks import ranked
from ops_core.storage.settlement import Settlement
from ops_core.storage.writes import Inserted, TaskInsert, Transaction


def is_keyed(new: NewTask) -> bool:
    """Whether it wants a place, a start or a rank: then it is inserted in a transaction with its keys."""
    return _is_gated(new) or new.fairness_key is not None


async def insert_tasks(tx: Transaction, items: Sequence[TaskInsert]) -> Sequence[Inserted]:
    """The tasks whose id and idempotency key are new, with their first event; the others are passed over, and take
    neither place nor start. Those that their keys do not let in are blocked."""
    inserted, asking = await insert_blocked(tx, items)
    if not asking:
        return inserted
    settlement = Settlement(tx, await tx.lock(asking))
    await keys.settle(settlement, arriving=[task for id in asking if (task := settlement.held(id)) is not None])
    if settlement.changes:
        await tx.apply_if_unchanged(settlement.changes)
    left = {id for id in asking if (task := settlement.held(id)) is not None and task.blocked}
    return [replace(row, blocked=row.id in left) for row in inserted]


async def insert_blocked(tx: Transaction, items: Sequence[TaskInsert]) -> tuple[Sequence[Inserted], Sequence[UUID]]:
    """The same, but all that want a place or a start now are blocked: these have still to ask for it."""
    if not any(is_keyed(item.new) for item in items):
        return await tx.insert_tasks_unless_known(items), ()
    fresh = await _unknown(tx, items)
    if not fresh:
        return [], ()
    # All are blocked at first: how many there really are is known when they are in.
    blocked = [replace(item, place=replace(item.place, blocked=_is_gated(item.new))) for item in fresh]
    inserted = await tx.insert_tasks_unless_known(await ranked(tx, blocked, await tx.now()))
    gated = {item.new.id for item in fresh if _is_gated(item.new)}
    return inserted, [row.id for row in inserted if row.id in gated and row.status is TaskStatus.queued]


async def _unknown(tx: Transaction, items: Sequence[TaskInsert]) -> list[TaskInsert]:
    known = await tx.find_known(items)
    ids, submitted = {task.id for task in known}, {(task.namespace, task.idempotency_key) for task in known}
    return [
        item
        for item in items
        if item.new.id not in ids
        and (item.new.idempotency_key is None or (item.new.namespace, item.new.idempotency_key) not in submitted)
    ]


def _is_gated(new: NewTask) -> bool:
    return new.rate is not None or (new.concurrency_key is not None and new.concurrency_limit is not None)
