"""What a task is, the states it can be in, and the one table of changes between them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, TypeAlias
from uuid import UUID

from ops_core.errors import IllegalTransition

#: A JSON object as `json.loads` gives it; checked against a schema where it enters.
JsonObject: TypeAlias = dict[str, Any]
#: Any JSON value.
JsonValue: TypeAlias = Any

#: What a queue may be called: what Dramatiq and every broker take as it is.
QUEUE_NAME = r"^[a-z_][a-z0-9_-]{0,62}$"


class TaskStatus(StrEnum):
    """Where a task stands."""

    #: Due later: `run_at`, or the pause before a retry.
    scheduled = "scheduled"
    #: Claimable now.
    queued = "queued"
    #: A worker holds it under a lease.
    running = "running"
    #: It waits for something outside (approval, input, signal, timer, children) and holds nothing.
    waiting = "waiting"
    #: It has a result.
    completed = "completed"
    #: It has an error; attempts are used up, or trying again cannot help.
    failed = "failed"
    #: Somebody stopped it.
    canceled = "canceled"
    #: Refused before it ran.
    rejected = "rejected"

    @property
    def is_final(self) -> bool:
        return self in FINAL


FINAL = frozenset({TaskStatus.completed, TaskStatus.failed, TaskStatus.canceled, TaskStatus.rejected})
LIVE = frozenset(TaskStatus) - FINAL

#: Every change of status there is, with the reason for it. Generated into the documentation; storage asks it.
TRANSITIONS: Mapping[tuple[TaskStatus, TaskStatus], str] = {
    (TaskStatus.scheduled, TaskStatus.queued): "it is due",
    (TaskStatus.queued, TaskStatus.running): "a worker claims it",
    (TaskStatus.queued, TaskStatus.rejected): "policy, a budget or a person refuses it before it runs",
    (TaskStatus.running, TaskStatus.completed): "the executor returned a result",
    (TaskStatus.running, TaskStatus.failed): "attempts are used up, or trying again cannot help",
    (TaskStatus.running, TaskStatus.waiting): "it waits for something outside",
    (TaskStatus.running, TaskStatus.scheduled): "it failed and is tried again later",
    (
        TaskStatus.running,
        TaskStatus.queued,
    ): "its worker was lost or hands it over, or what it would wait for is there",
    (TaskStatus.waiting, TaskStatus.queued): "what it waited for has come",
    (TaskStatus.scheduled, TaskStatus.canceled): "somebody canceled it",
    (TaskStatus.queued, TaskStatus.canceled): "somebody canceled it",
    (TaskStatus.running, TaskStatus.canceled): "somebody canceled it, and its run has stopped",
    (TaskStatus.waiting, TaskStatus.canceled): "somebody canceled it",
    (TaskStatus.scheduled, TaskStatus.failed): "its time ran out",
    (TaskStatus.queued, TaskStatus.failed): "its time ran out",
    (TaskStatus.waiting, TaskStatus.failed): "its time ran out",
    (TaskStatus.waiting, TaskStatus.rejected): "a person refuses the task itself, or nobody approves it in time",
    (TaskStatus.completed, TaskStatus.queued): "a person retries it: a new round",
    (TaskStatus.failed, TaskStatus.queued): "a person retries it: a new round",
    (TaskStatus.canceled, TaskStatus.queued): "a person retries it: a new round",
    (TaskStatus.rejected, TaskStatus.queued): "a person retries it: a new round",
}


def check_transition(before: TaskStatus, after: TaskStatus) -> None:
    """Raises:
    IllegalTransition: the table has no such change.
    """
    if (before, after) not in TRANSITIONS:
        raise IllegalTransition(f"no transition from {before} to {after}")


class TaskKind(StrEnum):
    """What executes a task."""

    agent = "agent"


class WaitingFor(StrEnum):
    """What a waiting task waits for."""

    approval = "approval"
    input = "input"
    signal = "signal"
    timer = "timer"
    children = "children"


class RetryFrom(StrEnum):
    """Where a person's retry starts."""

    #: Finished steps are replayed; the run goes on after them.
    journal = "journal"
    #: Steps before a given one are replayed; that one and what followed is done anew.
    step = "step"
    #: Nothing is replayed.
    scratch = "scratch"


@dataclass(frozen=True, slots=True)
class TaskError:
    """Why a task failed."""

    #: Stable; from agentkit's or ops_core's error tree, or `limit_steps`, `worker_lost`, `timeout`, …
    code: str
    message: str
    #: Whether the same task may succeed if it is tried again unchanged.
    retryable: bool = False
    #: What was found where a task was quarantined: exit status, signal, last lines of its output.
    evidence: JsonObject | None = None


@dataclass(frozen=True, slots=True)
class TaskUsage:
    """What a task has used so far, over all attempts of its round."""

    steps: int = 0
    tool_calls: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cached_input_tokens: int = 0
    reasoning_tokens: int = 0
    active_seconds: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class RateLimit:
    """So many starts in so much time, for all tasks with one key."""

    key: str
    limit: int
    per_seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Parent:
    """Which step of which task waits for a child."""

    task_id: UUID
    round: int
    step_key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ForkOrigin:
    """The finished task that a fork was made from."""

    task_id: UUID
    round: int
    #: Steps before this one were taken over.
    before_step: int


@dataclass(frozen=True, slots=True, kw_only=True)
class NewTask:
    """A validated submission, about to become a row. The id is made by the service (UUIDv7)."""

    id: UUID
    namespace: str
    kind: TaskKind
    agent: str
    #: Content hash of the definition the task is pinned to.
    agent_digest: str
    queue: str
    #: 0 to 9; 9 is claimed first.
    priority: int
    input: JsonObject
    labels: dict[str, str]
    max_attempts: int
    #: When it is due; None for now. Decides between `scheduled` and `queued`, by the database's clock.
    run_at: datetime | None = None
    #: Wall time for the whole task, waits included; None for no limit.
    timeout_seconds: float | None = None
    idempotency_key: str | None = None
    #: SHA-256 of the canonical request; compared when the key is seen again.
    request_hash: str | None = None
    #: How long it may wait to be claimed for the first time, from when it is due; None for no limit.
    queue_timeout_seconds: float | None = None
    #: How long one claim may run it; None for no limit.
    attempt_timeout_seconds: float | None = None
    #: Tasks with this key run at most `concurrency_limit` at once.
    concurrency_key: str | None = None
    concurrency_limit: int | None = None
    rate: RateLimit | None = None
    #: Tasks with different keys take turns in their queue, however many each has.
    fairness_key: str | None = None
    session_id: UUID | None = None
    #: Text of the model is sent to those who watch while it is made.
    stream: bool = False
    parent: Parent | None = None
    #: 0 for a task that a client submitted, one more for each parent above.
    depth: int = 0
    forked_from: ForkOrigin | None = None
    schedule_id: UUID | None = None
    traceparent: str | None = None
    created_by: str = "anonymous"


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """A task as it stood when it was read."""

    id: UUID
    namespace: str
    kind: TaskKind
    status: TaskStatus
    agent: str
    agent_digest: str
    queue: str
    priority: int
    input: JsonObject
    labels: dict[str, str]
    #: Claims that counted: a resume after a wait, a hand-over or a lost worker is none.
    attempt: int
    max_attempts: int
    #: Leases lost.
    crashes: int
    #: How many times in a row its worker has died, without anything written in between: what is suspected of having
    #: caused that runs alone.
    suspicion: int = 0
    #: Raised by each person's retry; 1 at first.
    round: int
    #: The fencing number: raised by each claim and by whatever takes the task from a worker.
    epoch: int
    #: Number of its last event.
    seq: int
    created_at: datetime
    created_by: str
    run_at: datetime | None = None
    started_at: datetime | None = None
    #: The database's time of the claim that gave this epoch; set on a task that a claim returned, else None.
    claimed_at: datetime | None = None
    finished_at: datetime | None = None
    timeout_seconds: float | None = None
    deadline_at: datetime | None = None
    cancel_requested_at: datetime | None = None
    waiting_for: WaitingFor | None = None
    result: JsonValue = None
    error: TaskError | None = None
    usage: TaskUsage = field(default_factory=TaskUsage)
    idempotency_key: str | None = None
    queue_timeout_seconds: float | None = None
    attempt_timeout_seconds: float | None = None
    concurrency_key: str | None = None
    concurrency_limit: int | None = None
    rate: RateLimit | None = None
    fairness_key: str | None = None
    #: Queued, and held back: its concurrency key is full, or its rate used up.
    blocked: bool = False
    session_id: UUID | None = None
    stream: bool = False
    parent_id: UUID | None = None
    depth: int = 0
    #: Children that have not ended yet.
    pending_children: int = 0
    forked_from: ForkOrigin | None = None
    schedule_id: UUID | None = None
    traceparent: str | None = None
    worker_id: str | None = None
