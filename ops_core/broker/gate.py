"""The rules by which a consumer takes tickets: one at a time, only with a place for it, and none hoarded when full."""

from __future__ import annotations

import time
from abc import abstractmethod
from collections.abc import Callable

from dramatiq.broker import Consumer, MessageProxy

from ops_core.broker.tickets import TicketMessage
from ops_core.ports import TicketGate

#: How long a full process keeps the tickets it has before it gives them back: a slot may be free in a moment.
FULL_LINGER_SECONDS = 0.1


class OpenGate:
    """Lets every ticket in; for processes that run no agents, and for tests."""

    def take_up_to(self, wanted: int) -> int:
        return wanted

    def free(self) -> int:
        return 2**15

    def on_room(self, wake: Callable[[], None]) -> Callable[[], None]:
        return lambda: None


class GatedConsumer(Consumer):
    """Holds at most one ticket that has no place yet. What it yields has entered the gate.

    Lives in one consumer thread; `ack` and `nack` may be called from any. `nack` gives a ticket back to its queue.
    """

    def __init__(self, gate: TicketGate, *, timeout_seconds: float) -> None:
        self._gate = gate
        self._timeout = timeout_seconds
        self._waiting: TicketMessage | None = None
        self._full_since: float | None = None
        self._stopped = False

    def __next__(self) -> MessageProxy | None:
        if self._stopped and not self._resume_if_free():
            return None
        if self._waiting is None:
            self._waiting = self._receive(self._timeout)
            if self._waiting is None:
                self._full_since = None
                return None
        if places := self._gate.take_up_to(self._waiting.tasks):
            message, self._waiting, self._full_since = self._waiting, None, None
            message.places = places
            return message
        self._wait_while_full()
        return None

    def _resume_if_free(self) -> bool:
        if self._gate.free() == 0:
            self._idle(self._timeout)
            return False
        self._resume()
        self._stopped, self._full_since = False, None
        return True

    def _wait_while_full(self) -> None:
        now = time.monotonic()
        if self._full_since is None:
            self._full_since = now
        left = self._full_since + FULL_LINGER_SECONDS - now
        if left > 0:
            self._idle(left)
            return
        self._stopped = True
        self._stop()

    @abstractmethod
    def _receive(self, timeout_seconds: float) -> TicketMessage | None:
        """The next ticket, or None when the time is over; what is no ticket is dropped."""

    @abstractmethod
    def _idle(self, timeout_seconds: float) -> None:
        """Keep the connection alive; return early when the gate opens."""

    @abstractmethod
    def _stop(self) -> None:
        """Take no more tickets, and give back all that no place was kept for (`_waiting` too)."""

    @abstractmethod
    def _resume(self) -> None:
        """Take tickets again."""
