"""The ids that begin with the same digits, as a range: what an index can find."""

from __future__ import annotations

from uuid import UUID


def ids_beginning(digits: str) -> tuple[UUID, UUID]:
    """The first and the last id that there could be."""
    kept = digits.lower()[:32]
    return UUID(kept.ljust(32, "0")), UUID(kept.ljust(32, "f"))
