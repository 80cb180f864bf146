"""What services, workers and runners need from outside, as small protocols that storage and broker fulfil."""

from __future__ import annotations

from collections.abc import AsyncIterable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Protocol, TypeAlias
from uuid import UUID

from ops_core.domain.agent import Agent, AgentDefinition
from ops_core.domain.approval import Approval, ApprovalStatus, NewVote
from ops_core.domain.event import Event, NewEvent
from ops_core.domain.outcome import Outcome
from ops_core.domain.schedule import NewSchedule, Schedule
from ops_core.domain.signal import NewSignal, Signal
from ops_core.domain.task import NewTask, RetryFrom, Task, TaskStatus
from ops_core.domain.text import TextDelta


@dataclass(frozen=True, slots=True)
class Ring:
    """The doorbell is to be rung: a queue has `count` more claimable tasks. Carries no payload."""

    queue: str
    count: int = 1
    #: A hint for logs; whoever claims takes the best task, not this one.
    task_id: UUID | None = None
    #: W3C trace context of whoever made the task claimable.
    traceparent: str | None = None


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

    async def list_children(self, namespace: str, task_id: UUID, *, limit: int) -> Sequence[Task]:
        """The task's children of all rounds, in the order of their ids."""

    async def task_clock(self) -> datetime:
        """The database's now: what `run_at` and all time-outs are compared with."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ApprovalQuery:
    """Which approvals; pending ones with the nearest expiry first, others newest first."""

    namespace: str
    statuses: frozenset[ApprovalStatus] = frozenset()
    task_id: UUID | None = None
    agent: str | None = None
    #: Only those that one of these groups may decide now; None for all. One that names no group is everybody's.
    groups: frozenset[str] | None = None
    #: Where the page before ended.
    before: tuple[datetime, UUID] | None = None
    limit: int = 50


@dataclass(frozen=True, slots=True)
class Voted:
    """What became of a vote."""

    approval: Approval
    #: True when that is what the same person had said last: nothing was added.
    replayed: bool
    #: To be rung now.
    rings: Sequence[Ring] = ()


class ApprovalStore(Protocol):
    """Questions to people. They are added by the suspend that waits for them."""

    async def get_approval(self, namespace: str, approval_id: UUID) -> Approval | None: ...

    async def list_approvals(self, query: ApprovalQuery) -> Sequence[Approval]: ...

    async def vote(
        self,
        namespace: str,
        approval_id: UUID,
        vote: NewVote,
        *,
        check: Callable[[Approval], None],
    ) -> Voted:
        """Count a vote, decide if it decides, and wake the task, in one transaction. `check` is called with the
        approval as it stands under the lock, and raises what forbids the vote.

        While it is pending, a person may think better of it: of each the latest vote counts, and all are kept.

        Raises:
            ApprovalNotFound. ApprovalDecided: with who decided. ApprovalExpired. TaskFinished: it was closed, since its
            task ended before anybody decided. And what `check` raises.
        """


@dataclass(frozen=True, slots=True)
class Sent:
    """What became of a signal."""

    signal: Signal
    #: True when its idempotency key was known: nothing was added.
    replayed: bool
    rings: Sequence[Ring] = ()


class SignalStore(Protocol):
    """Signals to tasks."""

    async def send_signal(self, namespace: str, task_id: UUID, new: NewSignal, *, max_kept: int) -> Sent:
        """Give it to the step that waits for its name, longest first, and wake the task; or keep it until one does.

        Raises:
            TaskNotFound. TaskFinished. TooManySignals: `max_kept` are kept already. IdempotencyKeyReused: for another
            signal to this task.
        """

    async def list_signals(self, namespace: str, task_id: UUID, *, limit: int) -> Sequence[Signal]:
        """In the order of sending."""


class ScheduleStore(Protocol):
    """Schedules, and the times that are due."""

    async def add_schedule(self, new: NewSchedule) -> Schedule:
        """Raises:
        ScheduleExists.
        """

    async def get_schedule(self, namespace: str, name: str) -> Schedule | None: ...

    async def list_schedules(self, namespace: str, *, after_name: str | None, limit: int) -> Sequence[Schedule]: ...

    async def replace_schedule_if_unchanged(self, before: Schedule, after: Schedule) -> Schedule:
        """Write what a person has changed, if the schedule is as it was read: version and next time. The version is
        raised.

        Raises:
            ScheduleNotFound, ScheduleChanged.
        """

    async def advance_schedule_if_due(
        self, schedule: Schedule, *, next_at: datetime, last_task_id: UUID | None, last_error: str | None
    ) -> bool:
        """Say that its times before `next_at` are dealt with, if it is as it was read; its version stays. False when
        somebody else was first, or has changed it. `last_task_id` None: no task was made, the one before stays."""

    async def delete_schedule(self, namespace: str, name: str) -> None:
        """Raises:
        ScheduleNotFound.
        """

    async def list_due_schedules(self, *, limit: int) -> tuple[Sequence[Schedule], datetime]:
        """Schedules whose next time has come, the longest due first, and the database's now."""

    async def schedule_clock(self) -> datetime:
        """The database's now: what the times of schedules are compared with."""


class AgentStore(Protocol):
    """Agent definitions, by content."""

    async def put_agents(self, namespace: str, definitions: Sequence[AgentDefinition]) -> None:
        """Keep each version, and make it the one that new tasks get."""

    async def put_version(self, namespace: str, definition: AgentDefinition) -> None:
        """Keep the version for tasks that are pinned to it; new tasks go on with the one they get now."""

    async def get_agent(self, namespace: str, name: str) -> Agent | None: ...

    async def list_agents(self, namespace: str) -> Sequence[Agent]: ...

    async def get_definition(self, digest: str) -> AgentDefinition | None: ...


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

    async def finish(self, lease: Lease, outcome: Outcome, *, parent_id: UUID | None = None) -> Ended:
        """Write how the run ended. A child names its parent, which is locked with it and told.

        Raises:
            RunLost: the lease is over; nothing was written.
        """


class TextStore(Protocol):
    """The text of steps that models are writing, so far: for those who come late to a task that streams."""

    async def save_text(self, lease: Lease, step_key: str, text: str) -> None:
        """Replace what there is of the step's text; nothing when the lease is over."""

    async def forget_text(self, lease: Lease, step_key: str | None = None) -> None:
        """Delete the text of the step, or of all steps of the task, that was written under this lease or before."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerInfo:
    """What a worker process says of itself with each heartbeat."""

    worker_id: str
    hostname: str
    pid: int
    version: str
    queues: tuple[str, ...]
    slots: int
    busy: int
    draining: bool


@dataclass(frozen=True, slots=True)
class Renewal:
    """What one heartbeat found."""

    #: Still ours, and renewed.
    kept: frozenset[Lease]
    #: Of those, the tasks for which a cancel has been requested.
    cancel: frozenset[Lease]


class LeaseStore(Protocol):
    """Heartbeats. Synchronous, on a connection of its own, because it runs in its own thread."""

    def renew(self, held: Sequence[Lease], *, worker: WorkerInfo, lease_seconds: float) -> Renewal:
        """Renew exactly the leases named, by the database's clock.

        Raises:
            StoreUnavailable: nothing is known of the leases.
        """

    def forget(self, worker_id: str) -> None:
        """The worker is gone for good: take it off the list of workers."""

    def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class QueueBacklog:
    """What is claimable in a queue."""

    queue: str
    #: Counted up to a bound; at the bound it means "at least".
    claimable: int
    #: Age of the oldest ring among them, in seconds, by the database's clock.
    oldest_ring_seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Retention:
    """How long finished tasks are kept, in seconds since they finished; None for ever."""

    completed_seconds: float | None = None
    #: Of those that failed, were canceled or rejected.
    unhappy_seconds: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Pruned:
    """What one step of pruning did."""

    tasks: int
    #: Where to go on; None at the end.
    after: UUID | None


#: Namespace and digest.
BlobName: TypeAlias = tuple[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class PrunedBlobs:
    """What one step of pruning long values did."""

    blobs: int
    #: Where to go on; None at the end.
    after: BlobName | None


class TaskArchive(Protocol):
    """Keeps tasks that are about to be deleted."""

    async def keep(self, tasks: AsyncIterable[tuple[Task, Sequence[Event]]]) -> None:
        """Returns when all of them, each with its log, are safe. One that is kept twice is there twice.

        Raises:
            StoreUnavailable: some or all are not safe.
        """


class HousekeepingStore(Protocol):
    """Changes that no request and no worker makes. Safe to run in many processes at once."""

    async def release_due(self, *, limit: int) -> Sequence[Ring]:
        """Queue scheduled tasks whose time has come; answer the waits whose time is over, and wake their tasks; let
        tasks in whose rate allows it by now."""

    async def seconds_until_due(self) -> float | None:
        """How long until there is something to release, by the database's clock; None when nothing has a time."""

    async def take_back_expired(self, *, limit: int, max_crashes: int) -> Sequence[Ring]:
        """Queue running tasks whose lease is over (canceled, if that was requested; failed, after `max_crashes`)."""

    async def fail_overdue(self, *, limit: int) -> tuple[int, Sequence[Ring]]:
        """Fail scheduled, queued and waiting tasks that are past their deadline, and queued ones that no worker has
        claimed in time. Running ones are their worker's. How many, and what is to be rung for all that followed."""

    async def forget_silent_workers(self, *, silent_seconds: float) -> int:
        """Take workers off the list that were not heard of for so long; one that comes back is put on it again."""

    async def forget_left_text(self, *, limit: int) -> int:
        """Delete the saved text of tasks that do not run: their workers died. How many steps' it was."""

    async def backlogs(self) -> Sequence[QueueBacklog]: ...


class RetentionStore(Protocol):
    """Deletes what is kept no longer, in batches that are in nobody's way."""

    async def prune_tasks(
        self, *, policy: Retention, after: UUID | None, limit: int, archive: TaskArchive | None = None
    ) -> Pruned:
        """Delete finished tasks that the policy does not keep, with all that is theirs; at most `limit` rows are
        looked at, in the order of their ids, from `after` on. What the `archive` does not have safe is not deleted.

        Raises:
            StoreUnavailable: the database; or the archive, and then nothing is deleted.
        """

    async def prune_blobs(self, *, unused_seconds: float, after: BlobName | None, limit: int) -> PrunedBlobs:
        """Delete blobs that no row names and that nobody has wanted for so long; at most `limit` are looked at, in the
        order of their names, from `after` on."""

    async def sweep_keys(self, *, unused_seconds: float, limit: int) -> int:
        """Forget keys that bound what runs and that nobody has used for so long; how many."""


@dataclass(frozen=True, slots=True)
class StoreHealth:
    """What a probe of the database found."""

    reachable: bool
    #: True when the schema is the one this version wants.
    migrated: bool
    detail: str


class HealthProbe(Protocol):
    async def store_health(self) -> StoreHealth: ...


class Doorbell(Protocol):
    """Carries tickets to workers."""

    async def ring(self, rings: Sequence[Ring]) -> None:
        """Returns when the broker has the tickets safe. Doubling is harmless.

        Raises:
            BrokerUnavailable: some or all were not rung; ring again later.
        """

    async def ready(self, queue: str) -> int:
        """How many tasks the tickets ready in this queue can stand for, at most: each counts as a full one.

        Too high an estimate only waits until the tickets are used up; too low a one would ring for a backlog that
        has its tickets.

        Raises:
            BrokerUnavailable
        """


class TicketGate(Protocol):
    """Says whether this process may take one more ticket off a queue. Called from the broker's consumer threads."""

    def take_up_to(self, wanted: int) -> int:
        """Keep as many places as are left, at most `wanted`, for the ticket taken next; 0 when there is none."""

    def free(self) -> int:
        """How many places are left now."""

    def on_room(self, wake: Callable[[], None]) -> Callable[[], None]:
        """Call `wake` (from any thread) whenever the gate opens after it was shut; returns what ends it."""


class NudgeKind(StrEnum):
    """Why somebody may want to look."""

    #: The task's log has grown to `seq`.
    event = "event"
    #: A cancel was requested.
    cancel = "cancel"
    #: Something has a time sooner than a housekeeper may expect.
    due = "due"
    #: The model's text of a step has grown.
    text = "text"


@dataclass(frozen=True, slots=True)
class Nudge:
    """A hint across processes that may be lost: whoever gets it reads SQL again."""

    kind: NudgeKind
    task_id: UUID
    #: How far the log has grown; of a `due` nudge, the milliseconds until then.
    seq: int = 0
    #: Of a `text` nudge: what has grown, and by what.
    delta: TextDelta | None = None


class NudgeBus(Protocol):
    """Lossy broadcast to every process."""

    def send(self, nudges: Sequence[Nudge]) -> None:
        """Never blocks, never fails; what cannot be sent is dropped."""

    def subscribe(self, listener: Callable[[Nudge], None]) -> Callable[[], None]:
        """Call the listener (on the event loop) for each nudge from now on; returns what ends it."""


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
    task (at once for `cancel` and `lost`, after the time to reach a step boundary for `drain`), but never twice."""

    @property
    def lease(self) -> Lease: ...

    @property
    def stop_reason(self) -> RunStopReason | None:
        """Why the run must stop; None to go on. `lost` wins over the others."""
