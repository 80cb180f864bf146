"""Writes that come one at a time: a change of one task that a person asks for, a tick of the housekeeper, a blob."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from typing import TypeVar
from uuid import UUID

from ops_core.errors import InvalidInput, StoreUnavailable, TaskNotFound
from ops_core.ports import Nudge, NudgeBus, NudgeKind
from ops_core.storage.writes import AnswerLost, Backend, Change, HeldTask, Transaction, TryAgain, WriteRefused

T = TypeVar("T")


class SingleWrite:
    """Runs a write transaction, again when it surely was not written, for a bounded time."""

    def __init__(self, backend: Backend, nudges: NudgeBus, *, give_up_seconds: float) -> None:
        self._backend = backend
        self._nudges = nudges
        self._give_up_seconds = give_up_seconds

    async def change(
        self, namespace: str, task_id: UUID, decide: Callable[[HeldTask, datetime], Change | None]
    ) -> Change | None:
        """Lock the task, decide what becomes of it, write that, tell whoever watches.

        Raises:
            TaskNotFound
            StoreUnavailable: it was not written; or the answer was lost, and it may have been: look before you repeat.
        """

        async def lock_and_decide(tx: Transaction) -> Change | None:
            held = await tx.lock([task_id])
            if not held.tasks or held.tasks[0].namespace != namespace:
                raise TaskNotFound(f"there is no task {task_id}")
            change = decide(held.tasks[0], held.now)
            if change is not None:
                await tx.apply_if_unchanged([change])
            return change

        change = await self.run(lock_and_decide)
        if change is not None:
            self.send([Nudge(NudgeKind.event, task_id, change.after.seq)])
        return change

    async def run(self, work: Callable[[Transaction], Awaitable[T]]) -> T:
        """Raises:
        StoreUnavailable: as in `change`.
        InvalidInput: the database refuses a value.
        """
        try:
            return await self._until_written(work, again=(TryAgain, StoreUnavailable))
        except AnswerLost as error:
            raise StoreUnavailable(
                f"the database went away and may or may not have taken the write: {error}"
            ) from error

    async def run_repeatable(self, work: Callable[[Transaction], Awaitable[T]]) -> T:
        """As `run`, for work that is harmless when it is done twice: a lost answer is no reason to give up."""
        return await self._until_written(work, again=(TryAgain, StoreUnavailable, AnswerLost))

    def send(self, nudges: Sequence[Nudge]) -> None:
        self._nudges.send(nudges)

    async def _until_written(
        self, work: Callable[[Transaction], Awaitable[T]], *, again: tuple[type[Exception], ...]
    ) -> T:
        give_up_at, pause = time.monotonic() + self._give_up_seconds, 0.02
        while True:
            try:
                return await self._backend.transact(work)
            except WriteRefused as error:
                raise InvalidInput(f"the database refuses the value: {error}") from error
            except again as error:
                if time.monotonic() + pause > give_up_at:
                    raise StoreUnavailable(f"the database did not take the write in time: {error}") from error
            await asyncio.sleep(pause)
            pause = min(pause * 2, 0.5)
