"""What a write transaction can do to tasks and their logs, in words that both databases fulfil."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol, TypeAlias, TypeVar
from uuid import UUID

from sqlalchemy import Executable

from ops_core.domain.event import EventType, StepPhase
from ops_core.domain.task import NewTask, TaskStatus
from ops_core.ports import Ring

T = TypeVar("T")

#: A whole row of `tasks` by column, with Python values.
TaskRecord: TypeAlias = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class StoredJson:
    """A JSON value on its way to a row: its text, or where the text is kept when it is long."""

    text: str | None = None
    blob: str | None = None


NO_JSON = StoredJson()


@dataclass(frozen=True, slots=True)
class Place:
    """Where a new task stands among those of its keys."""

    blocked: bool = False
    holds_key: bool = False
    rank: int = 0


@dataclass(frozen=True, slots=True)
class TaskInsert:
    """A new task with its JSON already in the form of the row."""

    new: NewTask
    input: StoredJson
    labels: str
    #: Payload of its first event.
    submitted: str
    place: Place = Place()


@dataclass(frozen=True, slots=True)
class Inserted:
    """What the database decided about a task it took."""

    id: UUID
    status: TaskStatus
    created_at: datetime
    deadline_at: datetime | None
    #: Queued, and one of its keys has not let it in.
    blocked: bool = False


@dataclass(frozen=True, slots=True)
class KnownTask:
    """A task that was there before, found by id or by idempotency key."""

    id: UUID
    namespace: str
    idempotency_key: str | None
    request_hash: str | None
    status: TaskStatus
    created_at: datetime
    deadline_at: datetime | None
    blocked: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimAsk:
    """One worker process wants up to `limit` tasks of a queue."""

    queue: str
    limit: int
    worker_id: str
    lease_seconds: float
    token: UUID


@dataclass(frozen=True, slots=True, kw_only=True)
class AppendAsk:
    """One event of a running task, valid while the epoch is."""

    task_id: UUID
    epoch: int
    type: EventType
    step_key: str | None
    phase: StepPhase | None
    payload: StoredJson


@dataclass(frozen=True, slots=True)
class Appended:
    """The event's number; `first` False when an earlier write of the same step had put it there."""

    seq: int
    first: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class PlainEnd:
    """The end of a run of a task's first claim, valid while the epoch is: `completed` or `failed`."""

    task_id: UUID
    epoch: int
    status: TaskStatus
    result: StoredJson
    #: JSON, as the row keeps it.
    error: str | None
    usage: str
    event: EventType
    #: JSON of the event.
    payload: str
    #: Written before it.
    last_step: AppendAsk | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TextAsk:
    """What is to become of the text of a task's step, valid while the epoch is."""

    task_id: UUID
    epoch: int
    #: None for all steps.
    step_key: str | None
    #: JSON of the text so far; None to forget it.
    body: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldTask:
    """A task's row while its lock is held: what names it, and every column that may change."""

    id: UUID
    namespace: str
    agent: str
    queue: str
    priority: int
    max_attempts: int
    timeout_seconds: float | None
    queue_timeout_seconds: float | None
    concurrency_key: str | None
    concurrency_limit: int | None
    rate_key: str | None
    rate_limit: int | None
    rate_seconds: float | None
    fairness_key: str | None = None
    parent_id: UUID | None
    parent_round: int | None
    parent_step_key: str | None
    traceparent: str | None

    rank: int = 0
    status: TaskStatus
    attempt: int
    crashes: int
    suspicion: int
    round: int
    epoch: int
    seq: int
    resuming: bool
    pending_children: int
    blocked: bool
    holds_key: bool
    run_at: datetime | None
    wake_at: datetime | None
    rung_at: datetime | None
    started_at: datetime | None
    finished_at: datetime | None
    deadline_at: datetime | None
    queue_deadline_at: datetime | None
    cancel_requested_at: datetime | None
    waiting_for: str | None
    result: str | None
    result_blob: str | None
    error: str | None
    usage: str | None
    worker_id: str | None
    claim_token: UUID | None
    lease_expires_at: datetime | None


#: Columns of HeldTask that only name the task, and those that `apply` writes.
HELD_NAMES = (
    *("id", "namespace", "agent", "queue", "priority", "max_attempts", "timeout_seconds", "queue_timeout_seconds"),
    *("concurrency_key", "concurrency_limit", "rate_key", "rate_limit", "rate_seconds", "fairness_key"),
    *("parent_id", "parent_round", "parent_step_key", "traceparent"),
)
HELD_STATE = tuple(name for name in HeldTask.__slots__ if name not in HELD_NAMES)


@dataclass(frozen=True, slots=True)
class LoggedEvent:
    """An event that a change of a task writes."""

    seq: int
    type: EventType
    #: JSON text; None when it is long and kept as a blob.
    payload: str | None
    step_key: str | None = None
    phase: StepPhase | None = None
    payload_blob: str | None = None


@dataclass(frozen=True, slots=True)
class Change:
    """A held task, what becomes of it, what its log says of that, and who is to be told."""

    before: HeldTask
    after: HeldTask
    at: datetime
    events: tuple[LoggedEvent, ...]
    ring: Ring | None = None


@dataclass(frozen=True, slots=True)
class AgentPut:
    """A version of an agent that new tasks are to get."""

    namespace: str
    name: str
    digest: str
    definition: str


@dataclass(frozen=True, slots=True)
class Held:
    """Locked rows in the order of their ids, and the database's time after the locks were had."""

    tasks: Sequence[HeldTask]
    now: datetime


class Transaction(Protocol):
    """The statements. What one of them locked stays locked until the transaction ends."""

    async def insert_tasks_unless_known(self, tasks: Sequence[TaskInsert]) -> Sequence[Inserted]:
        """The tasks whose id and idempotency key are new, with their first event; the others are passed over."""

    async def find_known(self, tasks: Sequence[TaskInsert]) -> Sequence[KnownTask]:
        """The rows that have the id or the idempotency key of one of these."""

    async def claim_best(self, ask: ClaimAsk) -> Sequence[TaskRecord]:
        """Take claimable tasks, best first, with their `task.started` events; nobody waits for a locked one."""

    async def find_claimed(self, token: UUID) -> Sequence[TaskRecord]:
        """What a claim with this token took and still holds."""

    async def append_if_held(self, asks: Sequence[AppendAsk]) -> Mapping[UUID, Appended]:
        """Write the events of tasks whose epoch is still the one asked, each task at most once; others are left out."""

    async def end_plain(self, ends: Sequence[PlainEnd]) -> Mapping[UUID, int]:
        """End those whose epoch is still the one asked and from whose end nothing follows: no parent, no children, no
        key that it gives back. Their events' numbers; the others are left out, and left as they are."""

    async def find_same_event(self, ask: AppendAsk) -> int | None:
        """The seq of a step's event, or for an event without a step, of the newest one that says the same."""

    async def has_event(self, task_id: UUID, event: LoggedEvent) -> bool:
        """Whether the task's log has exactly this."""

    async def run(self, statement: Executable) -> Sequence[dict[str, Any]]:
        """Execute a statement that is the same on both databases, and give the rows it returns. For what is not asked
        thousands of times a second: it is compiled each time."""

    async def now(self) -> datetime:
        """The database's time."""

    async def lock(self, ids: Sequence[UUID]) -> Held: ...

    async def lock_free(self, ids: Sequence[UUID]) -> Held:
        """Those of them that nobody else has locked."""

    async def lock_due(self, limit: int) -> Held:
        """Scheduled and waiting tasks whose time has come and that nobody else has locked."""

    async def lock_expired(self, limit: int) -> Held:
        """Running tasks whose lease is over and that nobody else has locked."""

    async def lock_overdue(self, limit: int) -> Held:
        """Scheduled, queued and waiting tasks past their deadline, and queued ones that were never claimed past the
        deadline for that, that nobody else has locked."""

    async def apply_if_unchanged(self, changes: Sequence[Change]) -> None:
        """Write what has become of held tasks, with their events."""

    async def put_blob(self, namespace: str, digest: str, data: bytes) -> None:
        """Keep long JSON by digest; what is there is only marked as wanted again."""

    async def put_blob_of_task(self, task_id: UUID, digest: str, data: bytes) -> None:
        """The same in the namespace of a task; nothing when there is no such task."""

    async def save_texts(self, asks: Sequence[TextAsk]) -> None:
        """Keep these texts of tasks whose epoch is still the one asked, each instead of what was kept of its step."""

    async def forget_texts(self, asks: Sequence[TextAsk]) -> None:
        """Drop what was kept in these epochs and before."""

    async def forget_silent_workers(self, silent_seconds: float) -> int: ...

    async def put_versions(self, agents: Sequence[AgentPut]) -> None:
        """Keep the versions, and leave what is current as it is."""

    async def put_agents(self, agents: Sequence[AgentPut]) -> None:
        """Keep the versions, and make them current; one that is current already keeps its time."""

    async def find_ending(self, task_id: UUID, epoch: int) -> tuple[EventType, int] | None:
        """The event (and its seq) with which the run of this epoch ended its task, if it did."""


class Backend(Protocol):
    """Runs write transactions on one kind of database.

    Both methods raise, besides what the work raises: TryAgain, AnswerLost, WriteRefused, StoreUnavailable.
    """

    async def transact(self, work: Callable[[Transaction], Awaitable[T]]) -> T:
        """All statements of the work are committed together, or none is."""

    async def autocommit(self, work: Callable[[Transaction], Awaitable[T]]) -> T:
        """Each statement may be committed by itself: one round trip where the work is one statement."""

    async def aclose(self) -> None: ...


class TryAgain(Exception):
    """Surely not written, for a reason that passes: a deadlock, a lock or statement time-out, a busy file."""


class AnswerLost(Exception):
    """The connection died before the answer came: written or not, nobody knows until somebody looks."""


class WriteRefused(Exception):
    """Surely not written: the database refuses a value."""
