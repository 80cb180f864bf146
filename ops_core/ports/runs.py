"""What a run reads, writes and hears."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol
from uuid import UUID

from ops_core.domain.event import Event, NewEvent
from ops_core.domain.outcome import Outcome
from ops_core.domain.task import Task, TaskStatus
from ops_core.ports.doorbell import Ring


@dataclass(frozen=True, slots=True)
class Lease:
    """The right of one worker to act for one task, until it is taken away."""

    task_id: UUID
    epoch: int


@dataclass(frozen=True, slots=True)
class Ended:
    """What a finish wrote."""

    #: May differ from what the outcome asked: a requested cancel turns retries and waits into `canceled`.
    status: TaskStatus
    #: To be rung now.
    rings: Sequence[Ring] = ()


class RunStore(Protocol):
    """The rows of tasks, as the worker that runs them needs them. Every write is fenced by the lease's epoch."""

    async def claim(self, queue: str, *, limit: int, worker_id: str, lease_seconds: float) -> Sequence[Task]:
        """Take up to `limit` claimable tasks of the queue, best first; the task carries the new epoch."""

    async def load_journal(self, task_id: UUID, *, round: int) -> Sequence[Event]:
        """The events of this round that belong to steps, and the `task.reopened` that began it, by seq."""

    async def append(self, lease: Lease, event: NewEvent) -> int:
        """Write one event; returns its seq. A second write of one (round, step key, phase) returns the first's.

        Raises:
            RunLost: the lease is over; nothing was written.
        """

    async def finish(
        self, lease: Lease, outcome: Outcome, *, last_step: NewEvent | None = None, parent_id: UUID | None = None
    ) -> Ended:
        """Write what came of the run's last step, if that is not written yet, and how it ended. A child names its
        parent, which is locked with it and told.

        Raises:
            RunLost: the lease is over; nothing was written.
        """


class TextStore(Protocol):
    """The text of steps that models are writing, so far: for those who come late to a task that streams."""

    async def save_text(self, lease: Lease, step_key: str, text: str) -> None:
        """Replace what there is of the step's text; nothing when the lease is over."""

    async def forget_text(self, lease: Lease, step_key: str | None = None) -> None:
        """Delete the text of the step, or of all steps of the task, that was written under this lease or before."""


class RunStopReason(StrEnum):
    """Why a run must stop before its end."""

    #: A cancel was requested; the run writes `canceled`.
    cancel = "cancel"
    #: The worker drains; the run is handed over.
    drain = "drain"
    #: The lease is over, or may be; the run writes nothing.
    lost = "lost"


class RunControl(Protocol):
    """What a runner can ask about the right to act. When a reason arises, the worker also cancels the run's asyncio
    task (at once for `cancel` and `lost`, after the time to reach a step boundary for `drain`), but never twice, and
    not while it is undisturbed."""

    @property
    def lease(self) -> Lease: ...

    @property
    def stop_reason(self) -> RunStopReason | None:
        """Why the run must stop; None to go on. `lost` wins over the others."""

    def undisturbed(self) -> AbstractContextManager[None]:
        """Inside nothing cancels the run: for what is short, and needed to stop well. Look at `stop_reason` after."""
