"""The tables of tasks and of what happened to them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, Index, SmallInteger, Text, desc, text
from sqlmodel import Field

from ops_core.domain.task import FINAL, LIVE, JsonObject, JsonValue, TaskStatus
from ops_core.storage.column_types import SearchableJson, UtcTime, VerbatimJson
from ops_core.storage.schema.base import BUSY_TABLE, GROWING_TABLE, Stored, table_of


def one_of(statuses: frozenset[TaskStatus]) -> str:
    return "(" + ", ".join(f"'{status}'" for status in sorted(statuses)) + ")"


#: Conditions of the indexes by which the few are listed among the many that have completed; a query that repeats one
#: word by word can use its index.
IS_LIVE = f"status IN {one_of(LIVE)}"
IS_LET_IN_BY_RATE = "status = 'queued' AND NOT blocked AND rate_key IS NOT NULL"
IS_UNHAPPY = f"status IN {one_of(FINAL - {TaskStatus.completed})}"

#: What is true of each row, by name. Only SQLite checks it: PostgreSQL reads the text of a check anew in each statement
#: that writes, which for these took a third of the processor time of a small one. The tests add them there too.
TASK_RULES = {
    "status_known": f"status IN {one_of(frozenset(TaskStatus))}",
    "priority_in_range": "priority BETWEEN 0 AND 9",
    "attempts_sane": "max_attempts >= 1 AND attempt >= 0 AND crashes >= 0",
    "counters_sane": "round >= 1 AND epoch >= 0 AND seq >= 0",
    "pending_children_sane": "pending_children >= 0",
    "timeout_positive": "timeout_seconds IS NULL OR timeout_seconds > 0",
    "finished_iff_final": f"(finished_at IS NOT NULL) = (status IN {one_of(FINAL)})",
    "running_is_leased": "status <> 'running' OR (lease_expires_at IS NOT NULL AND worker_id IS NOT NULL)",
    "scheduled_has_time": "status <> 'scheduled' OR run_at IS NOT NULL",
    "waiting_for_something": "status <> 'waiting' OR waiting_for IS NOT NULL",
    "queued_is_rung": "status <> 'queued' OR rung_at IS NOT NULL",
    "failed_has_error": "status <> 'failed' OR error IS NOT NULL",
    "key_has_hash": "idempotency_key IS NULL OR request_hash IS NOT NULL",
}
EVENT_RULES = {
    "step_has_phase": "(step_key IS NULL) = (phase IS NULL)",
    "one_payload": "(payload IS NULL) <> (payload_blob IS NULL)",
}


def checked(rules: Mapping[str, str]) -> list[CheckConstraint]:
    return [CheckConstraint(rule, name=name).ddl_if(dialect="sqlite") for name, rule in rules.items()]


class TaskRow(Stored, table=True):
    """A task. The first columns never change after the insert; the others belong to whoever holds the row's lock."""

    __tablename__ = "tasks"
    __table_args__ = (
        *checked(TASK_RULES),
        # Best first, per queue: the claim's own index. `blocked` is a column of it and not of its condition, so that a
        # version that does not know of keys can use it too.
        Index(
            "ix_tasks_claimable",
            "queue",
            "blocked",
            desc("priority"),
            "rank",
            "id",
            postgresql_where=text("status = 'queued'"),
            sqlite_where=text("status = 'queued'"),
        ),
        # Who is next when a concurrency key or a rate lets somebody in.
        Index(
            "ix_tasks_blocked_by_concurrency",
            "namespace",
            "concurrency_key",
            desc("priority"),
            "rank",
            "id",
            postgresql_where=text("blocked AND concurrency_key IS NOT NULL"),
            sqlite_where=text("blocked AND concurrency_key IS NOT NULL"),
        ),
        Index(
            "ix_tasks_blocked_by_rate",
            "namespace",
            "rate_key",
            desc("priority"),
            "rank",
            "id",
            postgresql_where=text("blocked AND rate_key IS NOT NULL"),
            sqlite_where=text("blocked AND rate_key IS NOT NULL"),
        ),
        # Those that a rate has let in and that nobody has claimed yet.
        Index(
            "ix_tasks_let_in_by_rate",
            "namespace",
            "rate_key",
            postgresql_where=text(IS_LET_IN_BY_RATE),
            sqlite_where=text(IS_LET_IN_BY_RATE),
        ),
        Index(
            "ix_tasks_queue_deadline",
            "queue_deadline_at",
            postgresql_where=text("queue_deadline_at IS NOT NULL AND status = 'queued' AND attempt = 0"),
            sqlite_where=text("queue_deadline_at IS NOT NULL AND status = 'queued' AND attempt = 0"),
        ),
        Index(
            "ix_tasks_input_blob",
            "namespace",
            "input_blob",
            postgresql_where=text("input_blob IS NOT NULL"),
            sqlite_where=text("input_blob IS NOT NULL"),
        ),
        Index(
            "ix_tasks_result_blob",
            "namespace",
            "result_blob",
            postgresql_where=text("result_blob IS NOT NULL"),
            sqlite_where=text("result_blob IS NOT NULL"),
        ),
        Index(
            "ix_tasks_scheduled",
            "run_at",
            postgresql_where=text("status = 'scheduled'"),
            sqlite_where=text("status = 'scheduled'"),
        ),
        Index(
            "ix_tasks_to_wake",
            "wake_at",
            postgresql_where=text("status = 'waiting'"),
            sqlite_where=text("status = 'waiting'"),
        ),
        # By id and not by lease: a heartbeat must touch no indexed column, or its update is never HOT.
        Index(
            "ix_tasks_running",
            "id",
            postgresql_where=text("status = 'running'"),
            sqlite_where=text("status = 'running'"),
        ),
        Index(
            "ix_tasks_deadline",
            "deadline_at",
            postgresql_where=text("deadline_at IS NOT NULL AND status IN ('scheduled', 'queued', 'waiting')"),
            sqlite_where=text("deadline_at IS NOT NULL AND status IN ('scheduled', 'queued', 'waiting')"),
        ),
        Index(
            "uq_tasks_idempotency_key",
            "namespace",
            "idempotency_key",
            unique=True,
            postgresql_where=text("idempotency_key IS NOT NULL"),
            sqlite_where=text("idempotency_key IS NOT NULL"),
        ),
        Index(
            "uq_tasks_child",
            "parent_id",
            "parent_round",
            "parent_step_key",
            unique=True,
            postgresql_where=text("parent_id IS NOT NULL"),
            sqlite_where=text("parent_id IS NOT NULL"),
        ),
        Index("ix_tasks_newest", "namespace", desc("created_at"), desc("id")),
        Index(
            "ix_tasks_newest_live",
            "namespace",
            desc("created_at"),
            desc("id"),
            postgresql_where=text(IS_LIVE),
            sqlite_where=text(IS_LIVE),
        ),
        Index(
            "ix_tasks_newest_unhappy",
            "namespace",
            desc("created_at"),
            desc("id"),
            postgresql_where=text(IS_UNHAPPY),
            sqlite_where=text(IS_UNHAPPY),
        ),
        {"postgresql_with": BUSY_TABLE},
    )

    id: UUID = Field(primary_key=True)
    namespace: str = Field(sa_type=Text, sa_column_kwargs={"server_default": "default"})
    kind: str = Field(sa_type=Text)
    agent: str = Field(sa_type=Text)
    agent_digest: str = Field(sa_type=Text)
    queue: str = Field(sa_type=Text)
    priority: int = Field(sa_type=SmallInteger)
    input: JsonObject | None = Field(sa_type=VerbatimJson, nullable=True)
    #: Set instead of `input` when that is long; so too for the other `_blob` columns.
    input_blob: str | None = Field(sa_type=Text, nullable=True)
    labels: dict[str, str] = Field(sa_type=SearchableJson, nullable=False)
    max_attempts: int
    timeout_seconds: float | None
    idempotency_key: str | None = Field(sa_type=Text)
    request_hash: str | None = Field(sa_type=Text)
    concurrency_key: str | None = Field(sa_type=Text)
    fairness_key: str | None = Field(sa_type=Text)
    session_id: UUID | None
    parent_id: UUID | None
    parent_round: int | None
    parent_step_key: str | None = Field(sa_type=Text)
    depth: int = Field(sa_type=SmallInteger, sa_column_kwargs={"server_default": "0"})
    #: Of the first wait for a claim only; `queue_deadline_at` is made of it when the task is added.
    queue_timeout_seconds: float | None
    attempt_timeout_seconds: float | None
    concurrency_limit: int | None
    rate_key: str | None = Field(sa_type=Text)
    rate_limit: int | None
    rate_seconds: float | None
    stream: bool = Field(sa_column_kwargs={"server_default": text("false")})
    forked_from_id: UUID | None
    forked_from_round: int | None
    forked_before_step: int | None
    schedule_id: UUID | None
    traceparent: str | None = Field(sa_type=Text)
    created_at: datetime = Field(sa_type=UtcTime)
    created_by: str = Field(sa_type=Text)

    status: str = Field(sa_type=Text)
    attempt: int = Field(sa_column_kwargs={"server_default": "0"})
    crashes: int = Field(sa_column_kwargs={"server_default": "0"})
    #: How many times in a row its worker has died, without anything written in between.
    suspicion: int = Field(sa_column_kwargs={"server_default": "0"})
    round: int = Field(sa_column_kwargs={"server_default": "1"})
    epoch: int = Field(sa_column_kwargs={"server_default": "0"})
    #: Number of the last event.
    seq: int = Field(sa_column_kwargs={"server_default": "0"})
    #: The next claim goes on where a worker stopped, and counts no attempt.
    resuming: bool = Field(sa_column_kwargs={"server_default": text("false")})
    pending_children: int = Field(sa_column_kwargs={"server_default": "0"})
    #: Queued, and held back by its concurrency key or its rate.
    blocked: bool = Field(sa_column_kwargs={"server_default": text("false")})
    #: It has a place of its concurrency key: it is queued and let in, or runs.
    holds_key: bool = Field(sa_column_kwargs={"server_default": text("false")})
    #: Virtual time of its fairness key: the lower is claimed first. 0 for tasks without a key.
    rank: int = Field(sa_type=BigInteger, sa_column_kwargs={"server_default": "0"})
    queue_deadline_at: datetime | None = Field(sa_type=UtcTime)
    run_at: datetime | None = Field(sa_type=UtcTime)
    wake_at: datetime | None = Field(sa_type=UtcTime)
    #: When whoever made it claimable last meant to ring; written with the change itself, never after it.
    rung_at: datetime | None = Field(sa_type=UtcTime)
    started_at: datetime | None = Field(sa_type=UtcTime)
    finished_at: datetime | None = Field(sa_type=UtcTime)
    deadline_at: datetime | None = Field(sa_type=UtcTime)
    cancel_requested_at: datetime | None = Field(sa_type=UtcTime)
    waiting_for: str | None = Field(sa_type=Text)
    result: JsonValue = Field(sa_type=VerbatimJson, nullable=True)
    result_blob: str | None = Field(sa_type=Text)
    error: JsonObject | None = Field(sa_type=VerbatimJson, nullable=True)
    usage: JsonObject | None = Field(sa_type=VerbatimJson, nullable=True)
    worker_id: str | None = Field(sa_type=Text)
    #: Names the claim statement that took it, so that a claim whose answer was lost can be found again.
    claim_token: UUID | None
    lease_expires_at: datetime | None = Field(sa_type=UtcTime)


class EventRow(Stored, table=True):
    """One entry of a task's log. No foreign key: the table can be partitioned by the task's time-ordered id."""

    __tablename__ = "task_events"
    __table_args__ = (
        *checked(EVENT_RULES),
        Index(
            "uq_task_events_step",
            "task_id",
            "round",
            "step_key",
            "phase",
            unique=True,
            postgresql_where=text("step_key IS NOT NULL"),
            sqlite_where=text("step_key IS NOT NULL"),
        ),
        Index(
            "ix_task_events_payload_blob",
            "namespace",
            "payload_blob",
            postgresql_where=text("payload_blob IS NOT NULL"),
            sqlite_where=text("payload_blob IS NOT NULL"),
        ),
        {"postgresql_with": GROWING_TABLE},
    )

    task_id: UUID = Field(primary_key=True)
    seq: int = Field(primary_key=True, sa_column_kwargs={"autoincrement": False})
    #: The task's: whoever may read only one namespace can be held to it by the row itself.
    namespace: str = Field(sa_type=Text, sa_column_kwargs={"server_default": "default"})
    round: int
    type: str = Field(sa_type=Text)
    step_key: str | None = Field(sa_type=Text)
    phase: str | None = Field(sa_type=Text)
    #: Version of the payload's form.
    format: int = Field(sa_type=SmallInteger)
    at: datetime = Field(sa_type=UtcTime)
    payload: JsonObject | None = Field(sa_type=VerbatimJson, nullable=True)
    payload_blob: str | None = Field(sa_type=Text)


class TextDeltaRow(Stored, table=True):
    """The text of a step that a model is writing, so far. Gone when the step is recorded."""

    __tablename__ = "task_deltas"

    task_id: UUID = Field(primary_key=True)
    step_key: str = Field(primary_key=True, sa_type=Text)
    epoch: int
    body: str = Field(sa_type=Text)
    at: datetime = Field(sa_type=UtcTime)


tasks = table_of(TaskRow)
task_events = table_of(EventRow)
task_deltas = table_of(TextDeltaRow)
