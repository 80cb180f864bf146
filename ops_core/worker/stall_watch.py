"""Tells whether an event loop stands still, by the pulses it gives."""

from __future__ import annotations


class StallWatch:
    """Adds up how long a loop gave no pulse, by the wakings of whoever asks: of one that was stopped too and goes on,
    the clock has jumped, and nothing has stalled."""

    def __init__(self, stall_seconds: float, check_seconds: float) -> None:
        self._stall_seconds = stall_seconds
        self._longest_step = 2 * check_seconds
        self._pulses = -1
        self._silent_seconds = 0.0
        self._checked_at: float | None = None

    def is_stalled(self, now: float, pulses: int) -> bool:
        step = 0.0 if self._checked_at is None else min(now - self._checked_at, self._longest_step)
        self._checked_at = now
        if pulses != self._pulses:
            self._pulses, self._silent_seconds = pulses, 0.0
        else:
            self._silent_seconds += step
        return self._silent_seconds > self._stall_seconds
