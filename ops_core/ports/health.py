"""Whether the store is well."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class StoreHealth:
    """What a probe of the database found."""

    reachable: bool
    #: True when the schema is the one this version wants.
    migrated: bool
    detail: str


class HealthProbe(Protocol):
    async def store_health(self) -> StoreHealth: ...
