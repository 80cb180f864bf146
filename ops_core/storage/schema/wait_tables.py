"""The tables of what tasks wait for."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from sqlalchemy import CheckConstraint, Index, Text, desc, text
from sqlmodel import Field

from ops_core.domain.task import JsonObject, JsonValue
from ops_core.storage.column_types import SearchableJson, UtcTime, VerbatimJson
from ops_core.storage.schema.base import Stored, table_of


class WaitRow(Stored, table=True):
    """Something that a task waits for. Gone once there is an answer, or the task ends; the log keeps both."""

    __tablename__ = "waits"

    task_id: UUID = Field(primary_key=True)
    step_key: str = Field(primary_key=True, sa_type=Text)
    namespace: str = Field(sa_type=Text)
    round: int
    #: approval, input, signal, timer or child.
    kind: str = Field(sa_type=Text)
    #: Of the signal.
    name: str | None = Field(sa_type=Text)
    #: When it is answered by the clock; the earliest of a task's is its `wake_at`.
    expires_at: datetime | None = Field(sa_type=UtcTime)
    #: As in the intent, which its answer repeats.
    fingerprint: str | None = Field(sa_type=Text)
    since: datetime = Field(sa_type=UtcTime)


class ApprovalRow(Stored, table=True):
    """A question to people. Outlives its task: no foreign key."""

    __tablename__ = "approvals"
    __table_args__ = (
        CheckConstraint("(decided_at IS NOT NULL) = (status <> 'pending')", name="decided_iff_not_pending"),
        Index("uq_approvals_step", "task_id", "round", "step_key", unique=True),
        Index("ix_approvals_newest", "namespace", desc("created_at"), desc("id")),
        Index(
            "ix_approvals_pending",
            "namespace",
            "expires_at",
            "id",
            postgresql_where=text("status = 'pending'"),
            sqlite_where=text("status = 'pending'"),
        ),
    )

    id: UUID = Field(primary_key=True)
    namespace: str = Field(sa_type=Text)
    task_id: UUID
    round: int
    step_key: str = Field(sa_type=Text)
    agent: str = Field(sa_type=Text)
    request: JsonObject = Field(sa_type=VerbatimJson, nullable=False)
    #: The groups that may decide now; none for everybody. In the request it could not be searched: that may hold NUL.
    deciders: list[str] = Field(sa_type=SearchableJson, nullable=False)
    status: str = Field(sa_type=Text)
    created_at: datetime = Field(sa_type=UtcTime)
    expires_at: datetime | None = Field(sa_type=UtcTime)
    escalated_at: datetime | None = Field(sa_type=UtcTime)
    decided_at: datetime | None = Field(sa_type=UtcTime)


class VoteRow(Stored, table=True):
    """What one person said to an approval; never changed, never deleted."""

    __tablename__ = "approval_votes"
    approval_id: UUID = Field(primary_key=True)
    number: int = Field(primary_key=True, sa_column_kwargs={"autoincrement": False})
    decision: str = Field(sa_type=Text)
    voter: str = Field(sa_type=Text)
    groups: list[str] = Field(sa_type=VerbatimJson, nullable=False)
    reason: str | None = Field(sa_type=Text)
    arguments: JsonObject | None = Field(sa_type=VerbatimJson, nullable=True)
    response: JsonValue = Field(sa_type=VerbatimJson, nullable=True)
    at: datetime = Field(sa_type=UtcTime)


class SignalRow(Stored, table=True):
    """A signal to a task; kept until a step takes it."""

    __tablename__ = "signals"
    __table_args__ = (
        Index(
            "ix_signals_kept",
            "task_id",
            "name",
            "sent_at",
            "id",
            postgresql_where=text("taken_by IS NULL"),
            sqlite_where=text("taken_by IS NULL"),
        ),
        Index("ix_signals_task", "task_id", "sent_at", "id"),
        Index(
            "uq_signals_idempotency_key",
            "task_id",
            "idempotency_key",
            unique=True,
            postgresql_where=text("idempotency_key IS NOT NULL"),
            sqlite_where=text("idempotency_key IS NOT NULL"),
        ),
    )

    id: UUID = Field(primary_key=True)
    namespace: str = Field(sa_type=Text)
    task_id: UUID
    name: str = Field(sa_type=Text)
    payload: JsonValue = Field(sa_type=VerbatimJson, nullable=True)
    sent_by: str = Field(sa_type=Text)
    sent_at: datetime = Field(sa_type=UtcTime)
    idempotency_key: str | None = Field(sa_type=Text)
    taken_by: str | None = Field(sa_type=Text)


waits = table_of(WaitRow)
approvals = table_of(ApprovalRow)
approval_votes = table_of(VoteRow)
signals = table_of(SignalRow)
