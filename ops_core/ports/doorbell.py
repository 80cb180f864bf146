"""How workers learn that there is something to claim."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol
from uuid import UUID


@dataclass(frozen=True, slots=True)
class Ring:
    """The doorbell is to be rung: a queue has `count` more claimable tasks. Carries no payload."""

    queue: str
    count: int = 1
    #: A hint for logs; whoever claims takes the best task, not this one.
    task_id: UUID | None = None
    #: W3C trace context of whoever made the task claimable.
    traceparent: str | None = None


class Doorbell(Protocol):
    """Carries tickets to workers."""

    async def ring(self, rings: Sequence[Ring]) -> None:
        """Returns when the broker has the tickets safe. Doubling is harmless.

        Raises:
            BrokerUnavailable: some or all were not rung; ring again later.
        """

    async def ready(self, queue: str) -> int:
        """How many tasks the tickets ready in this queue can stand for, at most: each counts as a full one.

        Too high an estimate only waits until the tickets are used up; too low a one would ring for a backlog that
        has its tickets.

        Raises:
            BrokerUnavailable
        """


class TicketGate(Protocol):
    """Says whether this process may take one more ticket off a queue. Called from the broker's consumer threads."""

    def take_up_to(self, wanted: int) -> int:
        """Keep as many places as are left, at most `wanted`, for the ticket taken next; 0 when there is none."""

    def free(self) -> int:
        """How many places are left now."""

    def on_room(self, wake: Callable[[], None]) -> Callable[[], None]:
        """Call `wake` (from any thread) whenever the gate opens after it was shut; returns what ends it."""
