"""Where signals are kept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol
from uuid import UUID

from ops_core.domain.signal import NewSignal, Signal
from ops_core.ports.doorbell import Ring


@dataclass(frozen=True, slots=True)
class Sent:
    """What became of a signal."""

    signal: Signal
    #: True when its idempotency key was known: nothing was added.
    replayed: bool
    rings: Sequence[Ring] = ()


class SignalStore(Protocol):
    """Signals to tasks."""

    async def send_signal(self, namespace: str, task_id: UUID, new: NewSignal, *, max_kept: int) -> Sent:
        """Give it to the step that waits for its name, longest first, and wake the task; or keep it until one does.

        Raises:
            TaskNotFound. TaskFinished. TooManySignals: `max_kept` are kept already. IdempotencyKeyReused: for another
            signal to this task.
        """

    async def list_signals(
        self, namespace: str, task_id: UUID, *, limit: int, after: tuple[datetime, UUID] | None = None
    ) -> Sequence[Signal]:
        """In the order of sending. `after` is the place (when sent, id) where the page before ended; one that is sent
        meanwhile comes behind it."""
