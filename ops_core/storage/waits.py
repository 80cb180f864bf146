"""What a suspended task waits for: begun with the suspend, ended with the answer."""

from __future__ import annotations

from ops_core.storage.settlement import Settlement
from ops_core.storage.writes import Change


async def follow(settlement: Settlement, change: Change) -> None:
    """See `consequences`."""
