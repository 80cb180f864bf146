"""When the next task of a rate may start: the generic cell rate algorithm (GCRA, ITU-T I.371, virtual scheduling).

A key has one number, the *theoretical arrival time* of its next task: where it would stand if all had come evenly. A
task may start when it is early by no more than a burst of `limit` makes it. So `limit` start at once after a pause, and
in the long run `limit` in each `per_seconds`.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

_SHORTEST = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class Rate:
    """What a task says of its rate key."""

    limit: int
    per_seconds: float

    @property
    def interval(self) -> timedelta:
        """Between two starts, when they come evenly. Rounded down, so that a burst has all of its `limit`."""
        return max(timedelta(seconds=self.per_seconds) // self.limit, _SHORTEST)

    def earliest(self, theoretical: datetime) -> datetime:
        """The first moment at which a task may start."""
        return theoretical - (self.limit - 1) * self.interval

    def allows(self, theoretical: datetime, now: datetime) -> bool:
        return now >= self.earliest(theoretical)

    def after_start(self, theoretical: datetime, now: datetime) -> datetime:
        """The theoretical arrival time once a task has started now."""
        return max(theoretical, now) + self.interval

    def allowed(self, theoretical: datetime, now: datetime) -> int:
        """How many may start now."""
        early = now - self.earliest(theoretical)
        if early < timedelta(0):
            return 0
        return min(self.limit, early // self.interval + 1)
