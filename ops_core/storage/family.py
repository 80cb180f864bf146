"""Parents of tasks that may end: locked before their children where that can be, and never waited for where not."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import select

from ops_core.storage.schema import tasks
from ops_core.storage.settlement import Settlement
from ops_core.storage.writes import HeldTask, Transaction


async def with_parents(tx: Transaction, ids: Sequence[UUID]) -> Sequence[UUID]:
    """These tasks and their parents, to be locked together: in one order by everybody, nobody waits in a circle."""
    parents = select(tasks.c.parent_id).where(tasks.c.id.in_(ids), tasks.c.parent_id.is_not(None))
    return [*{*ids, *(row["parent_id"] for row in await tx.run(parents))}]


async def tellable(settlement: Settlement, held: Sequence[HeldTask]) -> Sequence[HeldTask]:
    """Those of the held tasks whose parents are held now too. Whoever has such a parent may want the child that we
    hold, so that parent is not waited for: its child's turn comes with the next tick."""
    wanted = {task.parent_id for task in held if task.parent_id is not None}
    await settlement.lock_free(wanted)
    busy = [id for id in wanted if settlement.held(id) is None]
    if busy:
        # One that is pruned is told nothing, and stops nobody.
        busy = [row["id"] for row in await settlement.tx.run(select(tasks.c.id).where(tasks.c.id.in_(busy)))]
    return [task for task in held if task.parent_id not in busy]
