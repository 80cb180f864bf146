"""Waits, approvals, signals, schedules, keys that bound what runs"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_TIME = sa.DateTime(timezone=True).with_variant(sa.Text(), "sqlite")
_JSON = sa.Text().with_variant(postgresql.JSON(), "postgresql")
_JSONB = sa.Text().with_variant(postgresql.JSONB(), "postgresql")

_BY_KEY = (sa.text("priority DESC"), "rank", "id")
_CLAIMABLE = ["queue", "blocked", *_BY_KEY]


def _where(condition: str) -> dict[str, Any]:
    """The condition of a partial index, for both databases."""
    return {"postgresql_where": sa.text(condition), "sqlite_where": sa.text(condition)}


def upgrade() -> None:
    op.drop_index("ix_tasks_claimable", "tasks")
    for column in _new_task_columns():
        op.add_column("tasks", column)
    op.create_index("ix_tasks_claimable", "tasks", _CLAIMABLE, **_where("status = 'queued'"))
    for kind, column in (("concurrency", "concurrency_key"), ("rate", "rate_key")):
        blocked = f"blocked AND {column} IS NOT NULL"
        op.create_index(f"ix_tasks_blocked_by_{kind}", "tasks", ["namespace", column, *_BY_KEY], **_where(blocked))
    let_in = "status = 'queued' AND NOT blocked AND rate_key IS NOT NULL"
    op.create_index("ix_tasks_let_in_by_rate", "tasks", ["namespace", "rate_key"], **_where(let_in))
    first_wait = "queue_deadline_at IS NOT NULL AND status = 'queued' AND attempt = 0"
    op.create_index("ix_tasks_queue_deadline", "tasks", ["queue_deadline_at"], **_where(first_wait))
    for table, column in (("tasks", "input_blob"), ("tasks", "result_blob"), ("task_events", "payload_blob")):
        op.create_index(f"ix_{table}_{column}", table, ["namespace", column], **_where(f"{column} IS NOT NULL"))
    _create_waits()
    _create_approvals()
    _create_signals()
    _create_schedules()
    _create_keys()
    op.create_table(
        "task_deltas",
        sa.Column("task_id", sa.Uuid(), nullable=False),
        sa.Column("step_key", sa.Text(), nullable=False),
        sa.Column("epoch", sa.Integer(), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("at", _TIME, nullable=False),
        sa.PrimaryKeyConstraint("task_id", "step_key", name=op.f("pk_task_deltas")),
    )


def _new_task_columns() -> list[sa.Column[Any]]:
    # No constraints: SQLite would have to copy the table for them.
    return [
        sa.Column("depth", sa.SmallInteger(), server_default="0", nullable=False),
        sa.Column("queue_timeout_seconds", sa.Float(), nullable=True),
        sa.Column("attempt_timeout_seconds", sa.Float(), nullable=True),
        sa.Column("concurrency_limit", sa.Integer(), nullable=True),
        sa.Column("rate_key", sa.Text(), nullable=True),
        sa.Column("rate_limit", sa.Integer(), nullable=True),
        sa.Column("rate_seconds", sa.Float(), nullable=True),
        sa.Column("stream", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("forked_from_id", sa.Uuid(), nullable=True),
        sa.Column("forked_from_round", sa.Integer(), nullable=True),
        sa.Column("forked_before_step", sa.Integer(), nullable=True),
        sa.Column("schedule_id", sa.Uuid(), nullable=True),
        sa.Column("blocked", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("holds_key", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("rank", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("queue_deadline_at", _TIME, nullable=True),
    ]


def _create_waits() -> None:
    op.create_table(
        "waits",
        sa.Column("task_id", sa.Uuid(), nullable=False),
        sa.Column("step_key", sa.Text(), nullable=False),
        sa.Column("namespace", sa.Text(), nullable=False),
        sa.Column("round", sa.Integer(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=True),
        sa.Column("expires_at", _TIME, nullable=True),
        sa.Column("fingerprint", sa.Text(), nullable=True),
        sa.Column("since", _TIME, nullable=False),
        sa.PrimaryKeyConstraint("task_id", "step_key", name=op.f("pk_waits")),
    )


def _create_approvals() -> None:
    op.create_table(
        "approvals",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("namespace", sa.Text(), nullable=False),
        sa.Column("task_id", sa.Uuid(), nullable=False),
        sa.Column("round", sa.Integer(), nullable=False),
        sa.Column("step_key", sa.Text(), nullable=False),
        sa.Column("agent", sa.Text(), nullable=False),
        sa.Column("request", _JSON, nullable=False),
        sa.Column("deciders", _JSONB, nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("created_at", _TIME, nullable=False),
        sa.Column("expires_at", _TIME, nullable=True),
        sa.Column("escalated_at", _TIME, nullable=True),
        sa.Column("decided_at", _TIME, nullable=True),
        sa.CheckConstraint(
            "(decided_at IS NOT NULL) = (status <> 'pending')", name=op.f("ck_approvals_decided_iff_not_pending")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_approvals")),
    )
    op.create_index("uq_approvals_step", "approvals", ["task_id", "round", "step_key"], unique=True)
    newest = ["namespace", sa.text("created_at DESC"), sa.text("id DESC")]
    op.create_index("ix_approvals_newest", "approvals", newest)
    op.create_index(
        "ix_approvals_pending", "approvals", ["namespace", "expires_at", "id"], **_where("status = 'pending'")
    )
    op.create_table(
        "approval_votes",
        sa.Column("approval_id", sa.Uuid(), nullable=False),
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("decision", sa.Text(), nullable=False),
        sa.Column("voter", sa.Text(), nullable=False),
        sa.Column("groups", _JSON, nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("arguments", _JSON, nullable=True),
        sa.Column("response", _JSON, nullable=True),
        sa.Column("at", _TIME, nullable=False),
        sa.PrimaryKeyConstraint("approval_id", "number", name=op.f("pk_approval_votes")),
    )


def _create_signals() -> None:
    op.create_table(
        "signals",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("namespace", sa.Text(), nullable=False),
        sa.Column("task_id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("payload", _JSON, nullable=True),
        sa.Column("sent_by", sa.Text(), nullable=False),
        sa.Column("sent_at", _TIME, nullable=False),
        sa.Column("idempotency_key", sa.Text(), nullable=True),
        sa.Column("taken_by", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_signals")),
    )
    op.create_index("ix_signals_kept", "signals", ["task_id", "name", "sent_at", "id"], **_where("taken_by IS NULL"))
    op.create_index("ix_signals_task", "signals", ["task_id", "sent_at", "id"])
    op.create_index(
        "uq_signals_idempotency_key",
        "signals",
        ["task_id", "idempotency_key"],
        unique=True,
        **_where("idempotency_key IS NOT NULL"),
    )


def _create_schedules() -> None:
    op.create_table(
        "schedules",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("namespace", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("cron", sa.Text(), nullable=False),
        sa.Column("timezone", sa.Text(), nullable=False),
        sa.Column("submission", _JSON, nullable=False),
        sa.Column("catch_up", sa.Text(), nullable=False),
        sa.Column("paused", sa.Boolean(), nullable=False),
        sa.Column("next_at", _TIME, nullable=True),
        sa.Column("last_at", _TIME, nullable=True),
        sa.Column("last_task_id", sa.Uuid(), nullable=True),
        sa.Column("last_error", sa.Text(), nullable=True),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("created_at", _TIME, nullable=False),
        sa.Column("created_by", sa.Text(), nullable=False),
        sa.Column("updated_at", _TIME, nullable=False),
        sa.CheckConstraint("paused OR next_at IS NOT NULL", name=op.f("ck_schedules_has_next_time")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_schedules")),
    )
    op.create_index("uq_schedules_name", "schedules", ["namespace", "name"], unique=True)
    op.create_index("ix_schedules_due", "schedules", ["next_at"], **_where("NOT paused"))


def _create_keys() -> None:
    op.create_table(
        "concurrency_keys",
        sa.Column("namespace", sa.Text(), nullable=False),
        sa.Column("concurrency_key", sa.Text(), nullable=False),
        sa.Column("held", sa.Integer(), nullable=False),
        sa.Column("used_at", _TIME, nullable=False),
        sa.CheckConstraint("held >= 0", name=op.f("ck_concurrency_keys_held_sane")),
        sa.PrimaryKeyConstraint("namespace", "concurrency_key", name=op.f("pk_concurrency_keys")),
    )
    op.create_table(
        "rate_keys",
        sa.Column("namespace", sa.Text(), nullable=False),
        sa.Column("rate_key", sa.Text(), nullable=False),
        sa.Column("next_at", _TIME, nullable=False),
        sa.Column("release_at", _TIME, nullable=True),
        sa.Column("used_at", _TIME, nullable=False),
        sa.PrimaryKeyConstraint("namespace", "rate_key", name=op.f("pk_rate_keys")),
    )
    op.create_index(op.f("ix_rate_keys_release_at"), "rate_keys", ["release_at"])
    op.create_table(
        "fairness_keys",
        sa.Column("queue", sa.Text(), nullable=False),
        sa.Column("namespace", sa.Text(), nullable=False),
        sa.Column("fairness_key", sa.Text(), nullable=False),
        sa.Column("last_rank", sa.BigInteger(), nullable=False),
        sa.Column("used_at", _TIME, nullable=False),
        sa.PrimaryKeyConstraint("queue", "namespace", "fairness_key", name=op.f("pk_fairness_keys")),
    )
    op.create_index("ix_fairness_keys_last_rank", "fairness_keys", ["queue", sa.text("last_rank DESC")])


def downgrade() -> None:
    for table in (
        *("task_deltas", "fairness_keys", "rate_keys", "concurrency_keys", "schedules", "signals"),
        *("approval_votes", "approvals", "waits"),
    ):
        op.drop_table(table)
    op.drop_index("ix_task_events_payload_blob", "task_events")
    for index in (
        *("ix_tasks_claimable", "ix_tasks_blocked_by_concurrency", "ix_tasks_blocked_by_rate"),
        "ix_tasks_let_in_by_rate",
        *("ix_tasks_queue_deadline", "ix_tasks_input_blob", "ix_tasks_result_blob"),
    ):
        op.drop_index(index, "tasks")
    for column in _new_task_columns():
        op.drop_column("tasks", column.name)
    op.create_index(
        "ix_tasks_claimable", "tasks", ["queue", sa.text("priority DESC"), "id"], **_where("status = 'queued'")
    )
