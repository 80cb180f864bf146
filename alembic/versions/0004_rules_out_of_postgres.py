"""No checks on tasks and their events in PostgreSQL, which reads their text anew in each statement that writes"""

from __future__ import annotations

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_FINAL = "('canceled', 'completed', 'failed', 'rejected')"
_TASKS = {
    "status_known": "status IN ('canceled', 'completed', 'failed', 'queued', 'rejected', 'running', 'scheduled', "
    "'waiting')",
    "priority_in_range": "priority BETWEEN 0 AND 9",
    "attempts_sane": "max_attempts >= 1 AND attempt >= 0 AND crashes >= 0",
    "counters_sane": "round >= 1 AND epoch >= 0 AND seq >= 0",
    "pending_children_sane": "pending_children >= 0",
    "timeout_positive": "timeout_seconds IS NULL OR timeout_seconds > 0",
    "finished_iff_final": f"(finished_at IS NOT NULL) = (status IN {_FINAL})",
    "running_is_leased": "status <> 'running' OR (lease_expires_at IS NOT NULL AND worker_id IS NOT NULL)",
    "scheduled_has_time": "status <> 'scheduled' OR run_at IS NOT NULL",
    "waiting_for_something": "status <> 'waiting' OR waiting_for IS NOT NULL",
    "queued_is_rung": "status <> 'queued' OR rung_at IS NOT NULL",
    "failed_has_error": "status <> 'failed' OR error IS NOT NULL",
    "key_has_hash": "idempotency_key IS NULL OR request_hash IS NOT NULL",
}
_EVENTS = {
    "step_has_phase": "(step_key IS NULL) = (phase IS NULL)",
    "one_payload": "(payload IS NULL) <> (payload_blob IS NULL)",
}
_RULES = {"tasks": _TASKS, "task_events": _EVENTS}


def upgrade() -> None:
    if op.get_bind().dialect.name == "sqlite":
        return
    for table, rules in _RULES.items():
        for name in rules:
            op.drop_constraint(op.f(f"ck_{table}_{name}"), table)


def downgrade() -> None:
    if op.get_bind().dialect.name == "sqlite":
        return
    for table, rules in _RULES.items():
        for name, rule in rules.items():
            op.create_check_constraint(op.f(f"ck_{table}_{name}"), table, rule)
