"""The live text of one task for one reader: from its bell, and from the store where the bell did not tell all."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator

from ops_core.domain.event import Event, EventType, StepPhase
from ops_core.domain.task import Task, TaskStatus
from ops_core.domain.text import LiveText, TextDelta
from ops_core.ports import TaskStore
from ops_core.services.watch import FALLBACK_SECONDS, Bell

#: After this time the text that is missing before a piece has most likely been saved.
_FIRST_PAUSE_SECONDS = 0.1


class TextWatch:
    """What a reader of the task has seen of its text. Asks the store only of tasks that stream."""

    def __init__(self, bell: Bell, tasks: TaskStore) -> None:
        self._bell = bell
        self._tasks = tasks
        self._live = LiveText()
        #: Something may be in the store that the bell has not told.
        self._behind = True
        #: How long to wait before the store is read again for what is missing.
        self._pause_seconds = _FIRST_PAUSE_SECONDS

    def see(self, event: Event) -> None:
        """The reader has been given the event."""
        if event.type is EventType.task_reopened:
            self._live.begin_anew()
        elif event.phase is StepPhase.result and event.step_key is not None:
            self._live.finish(event.step_key)

    async def until_news(self, task: Task) -> AsyncGenerator[TextDelta, None]:
        """The text as it grows, until the log may have grown too."""
        if not task.stream:
            await self._bell.wait()
            self._bell.take_news()
            return
        # From now on nothing is missed; what came before is in the store.
        self._bell.lacks = self._live.lacks
        if self._behind and task.status is TaskStatus.running:
            for delta in self._live.add(await self._tasks.list_text(task.id, epoch=task.epoch)):
                yield delta
            self._behind = False
        async for delta in self._told():
            yield delta

    async def _told(self) -> AsyncGenerator[TextDelta, None]:
        """What the bell tells; ends when it rings for something else, or when something is missing."""
        gap_since: float | None = None
        while True:
            # The text first: what came with the news belongs to a step that the news may end.
            for delta in self._live.add(self._bell.take_texts()):
                yield delta
            if self._bell.take_news():
                return
            if not self._live.has_gap:
                gap_since, self._pause_seconds = None, _FIRST_PAUSE_SECONDS
                await self._bell.wait()
                continue
            gap_since = gap_since or time.monotonic()
            left = gap_since + self._pause_seconds - time.monotonic()
            if left <= 0 or not await self._bell.wait(left):
                self._behind = True
                self._pause_seconds = min(2 * self._pause_seconds, FALLBACK_SECONDS)
                return
