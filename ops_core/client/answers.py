"""What the server answers, read leniently: a newer server may say more than this client knows, and nothing is lost."""

from __future__ import annotations

from datetime import datetime
from typing import Any, TypeVar
from uuid import UUID

from pydantic import BaseModel, ConfigDict, ValidationError

from ops_core.client.errors import AnswerNotUnderstood
from ops_core.domain.task import JsonObject, JsonValue, TaskStatus, WaitingFor

#: Waits that end by themselves.
_BY_ITSELF = frozenset({WaitingFor.timer, WaitingFor.children})
_Answer = TypeVar("_Answer", bound="Answer")


class Answer(BaseModel):
    """Any JSON object of the API. Fields that are not named here are kept, and come out again in `as_json`."""

    model_config = ConfigDict(extra="allow", frozen=True)

    def as_json(self) -> JsonObject:
        """The object as the server sent it."""
        return self.model_dump(mode="json", exclude_unset=True)


class ErrorAnswer(Answer):
    """Why a task failed."""

    code: str = "unknown"
    message: str = ""
    retryable: bool = False


class Task(Answer):
    """A task as it stood when the server answered."""

    id: UUID
    status: TaskStatus
    agent: str
    queue: str = "default"
    input: JsonObject = {}
    labels: dict[str, str] = {}
    attempt: int = 0
    max_attempts: int = 1
    #: Workers lost.
    crashes: int = 0
    round: int = 1
    #: Number of its last event.
    seq: int = 0
    created_at: datetime | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None
    run_at: datetime | None = None
    waiting_for: str | None = None
    #: Queued and held back: its concurrency key is full, or its rate used up.
    blocked: bool = False
    #: The task that called it.
    parent_id: UUID | None = None
    #: Tasks it has called that have not ended yet.
    pending_children: int = 0
    #: The finished task it was forked from, and from where.
    forked_from: JsonObject | None = None
    #: Who runs it, or ran it last.
    worker_id: str | None = None
    result: JsonValue = None
    error: ErrorAnswer | None = None
    usage: JsonObject | None = None

    @property
    def waits_for_somebody(self) -> bool:
        """Whether nothing will happen until somebody outside acts. Timers and child tasks come by themselves."""
        return self.status is TaskStatus.waiting and self.waiting_for not in _BY_ITSELF


class Vote(Answer):
    """One person's decision about an approval."""

    decision: str
    by: str
    at: datetime | None = None
    reason: str | None = None
    arguments: JsonObject | None = None
    response: JsonValue = None


class Approval(Answer):
    """A question to people and all that was said to it. Words stay text: a newer server may have more of them."""

    id: UUID
    task_id: UUID
    status: str
    agent: str
    reason: str
    message: str = ""
    tool: str | None = None
    #: Exactly what the tool would be called with.
    arguments: JsonObject | None = None
    arguments_schema: JsonObject | None = None
    response_schema: JsonObject | None = None
    #: What can be said.
    allowed: list[str] = []
    #: Who may decide now; empty for everybody who may decide at all.
    groups: list[str] = []
    required: int = 1
    created_at: datetime | None = None
    expires_at: datetime | None = None
    decided_at: datetime | None = None
    votes: list[Vote] = []


class Signal(Answer):
    """A signal as it is kept."""

    id: UUID
    name: str
    payload: JsonValue = None
    sent_by: str = ""
    sent_at: datetime | None = None
    #: The step that took it; None until one waits for it.
    taken_by: str | None = None


class Schedule(Answer):
    """A schedule as it stands."""

    name: str
    cron: str
    timezone: str
    submission: JsonObject = {}
    catch_up: str = "one"
    paused: bool = False
    next_at: datetime | None = None
    last_at: datetime | None = None
    last_task_id: UUID | None = None
    #: Why its last time made no task.
    last_error: str | None = None
    version: int = 1


class Queue(Answer):
    """What a queue has and wants."""

    name: str
    #: Tasks that could be claimed now.
    ready: int = 0
    running: int = 0
    #: Worker processes that serve it.
    workers: int = 0
    slots: int = 0
    free: int = 0
    oldest_ready_seconds: float | None = None
    #: Slots that its tasks could use at once.
    wanted_slots: int = 0
    #: Counting ended at its bound: there may be more ready.
    wanted_slots_capped: bool = False


class Event(Answer):
    """One entry of a task's log. `type` stays text: a newer server may have more of them."""

    seq: int
    type: str
    at: datetime | None = None
    step_key: str | None = None
    payload: JsonObject = {}


class TextDelta(Answer):
    """A piece of the text that a model is writing. The step's event, with all of it, comes when it is done."""

    step_key: str
    #: A higher one begins the step's text anew.
    epoch: int
    #: Characters of the step's text before this piece.
    offset: int
    text: str


class Agent(Answer):
    """A registered agent."""

    name: str
    description: str = ""


def parsed(kind: type[_Answer], body: Any) -> _Answer:
    """Raises:
    AnswerNotUnderstood: the JSON is not what the API promises.
    """
    try:
        return kind.model_validate(body)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"])) or "whole"
        detail = f"the answer is not a {kind.__name__.lower()} of the API ({where}: {first['msg']})"
        raise AnswerNotUnderstood(detail) from error


def parsed_time(value: Any) -> datetime:
    """Raises:
    AnswerNotUnderstood: the JSON is not a time.
    """
    try:
        return datetime.fromisoformat(value)
    except (TypeError, ValueError) as error:
        raise AnswerNotUnderstood(f"the answer holds {value!r} where a time should be") from error


def items_of(body: Any) -> list[Any]:
    """The items of a page.

    Raises:
        AnswerNotUnderstood: it is no page.
    """
    if isinstance(body, dict) and isinstance(body.get("data"), list):
        return list(body["data"])
    raise AnswerNotUnderstood("the answer is not a page of a list")
