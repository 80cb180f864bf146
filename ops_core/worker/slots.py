"""The places for agents in one process: counted across threads, kept for tickets before they are taken."""

from __future__ import annotations

import threading
from collections.abc import Callable


class Slots:
    """The gate through which tickets enter (ports.TicketGate). Each ticket keeps those it was let in with."""

    def __init__(self, total: int) -> None:
        if total < 1:
            raise ValueError("a worker needs at least one slot")
        self.total = total
        self._used = 0
        self._paused = False
        self._closed = False
        self._lock = threading.Lock()
        self._wakes: list[Callable[[], None]] = []

    @property
    def used(self) -> int:
        return self._used

    @property
    def paused(self) -> bool:
        return self._paused

    def free(self) -> int:
        """How many may be taken now: none while paused or closed."""
        with self._lock:
            return self._free()

    def take_up_to(self, wanted: int) -> int:
        """Take as many as are free, at most `wanted`; returns how many."""
        with self._lock:
            taken = min(wanted, self._free())
            self._used += taken
            return taken

    def release(self, count: int = 1) -> None:
        """Give slots back."""
        self._change(lambda: self._use(-count))

    def pause(self) -> None:
        """Let no ticket in until `resume`; for a worker that cannot claim."""
        self._change(lambda: setattr(self, "_paused", True))

    def resume(self) -> None:
        self._change(lambda: setattr(self, "_paused", False))

    def close(self) -> None:
        """Let no ticket in ever again."""
        self._change(lambda: setattr(self, "_closed", True))

    def on_room(self, wake: Callable[[], None]) -> Callable[[], None]:
        with self._lock:
            self._wakes.append(wake)

        def stop() -> None:
            with self._lock:
                if wake in self._wakes:
                    self._wakes.remove(wake)

        return stop

    def _free(self) -> int:
        return 0 if self._paused or self._closed else self.total - self._used

    def _use(self, count: int) -> None:
        if not 0 <= self._used + count <= self.total:
            raise AssertionError(f"{self._used} slots used, {count} more: the accounts of slots are wrong")
        self._used += count

    def _change(self, change: Callable[[], None]) -> None:
        with self._lock:
            before = self._free()
            change()
            wakes = list(self._wakes) if before == 0 and self._free() > 0 else []
        for wake in wakes:
            wake()
