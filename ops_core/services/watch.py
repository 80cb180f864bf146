"""Waking whoever waits for news of a task: at a nudge, and within a second if the nudge was lost."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import Context
from uuid import UUID

from ops_core.domain.text import TextDelta
from ops_core.errors import StoreUnavailable
from ops_core.ports import Glance, Nudge, NudgeBus, NudgeKind, TaskStore
from ops_core.telemetry import LogEvent, get_logger

#: Nudges are lossy, so all tasks that somebody waits for are looked at this often in any case.
FALLBACK_SECONDS = 1.0
#: What a process wants to be told of in which somebody may watch tasks.
HEARS = (NudgeKind.event, NudgeKind.text)
#: So many tasks are looked at in one statement: more of them would hold up those who read meanwhile.
_TASKS_A_LOOK = 200
#: Pieces of text kept for one reader.
_MAX_TEXTS = 1_000
#: More than any task's log will ever have.
_UNKNOWN_SEQ = 2**63

_log = get_logger()


class Bell:
    """Rings for what its reader does not know: once for any number of nudges. For those who want it, it keeps the text
    that was told meanwhile; what is too much is dropped, and looks to its reader as if it had been lost on the way."""

    def __init__(self) -> None:
        #: How far the task's log had grown when its reader last looked.
        self.known_seq = 0
        #: Whether its reader has still to be given something of a piece; None when he wants no text.
        self.lacks: Callable[[TextDelta], bool] | None = None
        self._told_seq = 0
        self._texts: deque[TextDelta] = deque(maxlen=_MAX_TEXTS)
        self._awake = asyncio.Event()

    @property
    def may_miss_text(self) -> bool:
        """Its reader wants text, and has taken all that he was told."""
        return self.lacks is not None and not self._texts

    def ring(self, seq: int = _UNKNOWN_SEQ) -> None:
        """The log has grown to `seq`, or nobody knows how far."""
        self._told_seq = max(self._told_seq, seq)
        if self._has_news:
            self._awake.set()

    def tell(self, delta: TextDelta) -> None:
        if self.lacks is not None and self.lacks(delta):
            self._texts.append(delta)
            self._awake.set()

    def take_news(self) -> bool:
        """Whether there is more than its reader knows. Asked before he looks: what comes later, he may not see."""
        has_news, self._told_seq = self._has_news, 0
        return has_news

    def take_texts(self) -> Sequence[TextDelta]:
        """What was told since this was last asked."""
        texts = list(self._texts)
        self._texts.clear()
        return texts

    async def wait(self, seconds: float | None = None) -> bool:
        """Return when there is news or a text; or when the time is over: then False."""
        try:
            async with asyncio.timeout(seconds):
                while not (self._has_news or self._texts):
                    self._awake.clear()
                    await self._awake.wait()
        except TimeoutError:
            return False
        return True

    @property
    def _has_news(self) -> bool:
        return self._told_seq > self.known_seq


class TaskWatch:
    """Hands each nudge to those who wait for its task. Listens to the bus, and looks at what was lost on it, only while
    somebody waits; one look is for all of them."""

    def __init__(self, nudges: NudgeBus, tasks: TaskStore) -> None:
        self._nudges = nudges
        self._tasks = tasks
        self._bells: dict[UUID, set[Bell]] = {}
        #: Tasks whose text was told since it was last looked for.
        self._telling: set[UUID] = set()
        self._unsubscribe: Callable[[], None] | None = None
        self._looking: asyncio.Task[None] | None = None

    @contextmanager
    def listen(self, task_id: UUID) -> Iterator[Bell]:
        """A bell for the task's news, from before this returns until the block is left."""
        bell = Bell()
        if not self._bells:
            self._begin()
        self._bells.setdefault(task_id, set()).add(bell)
        try:
            yield bell
        finally:
            self._drop(task_id, bell)

    async def look(self, task_ids: Sequence[UUID]) -> None:
        """Ring for those whose readers do not know all of the log, and tell them the text that nobody told them."""
        found: Mapping[UUID, Glance] = {}
        texts: Mapping[UUID, Sequence[TextDelta]] = {}
        try:
            found = await self._tasks.glance(task_ids)
            if silent := self._take_silent(found):
                texts = await self._tasks.list_texts(silent)
        except StoreUnavailable:
            pass  # all of them look for themselves, and are told so
        except Exception:  # noqa: BLE001 - the driver of the loop
            _log.exception(LogEvent.watch_failed)
        for task_id in task_ids:
            seq = found[task_id].seq if task_id in found else _UNKNOWN_SEQ
            for bell in self._bells.get(task_id, ()):
                bell.ring(seq)
                for delta in texts.get(task_id, ()):
                    bell.tell(delta)

    def _begin(self) -> None:
        self._unsubscribe = self._nudges.subscribe(self._hear, HEARS)
        # In a context of its own: what it logs is not of the request that happens to be the first.
        self._looking = asyncio.create_task(self._look_again_and_again(), name="task-watch", context=Context())

    def _end(self) -> None:
        if self._unsubscribe is not None and self._looking is not None:
            self._unsubscribe()
            self._looking.cancel()
            self._unsubscribe = self._looking = None

    def _drop(self, task_id: UUID, bell: Bell) -> None:
        bells = self._bells[task_id]
        bells.discard(bell)
        if not bells:
            del self._bells[task_id]
            self._telling.discard(task_id)
        if not self._bells:
            self._end()

    def _hear(self, nudge: Nudge) -> None:
        bells = self._bells.get(nudge.task_id, ())
        if nudge.delta is not None and bells:
            self._telling.add(nudge.task_id)
        for bell in bells:
            if nudge.delta is None:
                bell.ring(nudge.seq or _UNKNOWN_SEQ)
            else:
                bell.tell(nudge.delta)

    def _take_silent(self, found: Mapping[UUID, Glance]) -> Mapping[UUID, int]:
        """Those that run and of whose text nothing was told since they were last looked at, and their epochs."""
        silent = {
            id: one.running_epoch
            for id, one in found.items()
            if one.running_epoch is not None
            and id not in self._telling
            and any(bell.may_miss_text for bell in self._bells.get(id, ()))
        }
        self._telling.difference_update(found)
        return silent

    async def _look_again_and_again(self) -> None:
        while self._bells:
            ids = list(self._bells)
            parts = [ids[start : start + _TASKS_A_LOOK] for start in range(0, len(ids), _TASKS_A_LOOK)]
            for part in parts:
                # Spread over the time: readers that all find news at once would wait for each other.
                await asyncio.sleep(FALLBACK_SECONDS / len(parts))
                await self.look(part)
