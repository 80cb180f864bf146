"""Waking whoever waits for news of a task: at a nudge, and every second in case a nudge was lost."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from uuid import UUID

from ops_core.ports import Nudge, NudgeBus

#: Nudges are lossy, so a waiting reader looks this often in any case.
FALLBACK_SECONDS = 1.0


class Bell:
    """Rings once for any number of nudges since it was last waited for."""

    def __init__(self) -> None:
        self._rung = asyncio.Event()

    def ring(self) -> None:
        self._rung.set()

    async def wait(self, seconds: float) -> None:
        """Return at a nudge, or when the time is over."""
        try:
            async with asyncio.timeout(seconds):
                await self._rung.wait()
        except TimeoutError:
            pass
        self._rung.clear()


class TaskWatch:
    """Hands each nudge to those who wait for its task. Listens to the bus only while somebody waits."""

    def __init__(self, nudges: NudgeBus) -> None:
        self._nudges = nudges
        self._bells: dict[UUID, set[Bell]] = {}
        self._unsubscribe: Callable[[], None] | None = None

    @contextmanager
    def listen(self, task_id: UUID) -> Iterator[Bell]:
        """A bell for the task's news, from before this returns until the block is left."""
        bell = Bell()
        if self._unsubscribe is None:
            self._unsubscribe = self._nudges.subscribe(self._hear)
        self._bells.setdefault(task_id, set()).add(bell)
        try:
            yield bell
        finally:
            self._drop(task_id, bell)

    def _hear(self, nudge: Nudge) -> None:
        for bell in self._bells.get(nudge.task_id, ()):
            bell.ring()

    def _drop(self, task_id: UUID, bell: Bell) -> None:
        bells = self._bells[task_id]
        bells.discard(bell)
        if not bells:
            del self._bells[task_id]
        if not self._bells and self._unsubscribe is not None:
            self._unsubscribe()
            self._unsubscribe = None
