"""Child tasks: added by the suspend of their parent, canceled with it, and its wake-up when they end."""

from __future__ import annotations

from ops_core.storage.settlement import Settlement
from ops_core.storage.writes import Change


async def follow(settlement: Settlement, change: Change) -> None:
    """See `consequences`."""
