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
    """Runs a write transaction, again when it was not written, for a bounded time."""

    def __init__(self, backend: Backend, nudges: NudgeBus, *, give_up_seconds: float) -> None:
        self._backend = backend
        self._nudges = nudges
        self._give_up_seconds = give_up_seconds

    async def change(
        self, namespace: str, task_id: UUID, decide: Callable[[HeldTask, datetime], Change | None]
    ) -> Change | None:
        """Lock the task, decide what becomes of it, write that, tell whoever watches.

        A change whose answer was lost is looked for by its first event before it is decided anew.

        Raises:
            TaskNotFound
            StoreUnavailable: it was not written; or, if it says so, may have been: look before you repeat.
        """
        tried: Change | None = None

        async def lock_and_decide(tx: Transaction) -> Change | None:
            nonlocal tried
            held = await tx.lock([task_id])
            if not held.tasks or held.tasks[0].namespace != namespace:
                raise TaskNotFound(f"there is no task {task_id}")
            if tried is not None and await tx.has_event(task_id, tried.events[0]):
                return tried
            tried = decide(held.tasks[0], held.now)
            if tried is not None:
                await tx.apply_if_unchanged([tried])
            return tried

        change = await self.run_repeatable(lock_and_decide)
        if change is not None:
            self.send([Nudge(NudgeKind.event, task_id, change.after.seq)])
        return change

    async def run_repeatable(self, work: Callable[[Transaction], Awaitable[T]]) -> T:
        """Run work that is harmless when it is done twice: again until it is surely written, for a bounded time.

        Raises:
            StoreUnavailable: as in `change`.
            InvalidInput: the database refuses a value.
        """
        give_up_at, pause, lost = time.monotonic() + self._give_up_seconds, 0.02, False
        while True:
            try:
                return await self._backend.transact(work)
            except WriteRefused as error:
                raise InvalidInput(f"the database refuses the value: {error}") from error
            except (TryAgain, StoreUnavailable, AnswerLost) as error:
                lost = lost or isinstance(error, AnswerLost)
                if time.monotonic() + pause > give_up_at:
                    known = "may or may not have the write" if lost else "did not take the write in time"
                    raise StoreUnavailable(f"the database {known}: {error}") from error
            await asyncio.sleep(pause)
            pause = min(pause * 2, 0.5)

    def send(self, nudges: Sequence[Nudge]) -> None:
        self._nudges.send(nudges)
