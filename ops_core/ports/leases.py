"""How a worker keeps its leases."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from ops_core.ports.runs import Lease


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerInfo:
    """What a worker process says of itself with each heartbeat."""

    worker_id: str
    hostname: str
    pid: int
    version: str
    queues: tuple[str, ...]
    slots: int
    busy: int
    draining: bool


@dataclass(frozen=True, slots=True)
class Renewal:
    """What one heartbeat found."""

    #: Still ours, and renewed.
    kept: frozenset[Lease]
    #: Of those, the tasks for which a cancel has been requested.
    cancel: frozenset[Lease]


class LeaseStore(Protocol):
    """Heartbeats. Synchronous, on a connection of its own, because it runs in its own thread."""

    def renew(self, held: Sequence[Lease], *, worker: WorkerInfo, lease_seconds: float) -> Renewal:
        """Renew exactly the leases named, by the database's clock.

        Raises:
            StoreUnavailable: nothing is known of the leases.
        """

    def forget(self, worker_id: str) -> None:
        """The worker is gone for good: take it off the list of workers."""

    def close(self) -> None: ...
