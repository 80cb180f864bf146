"""What follows from a change of a task, in the same transaction: waits end, parents wake, children stop, keys free."""

from __future__ import annotations

from collections.abc import Sequence

from ops_core.storage import children, keys, ranks, waits
from ops_core.storage.settlement import Settlement
from ops_core.storage.writes import Change


async def follow(settlement: Settlement) -> None:
    """Follow every change so far to its end; all tasks that this takes are locked then."""
    while changes := settlement.unfollowed():
        await waits.follow(settlement, changes)
        for change in changes:
            await children.follow(settlement, change)


async def written(settlement: Settlement) -> Sequence[Change]:
    """Follow every change to its end, then write all tasks that have changed, each once."""
    await follow(settlement)
    await ranks.rank_due(settlement)
    # Last, and for all at once: nothing follows from who is let in, and keys are locked after all tasks.
    await keys.settle(settlement, arriving=settlement.arrived)
    changes = settlement.changes
    if changes:
        await settlement.tx.apply_if_unchanged(changes)
    return changes
