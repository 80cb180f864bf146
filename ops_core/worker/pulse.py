"""The pulse of a process: bytes in a pipe, by which whoever started it sees that it goes on."""

from __future__ import annotations

import contextlib
import os
import threading
import time

from ops_core.worker.stall_watch import StallWatch

#: Between two pulses.
PULSE_SECONDS = 0.25
_READ_BYTES = 65_536


class PulseWatch:
    """The watcher's end. `given` is the file descriptor for the process that is watched; call `hand_over` once it has
    inherited it."""

    def __init__(self, stall_seconds: float, check_seconds: float) -> None:
        self._taken, self.given = os.pipe()
        # Neither end may hang because the other one stands still.
        for fd in (self._taken, self.given):
            os.set_blocking(fd, False)
        self._stall = StallWatch(stall_seconds, check_seconds)
        self._pulses = 0
        self._handed_over = False

    @property
    def has_begun(self) -> bool:
        """Whether there was any pulse yet."""
        return self._pulses > 0

    def hand_over(self) -> None:
        """Keep the watcher's end only."""
        if not self._handed_over:
            os.close(self.given)
        self._handed_over = True

    def close(self) -> None:
        self.hand_over()
        os.close(self._taken)

    def is_stopped(self, now: float) -> bool:
        """Whether no pulse came for longer than `stall_seconds`. To be asked every `check_seconds`."""
        with contextlib.suppress(BlockingIOError):
            self._pulses += len(os.read(self._taken, _READ_BYTES))
        return self._stall.is_stalled(now, self._pulses)


def give_pulse(fd: int) -> None:
    """One; nobody may be there to see it."""
    with contextlib.suppress(OSError):
        os.write(fd, b".")


def keep_giving_pulses(fd: int) -> None:
    """From a thread, for as long as this process runs and its interpreter lets threads take turns."""
    # What a tool starts must not give them in our name.
    os.set_inheritable(fd, False)
    threading.Thread(target=_give_pulses, args=(fd,), name="pulse", daemon=True).start()


def _give_pulses(fd: int) -> None:
    while True:
        give_pulse(fd)
        time.sleep(PULSE_SECONDS)
