"""What must happen although nobody asks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from ops_core.ports.doorbell import Ring


@dataclass(frozen=True, slots=True)
class QueueBacklog:
    """What is claimable in a queue."""

    queue: str
    #: Counted up to a bound; at the bound it means "at least".
    claimable: int
    #: Age of the oldest ring among them, in seconds, by the database's clock.
    oldest_ring_seconds: float


class HousekeepingStore(Protocol):
    """Changes that no request and no worker makes. Safe to run in many processes at once."""

    async def release_due(self, *, limit: int) -> Sequence[Ring]:
        """Queue scheduled tasks whose time has come; answer the waits whose time is over, and wake their tasks; let
        tasks in whose rate allows it by now."""

    async def seconds_until_due(self) -> float | None:
        """How long until there is something to release, by the database's clock; None when nothing has a time."""

    async def take_back_expired(self, *, limit: int, max_crashes: int) -> Sequence[Ring]:
        """Queue running tasks whose lease is over (canceled, if that was requested; failed, after `max_crashes`)."""

    async def fail_overdue(self, *, limit: int) -> tuple[int, Sequence[Ring]]:
        """Fail scheduled, queued and waiting tasks that are past their deadline, and queued ones that no worker has
        claimed in time. Running ones are their worker's. How many, and what is to be rung for all that followed."""

    async def forget_silent_workers(self, *, silent_seconds: float) -> int:
        """Take workers off the list that were not heard of for so long; one that comes back is put on it again."""

    async def forget_left_text(self, *, limit: int) -> int:
        """Delete the saved text of tasks that do not run: their workers died. How many steps' it was."""

    async def backlogs(self) -> Sequence[QueueBacklog]: ...
