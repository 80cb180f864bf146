"""Child tasks: added by the suspend of their parent, stopped with it, and its wake-up when they end."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from sqlalchemy import select

from ops_core.domain.task import LIVE, JsonObject, NewTask, Parent
from ops_core.domain.wait import ChildWait
from ops_core.errors import InvalidInput
from ops_core.storage import settle, waits
from ops_core.storage.admission import insert_blocked
from ops_core.storage.json_text import load_json
from ops_core.storage.long_json import stored_in
from ops_core.storage.schema import tasks
from ops_core.storage.settlement import Settlement
from ops_core.storage.submissions import ring_of_added, task_insert
from ops_core.storage.writes import Change, HeldTask


async def start(settlement: Settlement, parent: HeldTask, wanted: Sequence[ChildWait]) -> None:
    """Add the children that a held task waits for, and count them; one that this round of it has added before is
    left as it is.

    Raises:
        InvalidInput: a value of a child cannot be stored.
    """
    known = await _known(settlement, parent, [wait.key for wait in wanted])
    new = [_child(parent, wait) for wait in wanted if wait.key not in known]
    if not new:
        return
    tx = settlement.tx
    # In the order of their ids, as everybody locks.
    inserts = [
        task_insert(child, await stored_in(tx, child.namespace, child.input))
        for child in sorted(new, key=lambda child: child.id)
    ]
    inserted, asking = await insert_blocked(tx, inserts)
    await settlement.arrive(asking)
    added = {row.id: row for row in inserted}
    for child in new:
        if child.id not in added:
            raise InvalidInput(f"the child task {child.id} was not added: another task has its id or idempotency key")
        # One that asks its keys is rung for when they let it in.
        if child.id not in asking and (ring := ring_of_added(child, added[child.id])) is not None:
            settlement.ring(ring)
    after = replace(parent, pending_children=parent.pending_children + len(new))
    settlement.change(Change(parent, after, settlement.now, ()))


async def follow(settlement: Settlement, change: Change) -> None:
    """See `consequences`: a task that ends tells its parent; one that ends or is to stop stops its children."""
    before, after = change.before, change.after
    ends = after.status.is_final and not before.status.is_final
    if ends and after.parent_id is not None:
        await _tell_parent(settlement, after)
    is_asked = after.cancel_requested_at is not None and before.cancel_requested_at is None
    if (ends or is_asked) and before.pending_children:
        await _stop_children(settlement, after)


async def _known(settlement: Settlement, parent: HeldTask, keys: Sequence[str]) -> set[str]:
    column = tasks.c
    of_parent = (column.parent_id == parent.id, column.parent_round == parent.round)
    known = select(column.parent_step_key).where(*of_parent, column.parent_step_key.in_(keys))
    return {row["parent_step_key"] for row in await settlement.tx.run(known)} if keys else set()


def _child(parent: HeldTask, wait: ChildWait) -> NewTask:
    origin = Parent(task_id=parent.id, round=parent.round, step_key=wait.key)
    return replace(wait.child, namespace=parent.namespace, parent=origin)


async def _tell_parent(settlement: Settlement, child: HeldTask) -> None:
    """Answer the wait, once: a child that a person reopens ends a second time for nobody, and so does one of an
    earlier round. The last child to end wakes its parent; counted on the parent's row, since of two that end at once
    each would still see the other run."""
    if child.parent_id is None or child.parent_step_key is None:
        return
    await settlement.lock([child.parent_id])
    parent = settlement.held(child.parent_id)
    if parent is None or parent.status.is_final or parent.round != child.parent_round:
        return
    if not await waits.answered(settlement, parent.id, child.parent_step_key, _answer(child)):
        return
    parent = _must_hold(settlement, parent)
    after = replace(parent, pending_children=parent.pending_children - 1)
    settlement.change(Change(parent, after, settlement.now, ()))
    if after.pending_children == 0:
        waits.wake(settlement, parent.id, child.parent_step_key)


def _answer(child: HeldTask) -> JsonObject:
    # The result stays where it is: it may be long, and the child's row outlives the wait.
    error = load_json(child.error) if child.error is not None else None
    return {"task_id": str(child.id), "status": str(child.status), "error": error}


async def _stop_children(settlement: Settlement, parent: HeldTask) -> None:
    """Cancel what still runs for this round of the parent. A child that a person has reopened is on its own."""
    column = tasks.c
    of_round = (column.parent_id == parent.id, column.parent_round == parent.round, column.round == 1)
    live = select(column.id).where(*of_round, column.status.in_(sorted(LIVE))).order_by(column.id)
    ids = [row["id"] for row in await settlement.tx.run(live)]
    await settlement.lock(ids)
    for id in ids:
        child = settlement.held(id)
        # It may have ended while its lock was waited for, or in this transaction.
        if child is not None and not child.status.is_final and child.round == 1:
            change = settle.canceled_by(child, "parent", settlement.now)
            if change is not None:
                settlement.change(change)


def _must_hold(settlement: Settlement, task: HeldTask) -> HeldTask:
    held = settlement.held(task.id)
    if held is None:
        raise AssertionError("what is held stays held")
    return held
