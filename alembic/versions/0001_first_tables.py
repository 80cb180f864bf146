"""First tables"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

# Types as they were when this was written: a migration does not change with the models.
_TIME = sa.DateTime(timezone=True).with_variant(sa.Text(), "sqlite")
_JSON = sa.Text().with_variant(postgresql.JSON(), "postgresql")
_JSONB = sa.Text().with_variant(postgresql.JSONB(), "postgresql")


def _where(condition: str) -> dict[str, Any]:
    """The condition of a partial index, for both databases."""
    return {"postgresql_where": sa.text(condition), "sqlite_where": sa.text(condition)}


def upgrade() -> None:
    op.create_table(
        "agent_versions",
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("namespace", sa.Text(), nullable=False),
        sa.Column("definition", _JSON, nullable=False),
        sa.Column("created_at", _TIME, nullable=False),
        sa.PrimaryKeyConstraint("digest", "namespace", name=op.f("pk_agent_versions")),
    )
    op.create_table(
        "agents",
        sa.Column("namespace", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("registered_at", _TIME, nullable=False),
        sa.PrimaryKeyConstraint("namespace", "name", name=op.f("pk_agents")),
    )
    op.create_table(
        "blobs",
        sa.Column("namespace", sa.Text(), nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("data", sa.LargeBinary(), nullable=False),
        sa.Column("put_at", _TIME, nullable=False),
        sa.PrimaryKeyConstraint("namespace", "digest", name=op.f("pk_blobs")),
    )
    op.create_table(
        "task_events",
        sa.Column("task_id", sa.Uuid(), nullable=False),
        sa.Column("seq", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("namespace", sa.Text(), server_default="default", nullable=False),
        sa.Column("round", sa.Integer(), nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("step_key", sa.Text(), nullable=True),
        sa.Column("phase", sa.Text(), nullable=True),
        sa.Column("format", sa.SmallInteger(), nullable=False),
        sa.Column("at", _TIME, nullable=False),
        sa.Column("payload", _JSON, nullable=True),
        sa.Column("payload_blob", sa.Text(), nullable=True),
        sa.CheckConstraint("(payload IS NULL) <> (payload_blob IS NULL)", name=op.f("ck_task_events_one_payload")),
        sa.CheckConstraint("(step_key IS NULL) = (phase IS NULL)", name=op.f("ck_task_events_step_has_phase")),
        sa.PrimaryKeyConstraint("task_id", "seq", name=op.f("pk_task_events")),
        postgresql_with={
            "autovacuum_vacuum_insert_scale_factor": 0,
            "autovacuum_vacuum_insert_threshold": 50000,
            "autovacuum_analyze_scale_factor": 0,
            "autovacuum_analyze_threshold": 50000,
        },
    )
    op.create_index(
        "uq_task_events_step",
        "task_events",
        ["task_id", "round", "step_key", "phase"],
        unique=True,
        **_where("step_key IS NOT NULL"),
    )

    op.create_table(
        "tasks",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("namespace", sa.Text(), server_default="default", nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("agent", sa.Text(), nullable=False),
        sa.Column("agent_digest", sa.Text(), nullable=False),
        sa.Column("queue", sa.Text(), nullable=False),
        sa.Column("priority", sa.SmallInteger(), nullable=False),
        sa.Column("input", _JSON, nullable=True),
        sa.Column("input_blob", sa.Text(), nullable=True),
        sa.Column("labels", _JSONB, nullable=False),
        sa.Column("max_attempts", sa.Integer(), nullable=False),
        sa.Column("timeout_seconds", sa.Float(), nullable=True),
        sa.Column("idempotency_key", sa.Text(), nullable=True),
        sa.Column("request_hash", sa.Text(), nullable=True),
        sa.Column("concurrency_key", sa.Text(), nullable=True),
        sa.Column("fairness_key", sa.Text(), nullable=True),
        sa.Column("session_id", sa.Uuid(), nullable=True),
        sa.Column("parent_id", sa.Uuid(), nullable=True),
        sa.Column("parent_round", sa.Integer(), nullable=True),
        sa.Column("parent_step_key", sa.Text(), nullable=True),
        sa.Column("traceparent", sa.Text(), nullable=True),
        sa.Column("created_at", _TIME, nullable=False),
        sa.Column("created_by", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("attempt", sa.Integer(), server_default="0", nullable=False),
        sa.Column("crashes", sa.Integer(), server_default="0", nullable=False),
        sa.Column("round", sa.Integer(), server_default="1", nullable=False),
        sa.Column("epoch", sa.Integer(), server_default="0", nullable=False),
        sa.Column("seq", sa.Integer(), server_default="0", nullable=False),
        sa.Column("resuming", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("pending_children", sa.Integer(), server_default="0", nullable=False),
        sa.Column("run_at", _TIME, nullable=True),
        sa.Column("wake_at", _TIME, nullable=True),
        sa.Column("rung_at", _TIME, nullable=True),
        sa.Column("started_at", _TIME, nullable=True),
        sa.Column("finished_at", _TIME, nullable=True),
        sa.Column("deadline_at", _TIME, nullable=True),
        sa.Column("cancel_requested_at", _TIME, nullable=True),
        sa.Column("waiting_for", sa.Text(), nullable=True),
        sa.Column("result", _JSON, nullable=True),
        sa.Column("result_blob", sa.Text(), nullable=True),
        sa.Column("error", _JSON, nullable=True),
        sa.Column("usage", _JSON, nullable=True),
        sa.Column("worker_id", sa.Text(), nullable=True),
        sa.Column("claim_token", sa.Uuid(), nullable=True),
        sa.Column("lease_expires_at", _TIME, nullable=True),
        sa.CheckConstraint(
            "(finished_at IS NOT NULL) = (status IN ('canceled', 'completed', 'failed', 'rejected'))",
            name=op.f("ck_tasks_finished_iff_final"),
        ),
        sa.CheckConstraint("status <> 'failed' OR error IS NOT NULL", name=op.f("ck_tasks_failed_has_error")),
        sa.CheckConstraint("status <> 'queued' OR rung_at IS NOT NULL", name=op.f("ck_tasks_queued_is_rung")),
        sa.CheckConstraint(
            "status <> 'running' OR (lease_expires_at IS NOT NULL AND worker_id IS NOT NULL)",
            name=op.f("ck_tasks_running_is_leased"),
        ),
        sa.CheckConstraint("status <> 'scheduled' OR run_at IS NOT NULL", name=op.f("ck_tasks_scheduled_has_time")),
        sa.CheckConstraint(
            "status <> 'waiting' OR waiting_for IS NOT NULL", name=op.f("ck_tasks_waiting_for_something")
        ),
        sa.CheckConstraint(
            "status IN ('canceled', 'completed', 'failed', 'queued', 'rejected', 'running', 'scheduled', 'waiting')",
            name=op.f("ck_tasks_status_known"),
        ),
        sa.CheckConstraint("idempotency_key IS NULL OR request_hash IS NOT NULL", name=op.f("ck_tasks_key_has_hash")),
        sa.CheckConstraint("max_attempts >= 1 AND attempt >= 0 AND crashes >= 0", name=op.f("ck_tasks_attempts_sane")),
        sa.CheckConstraint("pending_children >= 0", name=op.f("ck_tasks_pending_children_sane")),
        sa.CheckConstraint("priority BETWEEN 0 AND 9", name=op.f("ck_tasks_priority_in_range")),
        sa.CheckConstraint("round >= 1 AND epoch >= 0 AND seq >= 0", name=op.f("ck_tasks_counters_sane")),
        sa.CheckConstraint("timeout_seconds IS NULL OR timeout_seconds > 0", name=op.f("ck_tasks_timeout_positive")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_tasks")),
        postgresql_with={
            "fillfactor": 60,
            "autovacuum_vacuum_scale_factor": 0,
            "autovacuum_vacuum_threshold": 5000,
            "autovacuum_analyze_scale_factor": 0,
            "autovacuum_analyze_threshold": 5000,
        },
    )
    op.create_index(
        "ix_tasks_deadline",
        "tasks",
        ["deadline_at"],
        unique=False,
        **_where("deadline_at IS NOT NULL AND status IN ('scheduled', 'queued', 'waiting')"),
    )
    op.create_index("ix_tasks_running", "tasks", ["id"], unique=False, **_where("status = 'running'"))
    op.create_index("ix_tasks_scheduled", "tasks", ["run_at"], unique=False, **_where("status = 'scheduled'"))
    op.create_index("ix_tasks_to_wake", "tasks", ["wake_at"], unique=False, **_where("status = 'waiting'"))
    op.create_index(
        "uq_tasks_child",
        "tasks",
        ["parent_id", "parent_round", "parent_step_key"],
        unique=True,
        **_where("parent_id IS NOT NULL"),
    )
    op.create_index(
        "uq_tasks_idempotency_key",
        "tasks",
        ["namespace", "idempotency_key"],
        unique=True,
        **_where("idempotency_key IS NOT NULL"),
    )

    op.create_index(
        "ix_tasks_claimable",
        "tasks",
        ["queue", sa.text("priority DESC"), "id"],
        unique=False,
        **_where("status = 'queued'"),
    )
    newest_first = ["namespace", sa.text("created_at DESC"), sa.text("id DESC")]
    op.create_index("ix_tasks_newest", "tasks", newest_first, unique=False)
    op.create_index(
        "ix_tasks_newest_live",
        "tasks",
        newest_first,
        unique=False,
        **_where("status IN ('queued', 'running', 'scheduled', 'waiting')"),
    )
    op.create_index(
        "ix_tasks_newest_unhappy",
        "tasks",
        newest_first,
        unique=False,
        **_where("status IN ('canceled', 'failed', 'rejected')"),
    )

    op.create_table(
        "workers",
        sa.Column("worker_id", sa.Text(), nullable=False),
        sa.Column("hostname", sa.Text(), nullable=False),
        sa.Column("pid", sa.Integer(), nullable=False),
        sa.Column("version", sa.Text(), nullable=False),
        sa.Column("queues", _JSON, nullable=False),
        sa.Column("slots", sa.Integer(), nullable=False),
        sa.Column("busy", sa.Integer(), nullable=False),
        sa.Column("draining", sa.Boolean(), nullable=False),
        sa.Column("started_at", _TIME, nullable=False),
        sa.Column("seen_at", _TIME, nullable=False),
        sa.PrimaryKeyConstraint("worker_id", name=op.f("pk_workers")),
    )


def downgrade() -> None:
    for table in ("workers", "tasks", "task_events", "blobs", "agents", "agent_versions"):
        op.drop_table(table)
