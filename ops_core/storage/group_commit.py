"""Group commit: writes of many concurrent callers, gathered and committed in one transaction."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeAlias, TypeVar

from ops_core.errors import InvalidInput, OpsCoreError, StoreUnavailable
from ops_core.storage.writes import AnswerLost, TryAgain, WriteRefused

Item = TypeVar("Item")
Out = TypeVar("Out")
_Item = TypeVar("_Item", contravariant=True)
_Out = TypeVar("_Out", covariant=True)

#: A batch at least this wide means that callers come faster than commits: waiting a little gathers more of them.
_BUSY_ROWS = 16
_BUSY_SECONDS = 0.05


class Batch(Protocol[_Item, _Out]):
    """How a number of writes of one kind are committed together.

    Both methods return one outcome for each item, in order: what its caller gets, or the error its caller is told.
    They raise TryAgain, AnswerLost, WriteRefused or StoreUnavailable when the batch as a whole was not written.
    """

    def key(self, item: _Item) -> Hashable:
        """What must not be in one batch twice, such as the task: one statement writes a row once."""

    async def write(self, items: Sequence[_Item]) -> Sequence[_Out | OpsCoreError]: ...

    async def write_unless_written(self, items: Sequence[_Item]) -> Sequence[_Out | OpsCoreError]:
        """After a lost answer: look for each write by its own key, and write what is not there."""


_Write: TypeAlias = Callable[[Sequence[Item]], Awaitable[Sequence[Out | OpsCoreError]]]


@dataclass(slots=True)
class _Waiting(Generic[Item, Out]):
    item: Item
    answer: asyncio.Future[Out]


class GroupCommit(Generic[Item, Out]):
    """Gathers while a commit runs and commits what gathered next; each caller gets the outcome of its own write.

    A cancelled caller does not undo its write. A row that the database refuses fails only its caller. When the database
    is away for `give_up_seconds`, everybody who waits is told so at once.
    """

    def __init__(
        self,
        batch: Batch[Item, Out],
        *,
        linger_seconds: float = 0.0,
        max_rows: int = 500,
        max_waiting: int = 10_000,
        give_up_seconds: float = 5.0,
        drop_cancelled: bool = False,
    ) -> None:
        """`linger_seconds` is waited for company only while batches are wide. `drop_cancelled` leaves out what nobody
        waits for any more when its batch begins."""
        self._batch = batch
        self._linger_seconds = linger_seconds
        self._max_rows = max_rows
        self._max_waiting = max_waiting
        self._give_up_seconds = give_up_seconds
        self._drop_cancelled = drop_cancelled
        self._line: deque[_Waiting[Item, Out]] = deque()
        self._runner: asyncio.Task[None] | None = None
        self._closed = False
        self._last_rows = 0
        self._last_at = 0.0

    async def write(self, item: Item) -> Out:
        """Returns when the write is committed.

        Raises:
            StoreUnavailable: it is not written, or (the database went away during the commit) may or may not be.
            InvalidInput: the database refuses a value of it.
        """
        if self._closed:
            raise StoreUnavailable("the store is closed")
        if len(self._line) >= self._max_waiting:
            raise StoreUnavailable(f"the database is busy: {self._max_waiting} writes wait already; try again later")
        waiting: _Waiting[Item, Out] = _Waiting(item, asyncio.get_running_loop().create_future())
        self._line.append(waiting)
        if self._runner is None:
            self._runner = asyncio.create_task(self._run(), name="group-commit")
        return await waiting.answer

    async def aclose(self) -> None:
        """Commit what waits, then take no more."""
        self._closed = True
        if self._runner is not None:
            await asyncio.wait([self._runner])

    async def _run(self) -> None:
        """Runs while somebody waits."""
        batch: list[_Waiting[Item, Out]] = []
        try:
            while self._line:
                if self._is_busy() and len(self._line) < self._max_rows:
                    await asyncio.sleep(self._linger_seconds)
                batch = self._take()
                if batch:
                    await self._commit(batch)
                    self._last_rows, self._last_at = len(batch), time.monotonic()
        finally:
            self._runner = None
            # All are answered, unless this task was cancelled from outside (the loop ends).
            self._fail(batch, "the store stopped during the write: the database may or may not have it")
            self._fail_line("the store stopped before the write was begun")

    def _is_busy(self) -> bool:
        """Whether company can be expected: the last batch was wide, and just now."""
        if not self._linger_seconds or self._last_rows < _BUSY_ROWS:
            return False
        return time.monotonic() - self._last_at < _BUSY_SECONDS

    def _take(self) -> list[_Waiting[Item, Out]]:
        taken: list[_Waiting[Item, Out]] = []
        keys: set[Hashable] = set()
        later: deque[_Waiting[Item, Out]] = deque()
        while self._line and len(taken) < self._max_rows:
            waiting = self._line.popleft()
            if self._drop_cancelled and waiting.answer.cancelled():
                continue
            key = self._batch.key(waiting.item)
            if key in keys:
                later.append(waiting)
            else:
                keys.add(key)
                taken.append(waiting)
        later.extend(self._line)
        self._line = later
        return taken

    async def _commit(self, batch: list[_Waiting[Item, Out]]) -> None:
        """In one transaction; where that fails for a row of it, in halves, until only that row is left out."""
        parts, write = [batch], self._batch.write
        while parts:
            part = parts.pop()
            try:
                outcomes = await self._write(part, write)
            except StoreUnavailable as away:
                # Who came meanwhile would wait as long again for the same answer, and so would the other parts.
                self._fail([waiting for rest in (part, *parts) for waiting in rest], away.detail)
                self._fail_line(away.detail)
                return
            except WriteRefused as refused:
                if len(part) == 1:
                    _answer(part[0], InvalidInput(f"the database refuses the value: {refused}"))
                else:
                    parts += _halves(part)
            except Exception as error:  # noqa: BLE001  the loop drives everybody's writes: the caller gets it, the loop goes on
                if len(part) == 1:
                    _answer(part[0], error)
                else:
                    # Of an error nobody foresaw it is not known what was written before it.
                    parts, write = parts + _halves(part), self._batch.write_unless_written
            else:
                for waiting, outcome in zip(part, outcomes, strict=True):
                    _answer(waiting, outcome)

    async def _write(self, part: list[_Waiting[Item, Out]], write: _Write[Item, Out]) -> Sequence[Out | OpsCoreError]:
        items = [waiting.item for waiting in part]
        give_up_at = time.monotonic() + self._give_up_seconds
        pause, lost = 0.02, False
        while True:
            try:
                return await write(items)
            except AnswerLost as error:
                write, lost, reason = self._batch.write_unless_written, True, str(error)
            except TryAgain as error:
                reason = str(error)
            except StoreUnavailable as error:
                # Nobody answers: after a lost answer that leaves open what became of the batch.
                reason = error.detail
            if time.monotonic() + pause > give_up_at:
                known = "may or may not have the write" if lost else "did not take the write in time"
                raise StoreUnavailable(f"the database {known}: {reason}")
            await asyncio.sleep(pause)
            pause = min(pause * 2, 0.5)

    def _fail_line(self, reason: str) -> None:
        self._fail(list(self._line), reason)
        self._line.clear()

    def _fail(self, batch: list[_Waiting[Item, Out]], reason: str) -> None:
        for waiting in batch:
            # Each its own: an exception raised in many places gathers all their tracebacks.
            _answer(waiting, StoreUnavailable(reason))


def _halves(part: list[_Waiting[Item, Out]]) -> list[list[_Waiting[Item, Out]]]:
    """To be taken from the end, so that the first half is written first."""
    middle = len(part) // 2
    return [part[middle:], part[:middle]]


def _answer(waiting: _Waiting[Item, Out], outcome: Out | Exception) -> None:
    if waiting.answer.done():
        return
    if isinstance(outcome, Exception):
        waiting.answer.set_exception(outcome)
    else:
        waiting.answer.set_result(outcome)
