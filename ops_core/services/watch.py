"""Waking whoever waits for news of a task: at a nudge, and every second in case a nudge was lost."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from uuid import UUID

from ops_core.domain.text import TextDelta
from ops_core.ports import Nudge, NudgeBus, NudgeKind

#: Nudges are lossy, so a waiting reader looks this often in any case.
FALLBACK_SECONDS = 1.0
#: What a process wants to be told of in which somebody may watch tasks.
HEARS = (NudgeKind.event, NudgeKind.text)
#: Pieces of text kept for one reader.
_MAX_TEXTS = 1_000


class Bell:
    """Rings once for any number of nudges since it was last waited for. For those who want it, it keeps the text that
    was told meanwhile; what is too much is dropped, and looks to its reader as if it had been lost on the way."""

    def __init__(self) -> None:
        self.wants_text = False
        self._awake = asyncio.Event()
        self._has_news = False
        self._texts: deque[TextDelta] = deque(maxlen=_MAX_TEXTS)

    def ring(self) -> None:
        self._has_news = True
        self._awake.set()

    def tell(self, delta: TextDelta) -> None:
        if self.wants_text:
            self._texts.append(delta)
            self._awake.set()

    def take_news(self) -> bool:
        """Whether it has rung since this was last asked."""
        had, self._has_news = self._has_news, False
        return had

    def take_texts(self) -> Sequence[TextDelta]:
        """What was told since this was last asked."""
        texts = list(self._texts)
        self._texts.clear()
        return texts

    async def wait(self, seconds: float) -> bool:
        """Return at a nudge or a text, or when the time is over: then False."""
        try:
            async with asyncio.timeout(seconds):
                await self._awake.wait()
        except TimeoutError:
            return False
        finally:
            self._awake.clear()
        return True


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
            self._unsubscribe = self._nudges.subscribe(self._hear, HEARS)
        self._bells.setdefault(task_id, set()).add(bell)
        try:
            yield bell
        finally:
            self._drop(task_id, bell)

    def _hear(self, nudge: Nudge) -> None:
        for bell in self._bells.get(nudge.task_id, ()):
            if nudge.delta is None:
                bell.ring()
            else:
                bell.tell(nudge.delta)

    def _drop(self, task_id: UUID, bell: Bell) -> None:
        bells = self._bells[task_id]
        bells.discard(bell)
        if not bells:
            del self._bells[task_id]
        if not self._bells and self._unsubscribe is not None:
            self._unsubscribe()
            self._unsubscribe = None
