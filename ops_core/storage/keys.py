"""Keys that bound what runs: places of a concurrency key, and starts of a rate."""

from __future__ import annotations

from ops_core.storage.settlement import Settlement
from ops_core.storage.writes import Change


async def follow(settlement: Settlement, change: Change) -> None:
    """See `consequences`."""
