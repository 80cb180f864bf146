"""Writes that come one at a time: a change of one task that a person asks for, a tick of the housekeeper, a blob."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar
from uuid import UUID

from ops_core.errors import InvalidInput, StoreUnavailable, TaskNotFound
from ops_core.ports import Nudge, NudgeBus, Ring
from ops_core.storage.consequences import written
from ops_core.storage.family import with_parents
from ops_core.storage.settlement import Settlement, nudges_of, rings_of
from ops_core.storage.writes import AnswerLost, Backend, Change, HeldTask, Transaction, TryAgain, WriteRefused

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Changed:
    """What became of the task that was asked for, and what is to be rung for it and all that followed."""

    change: Change
    rings: Sequence[Ring]


class SingleWrite:
    """Runs a write transaction, again when it was not written, for a bounded time."""

    def __init__(self, backend: Backend, nudges: NudgeBus, *, give_up_seconds: float) -> None:
        self._backend = backend
        self._nudges = nudges
        self._give_up_seconds = give_up_seconds

    async def change(
        self, namespace: str, task_id: UUID, decide: Callable[[HeldTask, datetime], Change | None]
    ) -> Changed | None:
        """Lock the task, decide what becomes of it, write that with all that follows, tell whoever watches.

        A change whose answer was lost is looked for by its first event before it is decided anew.

        Raises:
            TaskNotFound
            StoreUnavailable: it was not written; or, if it says so, may have been: look before you repeat.
        """
        tried: Change | None = None

        async def lock_and_decide(tx: Transaction) -> Sequence[Change]:
            nonlocal tried
            settlement = Settlement(tx, await tx.lock(await with_parents(tx, [task_id])))
            held = settlement.held(task_id)
            if held is None or held.namespace != namespace:
                raise TaskNotFound(f"There is no task {task_id}. List tasks to find the one you mean.")
            if tried is not None and await tx.has_event(task_id, tried.events[0]):
                # What followed from it is rung for by the housekeeper.
                return [tried]
            tried = decide(held, settlement.now)
            if tried is None:
                return []
            settlement.change(tried)
            return await written(settlement)

        changes = await self.run_repeatable(lock_and_decide)
        self.tell(changes)
        own = next((change for change in changes if change.after.id == task_id), None)
        return Changed(own, rings_of(changes)) if own is not None else None

    def tell(self, changes: Sequence[Change]) -> None:
        """Tell whoever may want to look."""
        self.send(nudges_of(changes))

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
