"""What a client asks for when it submits a task, and what can be wrong with it before its agent is known."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from uuid import UUID

from ops_core.domain.task import QUEUE_NAME, JsonObject, JsonValue, RateLimit
from ops_core.errors import FieldProblem
from ops_core.services.json_shape import json_problem
from ops_core.services.limits import TaskLimits

_QUEUE = re.compile(QUEUE_NAME)
_LABEL_KEY = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._/-]{0,61}[A-Za-z0-9])?")
_TRACEPARENT = re.compile(r"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Submission:
    """A request to run an agent. `goal` is short for `input={"goal": …}`; exactly one of the two is given."""

    agent: str
    input: JsonObject | None = None
    goal: str | None = None
    #: 0 to 9; 9 is claimed first.
    priority: int = 5
    run_at: datetime | None = None
    #: Wall time, waits included; None for the agent's own.
    timeout_seconds: float | None = None
    #: None for the agent's own.
    max_attempts: int | None = None
    #: None for the agent's own.
    queue: str | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    idempotency_key: str | None = None
    #: How long it may wait to be claimed for the first time, from when it is due; None for the agent's own.
    queue_timeout_seconds: float | None = None
    #: How long one claim may run it; None for the agent's own.
    attempt_timeout_seconds: float | None = None
    #: Tasks with this key run at most `concurrency_limit` at once; None for what the agent's rules make.
    concurrency_key: str | None = None
    concurrency_limit: int | None = None
    rate: RateLimit | None = None
    #: Tasks with different keys take turns.
    fairness_key: str | None = None
    session_id: UUID | None = None
    #: Send the model's text to those who watch while it is made.
    stream: bool = False
    traceparent: str | None = None
    #: The schedule that makes it. No door takes it.
    schedule_id: UUID | None = None

    @property
    def effective_input(self) -> JsonObject:
        """The input its agent gets."""
        return {"goal": self.goal} if self.input is None else self.input


def request_hash(submission: Submission) -> str:
    """SHA-256 (hex) of what was asked for, the same through every door; keys and trace context are no part of it."""
    body = {
        "agent": submission.agent,
        "input": canonical(submission.effective_input),
        "priority": submission.priority,
        "run_at": submission.run_at.astimezone(UTC).isoformat() if submission.run_at else None,
        "timeout_seconds": canonical(submission.timeout_seconds),
        "max_attempts": submission.max_attempts,
        "queue": submission.queue,
        "labels": dict(submission.labels),
        "concurrency_key": submission.concurrency_key,
        "fairness_key": submission.fairness_key,
        "session_id": str(submission.session_id) if submission.session_id else None,
    }
    rate = submission.rate
    added_later = {
        "queue_timeout_seconds": canonical(submission.queue_timeout_seconds),
        "attempt_timeout_seconds": canonical(submission.attempt_timeout_seconds),
        "concurrency_limit": submission.concurrency_limit,
        "rate": None if rate is None else [rate.key, rate.limit, canonical(rate.per_seconds)],
        "stream": submission.stream or None,
    }
    # Only where they say something: a request from before there were these fields must keep its hash.
    body |= {name: value for name, value in added_later.items() if value is not None}
    return hashlib.sha256(json.dumps(body, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def canonical(value: JsonValue) -> JsonValue:
    """The value with 2.0 written as 2: protobuf's Struct knows no integers. Requests are compared in this form."""
    match value:
        case float() if value.is_integer():
            return int(value)
        case dict():
            return {key: canonical(item) for key, item in value.items()}
        case list() | tuple():
            return [canonical(item) for item in value]
    return value


def field_problems(submission: Submission, *, limits: TaskLimits, now: datetime) -> list[FieldProblem]:
    """Everything wrong with the submission that can be said without its agent."""
    return [
        *_agent_name_problems(submission),
        *_input_problems(submission, limits),
        *_number_problems(submission, limits),
        *_run_at_problems(submission, limits, now),
        *_queue_problems(submission),
        *_label_problems(submission.labels, limits),
        *_key_problems(submission, limits),
    ]


def _agent_name_problems(submission: Submission) -> Iterator[FieldProblem]:
    if not 0 < len(submission.agent) <= 200 or not submission.agent.isprintable():
        yield FieldProblem("/agent", "must be the name of an agent: 1 to 200 printable characters")


def _input_problems(submission: Submission, limits: TaskLimits) -> Iterator[FieldProblem]:
    if submission.goal is None and submission.input is None:
        yield FieldProblem("/goal", 'is missing: give a goal, such as {"goal": "What is 2 + 2?"}, or an input object')
        return
    if submission.goal is not None and submission.input is not None:
        yield FieldProblem("/goal", 'cannot be given together with an input: goal is short for {"input": {"goal": …}}')
        return
    pointer = "/input" if submission.goal is None else "/goal"
    goal = submission.effective_input.get("goal")
    if isinstance(goal, str):
        goal_pointer = "/input/goal" if submission.goal is None else "/goal"
        if not goal.strip():
            yield FieldProblem(goal_pointer, "must not be empty: say what the agent is to do")
        elif len(goal) > limits.max_goal_chars:
            yield FieldProblem(
                goal_pointer, f"must have at most {limits.max_goal_chars:,} characters, not {len(goal):,}"
            )
            return
    problem = json_problem(
        submission.effective_input,
        max_depth=limits.max_json_depth,
        max_bytes=limits.max_input_bytes,
    )
    if problem is not None:
        # A goal is one string: the place within the input that stands for it would name nothing the client wrote.
        yield FieldProblem(pointer + (problem.pointer if pointer == "/input" else ""), problem.detail)


def _number_problems(submission: Submission, limits: TaskLimits) -> Iterator[FieldProblem]:
    if not 0 <= submission.priority <= 9:
        yield FieldProblem("/priority", f"must be between 0 and 9 (9 runs first), not {submission.priority}")
    for name in ("timeout_seconds", "queue_timeout_seconds", "attempt_timeout_seconds"):
        yield from _duration_problems(f"/{name}", getattr(submission, name), limits)
    attempts = submission.max_attempts
    if attempts is not None and not 1 <= attempts <= limits.max_attempts:
        yield FieldProblem("/max_attempts", f"must be between 1 and {limits.max_attempts}, not {attempts}")


def _duration_problems(pointer: str, seconds: float | None, limits: TaskLimits) -> Iterator[FieldProblem]:
    if seconds is not None and not (math.isfinite(seconds) and 0 < seconds <= limits.max_timeout_seconds):
        yield FieldProblem(
            pointer, f"must be greater than 0 and at most {limits.max_timeout_seconds:,.0f}, not {seconds}"
        )


def _run_at_problems(submission: Submission, limits: TaskLimits, now: datetime) -> Iterator[FieldProblem]:
    run_at = submission.run_at
    if run_at is None:
        return
    if run_at.utcoffset() is None:
        yield FieldProblem("/run_at", "must have a time zone, such as 2030-01-31T09:00:00Z or …+01:00")
        return
    ahead_seconds = (run_at - now) / timedelta(seconds=1)
    if ahead_seconds < -limits.run_at_tolerance_seconds:
        yield FieldProblem("/run_at", f"must not be in the past (it is {_rfc3339(now)} now): leave it out to run now")
    elif ahead_seconds > limits.max_run_ahead_seconds:
        days = limits.max_run_ahead_seconds / 86_400
        yield FieldProblem("/run_at", f"must be within {days:,.0f} days from now")


def _queue_problems(submission: Submission) -> Iterator[FieldProblem]:
    if submission.queue is not None and not _QUEUE.fullmatch(submission.queue):
        yield FieldProblem(
            "/queue", "must be 1 to 63 lower-case letters, digits, `_` or `-`, and begin with a letter or `_`"
        )


def _label_problems(labels: Mapping[str, str], limits: TaskLimits) -> Iterator[FieldProblem]:
    if len(labels) > limits.max_labels:
        yield FieldProblem("/labels", f"must be at most {limits.max_labels}, not {len(labels)}")
        return
    for key, value in labels.items():
        pointer = "/labels/" + key[:80].replace("~", "~0").replace("/", "~1")
        if not _LABEL_KEY.fullmatch(key):
            yield FieldProblem(
                pointer,
                "has a name that is not allowed: 1 to 63 letters, digits, `.`, `_`, `-` or `/`, "
                "beginning and ending with a letter or digit",
            )
        elif len(value) > limits.max_label_chars or not value.isprintable():
            yield FieldProblem(pointer, f"must have at most {limits.max_label_chars} characters, all of them printable")


def _key_problems(submission: Submission, limits: TaskLimits) -> Iterator[FieldProblem]:
    yield from idempotency_key_problems(submission.idempotency_key, limits)
    rate = submission.rate
    for pointer, key in (
        ("/concurrency_key", submission.concurrency_key),
        ("/fairness_key", submission.fairness_key),
        ("/rate/key", None if rate is None else rate.key),
    ):
        if key is not None and not (0 < len(key) <= limits.max_limit_key_chars and key.isprintable()):
            yield FieldProblem(
                pointer, f"must be 1 to {limits.max_limit_key_chars} printable characters, not {len(key):,}"
            )
    for pointer, most in (
        ("/concurrency_limit", submission.concurrency_limit),
        ("/rate/limit", None if rate is None else rate.limit),
    ):
        if most is not None and not 1 <= most <= limits.max_key_limit:
            yield FieldProblem(pointer, f"must be between 1 and {limits.max_key_limit:,}, not {most}")
    if rate is not None:
        yield from _duration_problems("/rate/per_seconds", rate.per_seconds, limits)
    if submission.traceparent is not None and not is_traceparent(submission.traceparent):
        yield FieldProblem("/traceparent", "must be a W3C traceparent, version 00")


def idempotency_key_problems(key: str | None, limits: TaskLimits) -> Iterator[FieldProblem]:
    """What is wrong with a client's idempotency key."""
    if key is not None and not (0 < len(key) <= limits.max_key_chars and key.isascii() and key.isprintable()):
        yield FieldProblem("/idempotency_key", f"must be 1 to {limits.max_key_chars} printable ASCII characters")


def is_traceparent(text: str) -> bool:
    """Whether the text is a W3C trace context `traceparent` of version 00."""
    return _TRACEPARENT.fullmatch(text) is not None


def _rfc3339(when: datetime) -> str:
    return when.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
