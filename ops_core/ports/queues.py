"""Where it is known what queues have and want."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueLoad:
    """What a queue has and wants: tasks of one namespace, and the workers of all."""

    name: str
    #: Tasks that could be claimed now; counted up to a bound.
    ready: int
    running: int
    #: Processes that were heard of lately, serve the queue and do not drain.
    workers: int
    #: Of those workers, and shared with the other queues that they serve.
    slots: int
    #: Slots that were not busy when their worker was last heard of.
    free: int
    #: Age of the oldest of the ready tasks that were counted; None without one.
    oldest_ready_seconds: float | None
    #: The count of ready tasks ended at its bound: there may be more of them.
    wanted_slots_capped: bool

    @property
    def wanted_slots(self) -> int:
        """As many slots as all of its tasks could use at once."""
        return self.ready + self.running


class QueueStore(Protocol):
    """What queues have and want. `silent_seconds`: a worker that was not heard of for so long counts no more."""

    async def list_queue_names(self, namespace: str, *, silent_seconds: float) -> Collection[str]:
        """Queues in which tasks of any namespace are queued, tasks of this one run, or that a worker serves; each
        once, in no order. Of those with queued tasks, up to a bound."""

    async def load_queues(self, namespace: str, names: Sequence[str], *, silent_seconds: float) -> Sequence[QueueLoad]:
        """Of each in the order of the names. One that nobody has heard of is one with nothing in it."""
