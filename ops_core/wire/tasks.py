"""Tasks as JSON: what clients send, and what they get."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, NoReturn
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, StrictBool, StrictInt, StrictStr

from ops_core.domain.task import (
    RateLimit,
    RetryFrom,
    Task,
    TaskError,
    TaskKind,
    TaskStatus,
    TaskUsage,
    WaitingFor,
)
from ops_core.errors import FieldProblem, InvalidInput
from ops_core.services.submission import Submission
from ops_core.services.tasks import Submitted, TaskFilter, TaskPage
from ops_core.wire.choices import members_of
from ops_core.wire.times import TimeIn, TimeOut

#: What a client writes: an unknown field is a mistake that it must hear of.
REQUEST = ConfigDict(extra="forbid")
#: What a client reads: a newer server may say more.
RESPONSE = ConfigDict(extra="ignore", from_attributes=True)

SUBMIT_EXAMPLE: dict[str, Any] = {"agent": "assistant", "goal": "What is 17 * 23?"}
SUBMIT_FULL_EXAMPLE: dict[str, Any] = {
    "agent": "assistant",
    "input": {"goal": "Summarise yesterday's tickets", "language": "en"},
    "priority": 7,
    "run_at": "2030-01-31T09:00:00Z",
    "timeout_seconds": 3600,
    "max_attempts": 3,
    "queue": "default",
    "labels": {"team": "support"},
    "concurrency_key": "acme",
    "concurrency_limit": 3,
    "rate": {"key": "acme", "limit": 100, "per_seconds": 60},
    "fairness_key": "acme",
}
TASK_ID_EXAMPLE = "019375b6-3c00-7b5a-9d2e-5f6a7b8c9d0e"
TASK_EXAMPLE: dict[str, Any] = {
    "id": TASK_ID_EXAMPLE,
    "namespace": "default",
    "kind": "agent",
    "status": "completed",
    "agent": "assistant",
    "agent_digest": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    "queue": "default",
    "priority": 5,
    "input": {"goal": "What is 17 * 23?"},
    "labels": {},
    "attempt": 1,
    "max_attempts": 3,
    "crashes": 0,
    "round": 1,
    "seq": 7,
    "created_at": "2026-11-21T10:00:00.120000Z",
    "created_by": "anonymous",
    "run_at": None,
    "started_at": "2026-11-21T10:00:00.131000Z",
    "finished_at": "2026-11-21T10:00:01.502000Z",
    "timeout_seconds": None,
    "deadline_at": None,
    "cancel_requested_at": None,
    "waiting_for": None,
    "result": {"answer": "17 * 23 = 391", "output": None},
    "error": None,
    "usage": {
        "steps": 2,
        "tool_calls": 1,
        "input_tokens": 512,
        "output_tokens": 48,
        "cached_input_tokens": 0,
        "reasoning_tokens": 0,
        "active_seconds": 1.2,
    },
    "idempotency_key": None,
    "queue_timeout_seconds": None,
    "attempt_timeout_seconds": None,
    "concurrency_key": None,
    "concurrency_limit": None,
    "rate": None,
    "fairness_key": None,
    "blocked": False,
    "stream": False,
    "parent_id": None,
    "depth": 0,
    "pending_children": 0,
    "forked_from": None,
    "schedule_id": None,
    "traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
    "worker_id": "host-1:4242:0",
}


_Seconds = Annotated[FiniteFloat, Field(strict=True)]


class RateIn(BaseModel):
    """So many starts in so much time, for all tasks with one key."""

    model_config = REQUEST

    key: StrictStr = Field(description="At most 256 characters.")
    limit: StrictInt = Field(description="1 to 100,000.")
    per_seconds: _Seconds = Field(description="More than 0, at most a year.")

    def to_domain(self) -> RateLimit:
        return RateLimit(key=self.key, limit=self.limit, per_seconds=self.per_seconds)


class TaskIn(BaseModel):
    """A request to run an agent: `agent`, and either `goal` or `input`."""

    model_config = ConfigDict(**REQUEST, json_schema_extra={"examples": [SUBMIT_EXAMPLE, SUBMIT_FULL_EXAMPLE]})

    agent: StrictStr = Field(description="Name of the agent.")
    goal: StrictStr | None = Field(default=None, description='Short for `"input": {"goal": …}`.')
    input: dict[str, Any] | None = Field(default=None, description="What the agent's input schema asks for.")
    priority: StrictInt = Field(default=5, description="0 to 9; 9 runs first.")
    run_at: TimeIn | None = Field(default=None, description="Not before this time; with a zone. Left out: now.")
    timeout_seconds: _Seconds | None = Field(
        default=None, description="Wall time for the whole task, waits included. Left out: the agent's own."
    )
    queue_timeout_seconds: _Seconds | None = Field(
        default=None, description="How long it may wait for its first start once it is due. Left out: the agent's own."
    )
    attempt_timeout_seconds: _Seconds | None = Field(
        default=None, description="How long one attempt may take. Left out: the agent's own."
    )
    max_attempts: StrictInt | None = Field(default=None, description="1 to 100. Left out: the agent's own.")
    queue: StrictStr | None = Field(default=None, description="Left out: the agent's own.")
    labels: dict[str, StrictStr] = Field(default_factory=dict, description="At most 32; lists can be filtered by them.")
    concurrency_key: StrictStr | None = Field(
        default=None,
        description="Tasks with the same key run at most `concurrency_limit` at once. At most 256 characters. "
        "Left out: the agent's own.",
    )
    concurrency_limit: StrictInt | None = Field(
        default=None, description="1 to 100,000; goes with the key. Left out: the agent's own."
    )
    rate: RateIn | None = Field(
        default=None, description="How many tasks with a key may start in a time. Left out: the agent's own."
    )
    fairness_key: StrictStr | None = Field(
        default=None,
        description="Tasks with different keys take turns in their queue, however many each has. Left out: the "
        "agent's own.",
    )
    stream: StrictBool = Field(
        default=False, description="Send the model's text to those who watch the task while it is made."
    )
    idempotency_key: StrictStr | None = Field(
        default=None, description="The same key with the same request gives the first task again. Also as a header."
    )

    def to_submission(self, *, idempotency_key: str | None = None, traceparent: str | None = None) -> Submission:
        """The submission it asks for; a key of its own comes before the one given here."""
        return Submission(
            agent=self.agent,
            input=self.input,
            goal=self.goal,
            priority=self.priority,
            run_at=self.run_at,
            timeout_seconds=self.timeout_seconds,
            max_attempts=self.max_attempts,
            queue=self.queue,
            labels=self.labels,
            queue_timeout_seconds=self.queue_timeout_seconds,
            attempt_timeout_seconds=self.attempt_timeout_seconds,
            concurrency_key=self.concurrency_key,
            concurrency_limit=self.concurrency_limit,
            rate=None if self.rate is None else self.rate.to_domain(),
            fairness_key=self.fairness_key,
            stream=self.stream,
            idempotency_key=idempotency_key if self.idempotency_key is None else self.idempotency_key,
            traceparent=traceparent,
        )


class BatchIn(BaseModel):
    """Several tasks to submit with one request."""

    model_config = ConfigDict(
        **REQUEST, json_schema_extra={"examples": [{"tasks": [SUBMIT_EXAMPLE, SUBMIT_FULL_EXAMPLE]}]}
    )

    tasks: list[TaskIn]


class RetryIn(BaseModel):
    """Where a retry starts."""

    model_config = ConfigDict(
        **REQUEST,
        populate_by_name=True,
        json_schema_extra={"examples": [{"from": "journal"}, {"from": "scratch"}, {"from": "step", "step": 3}]},
    )

    retry_from: RetryFrom = Field(
        default=RetryFrom.journal,
        alias="from",
        description="`journal`: finished steps are kept, the run goes on after them. `step`: steps before `step` are "
        "kept, that one and what followed is done anew. `scratch`: everything anew.",
    )
    step: StrictInt | None = Field(default=None, description="With `step`: the first one to be done anew, from 1 on.")


class ErrorOut(BaseModel):
    """Why a task failed."""

    model_config = RESPONSE

    code: str
    message: str
    retryable: bool
    evidence: dict[str, Any] | None = Field(
        default=None, description="What was found where the task was quarantined: exit status, signal, last output."
    )

    def to_domain(self) -> TaskError:
        return TaskError(code=self.code, message=self.message, retryable=self.retryable, evidence=self.evidence)


class UsageOut(BaseModel):
    """What a task has used in its round."""

    model_config = RESPONSE

    steps: int = 0
    tool_calls: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cached_input_tokens: int = 0
    reasoning_tokens: int = 0
    active_seconds: float = 0.0

    def to_domain(self) -> TaskUsage:
        return TaskUsage(**self.model_dump())


class RateOut(BaseModel):
    """So many starts in so much time, for all tasks with one key."""

    model_config = RESPONSE

    key: str
    limit: int
    per_seconds: float


class ForkOriginOut(BaseModel):
    """Where a fork comes from."""

    model_config = RESPONSE

    task_id: UUID = Field(description="The finished task.")
    round: int = Field(description="The round whose steps were taken over.")
    before_step: int = Field(description="Steps before this one were taken over.")


class TaskOut(BaseModel):
    """A task as it stood when it was read."""

    model_config = ConfigDict(**RESPONSE, json_schema_extra={"examples": [TASK_EXAMPLE]})

    id: UUID
    namespace: str
    kind: TaskKind
    status: TaskStatus
    agent: str
    agent_digest: str = Field(description="Version of the agent that the task is pinned to.")
    queue: str
    priority: int
    input: dict[str, Any]
    labels: dict[str, str]
    attempt: int = Field(description="Claims that counted; a resume after a wait is none.")
    max_attempts: int
    crashes: int = Field(description="How often a worker was lost while it ran the task.")
    round: int = Field(description="1 at first; raised by each retry that a person asks for.")
    seq: int = Field(description="Number of its last event.")
    created_at: TimeOut
    created_by: str
    run_at: TimeOut | None = None
    started_at: TimeOut | None = None
    finished_at: TimeOut | None = None
    timeout_seconds: float | None = None
    deadline_at: TimeOut | None = None
    cancel_requested_at: TimeOut | None = None
    waiting_for: WaitingFor | None = Field(default=None, description="While it waits.")
    result: Any = None
    error: ErrorOut | None = None
    usage: UsageOut = Field(default_factory=UsageOut)
    idempotency_key: str | None = None
    queue_timeout_seconds: float | None = None
    attempt_timeout_seconds: float | None = None
    concurrency_key: str | None = None
    concurrency_limit: int | None = None
    rate: RateOut | None = None
    fairness_key: str | None = None
    blocked: bool = Field(
        default=False, description="Queued and held back: its concurrency key is full, or its rate used up."
    )
    stream: bool = False
    parent_id: UUID | None = Field(default=None, description="The task that called it.")
    depth: int = Field(default=0, description="0 for a client's task, one more for each parent above.")
    pending_children: int = Field(default=0, description="Tasks it has called that have not ended yet.")
    forked_from: ForkOriginOut | None = None
    schedule_id: UUID | None = Field(default=None, description="The schedule that added it.")
    traceparent: str | None = None
    worker_id: str | None = None

    @staticmethod
    def from_domain(task: Task) -> TaskOut:
        return TaskOut.model_validate(task)


class TaskPageOut(BaseModel):
    """Some tasks, in the order of their list."""

    model_config = ConfigDict(
        **RESPONSE, json_schema_extra={"examples": [{"data": [TASK_EXAMPLE], "next_cursor": None}]}
    )

    data: list[TaskOut]
    next_cursor: str | None = Field(description="Ask for the next page with it; null at the end of the list.")

    @staticmethod
    def from_domain(page: TaskPage) -> TaskPageOut:
        return TaskPageOut(data=[TaskOut.from_domain(task) for task in page.tasks], next_cursor=page.next_cursor)


class TaskListOut(BaseModel):
    """Tasks that belong together, all on one page."""

    model_config = ConfigDict(
        **RESPONSE, json_schema_extra={"examples": [{"data": [TASK_EXAMPLE], "next_cursor": None}]}
    )

    data: list[TaskOut]
    next_cursor: str | None = None

    @staticmethod
    def from_domain(tasks: Sequence[Task]) -> TaskListOut:
        return TaskListOut(data=[TaskOut.from_domain(task) for task in tasks])


class ChildrenQueryIn(BaseModel):
    """The query of a task's children."""

    model_config = REQUEST

    limit: int = Field(default=200, description="1 to 200.")
    cursor: str | None = Field(default=None, description="`next_cursor` of the page before.")


class BatchOut(BaseModel):
    """What became of a batch, in its order."""

    model_config = ConfigDict(**RESPONSE, json_schema_extra={"examples": [{"data": [TASK_EXAMPLE], "replayed": []}]})

    data: list[TaskOut]
    replayed: list[UUID] = Field(description="Those of them that were there before, known by their idempotency key.")

    @staticmethod
    def from_domain(submitted: Sequence[Submitted]) -> BatchOut:
        return BatchOut(
            data=[TaskOut.from_domain(one.task) for one in submitted],
            replayed=[one.task.id for one in submitted if one.replayed],
        )


class TaskQueryIn(BaseModel):
    """The query of a list of tasks."""

    model_config = REQUEST

    status: list[str] = Field(default_factory=list, description="Repeated or separated by commas.")
    agent: str | None = None
    queue: str | None = None
    label: list[str] = Field(default_factory=list, description="`key:value`; repeated, all must be there.")
    created_after: TimeIn | None = Field(default=None, description="With a zone.")
    created_before: TimeIn | None = Field(default=None, description="With a zone.")
    id_prefix: str | None = Field(default=None, description="How the id begins.")
    limit: int = Field(default=50, description="1 to 200.")
    cursor: str | None = Field(default=None, description="`next_cursor` of the page before, with the same filters.")

    def to_filter(self) -> TaskFilter:
        """The filter it asks for.

        Raises:
            InvalidInput: a status that there is not, or a label without a colon.
        """
        return TaskFilter(
            statuses=frozenset(members_of(TaskStatus, self.status, name="status")),
            agent=self.agent,
            queue=self.queue,
            labels=dict(map(_label, self.label)),
            created_after=self.created_after,
            created_before=self.created_before,
            id_prefix=self.id_prefix,
        )


def _label(given: str) -> tuple[str, str]:
    key, colon, value = given.partition(":")
    if not colon:
        _refuse("label", "must be a name and a value with a colon between them, such as team:support")
    return key, value


def _refuse(name: str, detail: str) -> NoReturn:
    raise InvalidInput(f"`{name}` {detail}.", problems=[FieldProblem(f"/{name}", detail)])


class WaitQueryIn(BaseModel):
    """The query of an operation that can wait for the task."""

    model_config = REQUEST

    wait: FiniteFloat | None = Field(
        default=None, description="Wait this many seconds for the task to finish; then answer with it as it is."
    )


class TimeoutQueryIn(BaseModel):
    """The query of a wait."""

    model_config = REQUEST

    timeout: FiniteFloat | None = Field(
        default=None, description="Seconds to wait at most. Left out: 30, or what the server allows."
    )


class EventsQueryIn(BaseModel):
    """The query of a task's events."""

    model_config = REQUEST

    after: int = Field(default=0, description="Only events with a greater `seq`.")
    limit: int = Field(default=200, description="1 to 1,000; of no meaning to a stream.")
