"""Sleep until something is due: a timer fires on time, and nobody looks meanwhile."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable
from typing import Protocol

from ops_core.errors import Unavailable
from ops_core.ports import Nudge, NudgeBus, NudgeKind

#: What a process wants to be told of that looks for what is due.
HEARS = (NudgeKind.due,)
#: Two looks are never closer, however many nudges come.
_SHORTEST_SECONDS = 0.02
#: Waking a little early would find nothing.
_LATE_SECONDS = 0.001


class SupportsDue(Protocol):
    """What has something to do at a time."""

    async def seconds_until_due(self) -> float | None:
        """How long until then, by the database's clock; None when there is no such time.

        Raises:
            Unavailable.
        """


class DueAlarm:
    """Sleeps for one loop until it has something due; a nudge that something is due sooner cuts it short."""

    def __init__(
        self,
        asked: SupportsDue,
        nudges: NudgeBus | None = None,
        *,
        timeout_seconds: float = 5.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._asked = asked
        self._timeout_seconds = timeout_seconds
        self._clock = clock
        self._nudged = asyncio.Event()
        #: The soonest that nudges have told of since the last sleep began.
        self._told_at = math.inf
        #: Sleeps in a row that ended with something due and nobody able to release it: others hold it.
        self._in_vain = 0
        self._end = nudges.subscribe(self._hear, HEARS) if nudges is not None else None

    def close(self) -> None:
        """Hear no more nudges."""
        if self._end is not None:
            self._end()
            self._end = None

    async def sleep(self, at_most_seconds: float, *, found: int) -> None:
        """Until something is due, or so long; `found` is how much the look before has released."""
        began = self._clock()
        self._told_at = math.inf
        self._nudged.clear()
        due_at = began + await self._seconds_until_due(at_most_seconds, found)
        while True:
            wake_at = max(began + _SHORTEST_SECONDS, min(due_at, self._told_at, began + at_most_seconds))
            if (pause := wake_at - self._clock()) <= 0:
                return
            try:
                async with asyncio.timeout(pause):
                    await self._nudged.wait()
            except TimeoutError:
                return
            self._nudged.clear()

    async def _seconds_until_due(self, at_most_seconds: float, found: int) -> float:
        try:
            async with asyncio.timeout(self._timeout_seconds):
                seconds = await self._asked.seconds_until_due()
        except (Unavailable, TimeoutError):
            return at_most_seconds
        if seconds is None:
            return at_most_seconds
        if seconds > 0:
            self._in_vain = 0
            return seconds + _LATE_SECONDS
        # Due and not released: somebody else is at it, or holds it. Looking again and again would not help him.
        self._in_vain = 0 if found else self._in_vain + 1
        return _SHORTEST_SECONDS * 2.0 ** min(self._in_vain, 20)

    def _hear(self, nudge: Nudge) -> None:
        if nudge.kind is NudgeKind.due:
            at = self._clock() + nudge.seq / 1000 + _LATE_SECONDS
            if at < self._told_at:
                self._told_at = at
                self._nudged.set()
