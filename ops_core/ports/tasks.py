"""Where tasks are kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol
from uuid import UUID

from ops_core.domain.event import Event
from ops_core.domain.task import NewTask, RetryFrom, Task, TaskStatus
from ops_core.domain.text import TextDelta
from ops_core.ports.doorbell import Ring


@dataclass(frozen=True, slots=True)
class Added:
    """What became of a submission."""

    task: Task
    #: True when the idempotency key was known: this is the first task, nothing was added.
    replayed: bool
    #: To be rung now that the row is committed; None when it was replayed or is due later.
    ring: Ring | None


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskQuery:
    """Which tasks, newest first. `before` is the place where the page before ended."""

    namespace: str
    statuses: frozenset[TaskStatus] = frozenset()
    agent: str | None = None
    queue: str | None = None
    labels: dict[str, str] = field(default_factory=dict)
    created_after: datetime | None = None
    created_before: datetime | None = None
    #: Hexadecimal digits that the id starts with, dashes left out.
    id_prefix: str | None = None
    before: tuple[datetime, UUID] | None = None
    limit: int = 50


@dataclass(frozen=True, slots=True)
class Glance:
    """As much of a task as tells whether somebody who watches it has to look."""

    #: How far its log has grown.
    seq: int
    #: The claim under which it runs; None when it does not run.
    running_epoch: int | None


class TaskStore(Protocol):
    """The rows of tasks, as services need them. Every write is committed when the call returns.

    All raise StoreUnavailable when the database cannot be reached in time.
    """

    async def add_task(self, new: NewTask) -> Added:
        """The task row and its first event, in one transaction.

        Raises:
            IdempotencyKeyReused: the key is known with another request hash.
        """

    async def find_submitted(self, namespace: str, idempotency_key: str, *, request_hash: str) -> Task | None:
        """The task that was added with this key and this request hash; None when there is none, or with another hash.

        Asked only when a request is refused that may have been accepted before: `run_at` has passed by now, or the
        agent has changed. A repeated request must find its task all the same.
        """

    async def get_task(self, namespace: str, task_id: UUID) -> Task | None: ...

    async def list_tasks(self, query: TaskQuery) -> Sequence[Task]: ...

    async def list_events(self, task_id: UUID, *, after_seq: int, limit: int) -> Sequence[Event]:
        """Events in order of seq. The caller has checked that the task is one he may see."""

    async def list_text(self, task_id: UUID, *, epoch: int) -> Sequence[TextDelta]:
        """The text so far of each step that a model is writing in this epoch, each as one piece from its start."""

    async def list_texts(self, epochs: Mapping[UUID, int]) -> Mapping[UUID, Sequence[TextDelta]]:
        """As `list_text`, of many tasks at once; those that have no text are left out."""

    async def glance(self, task_ids: Sequence[UUID]) -> Mapping[UUID, Glance]:
        """Many tasks at once; those that there are not are left out. Of every namespace: it is not for callers."""

    async def cancel_task(self, namespace: str, task_id: UUID, *, by: str) -> tuple[Task, Sequence[Ring]]:
        """Cancel at once, or request it when the task runs; its children too. Harmless when it was requested before.

        Raises:
            TaskNotFound, TaskFinished.
        """

    async def retry_task(
        self, namespace: str, task_id: UUID, *, by: str, retry_from: RetryFrom, before_step: int | None = None
    ) -> tuple[Task, Sequence[Ring]]:
        """Reopen a finished task: next round, queued, attempts counted afresh. `before_step` goes with `step`: what
        was journaled before that step of the agent is replayed.

        Raises:
            TaskNotFound, TaskNotFinished. StepNotFound: the journal does not reach that step.
        """

    async def fork_task(self, source: Task, new: NewTask) -> Added:
        """Add a task that begins with the journaled steps of a finished one: those before `new.forked_from.before_step`
        are copied into its log, as round 0, in the same transaction.

        Raises:
            TaskNotFound, TaskNotFinished, StepNotFound, IdempotencyKeyReused.
        """

    async def list_ancestors(self, task_id: UUID, *, limit: int) -> Sequence[Task]:
        """The task, its parent, its parent's parent, and so on up."""

    async def list_children(
        self, namespace: str, task_id: UUID, *, limit: int, after: tuple[datetime, UUID] | None = None
    ) -> Sequence[Task]:
        """The task's children of all rounds, oldest first. `after` is the place (when created, id) where the page
        before ended; one that is added meanwhile comes behind it."""

    async def task_clock(self) -> datetime:
        """The database's now: what `run_at` and all time-outs are compared with."""
