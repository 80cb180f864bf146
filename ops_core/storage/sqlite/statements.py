"""The statements of a write transaction on SQLite, which holds the only write lock: every row it sees is held."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Executable
from sqlalchemy.dialects.sqlite.pysqlite import SQLiteDialect_pysqlite

from ops_core.domain.event import EVENT_FORMAT, EventType
from ops_core.domain.task import TaskStatus, check_transition
from ops_core.storage.column_types import time_to_sqlite
from ops_core.storage.json_text import dump_json
from ops_core.storage.portable import compiled
from ops_core.storage.records import HELD_COLUMNS, TASK_COLUMNS, held_from_sqlite, record_from_sqlite
from ops_core.storage.writes import (
    HELD_STATE,
    AgentPut,
    AppendAsk,
    Appended,
    Change,
    ClaimAsk,
    Held,
    Inserted,
    KnownTask,
    LoggedEvent,
    PlainEnd,
    TaskInsert,
    TaskRecord,
    TextAsk,
)

_DIALECT = SQLiteDialect_pysqlite(paramstyle="named")

_INSERTED = (
    "id, namespace, kind, agent, agent_digest, queue, priority, input, input_blob, labels, max_attempts, "
    "timeout_seconds, idempotency_key, request_hash, concurrency_key, fairness_key, session_id, traceparent, "
    "created_at, created_by, status, seq, run_at, rung_at, deadline_at, queue_deadline_at, queue_timeout_seconds, "
    "attempt_timeout_seconds, concurrency_limit, rate_key, rate_limit, rate_seconds, stream, parent_id, parent_round, "
    "parent_step_key, depth, forked_from_id, forked_from_round, forked_before_step, schedule_id, blocked, holds_key, "
    "rank"
)
# Passed over when the id or the idempotency key is known.
_INSERT_TASK_UNLESS_KNOWN = f"""
INSERT INTO tasks ({_INSERTED}) VALUES ({", ".join("?" * len(_INSERTED.split(",")))}) ON CONFLICT DO NOTHING
"""  # noqa: S608

_INSERT_EVENT = """
INSERT INTO task_events (task_id, seq, namespace, round, type, step_key, phase, format, at, payload, payload_blob)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
"""

_FIND_KNOWN = """
SELECT id, namespace, idempotency_key, request_hash, status, created_at, deadline_at, blocked FROM tasks
WHERE id = ? OR (idempotency_key IS NOT NULL AND namespace = ? AND idempotency_key = ?)
"""

# Best first; a task past its deadline is left to those who fail it.
_CLAIM_BEST = f"""
UPDATE tasks SET status = 'running', epoch = epoch + 1, attempt = attempt + (NOT resuming), resuming = 0, seq = seq + 1,
    started_at = coalesce(started_at, :now), worker_id = :worker, claim_token = :token, lease_expires_at = :lease
WHERE id IN (
    SELECT id FROM tasks WHERE status = 'queued' AND queue = :queue AND blocked = 0
        AND (deadline_at IS NULL OR deadline_at > :now)
        AND (queue_deadline_at IS NULL OR attempt > 0 OR queue_deadline_at > :now)
    ORDER BY priority DESC, rank, id LIMIT :limit
)
RETURNING {", ".join(TASK_COLUMNS)}, :now AS claimed_at
"""  # noqa: S608

_FIND_CLAIMED = f"""
SELECT {", ".join(TASK_COLUMNS)}, started_at AS claimed_at FROM tasks WHERE status = 'running' AND claim_token = ?
ORDER BY priority DESC, rank, id
"""  # noqa: S608

# What `settle.ended` makes of a task from whose end nothing follows.
_END_PLAIN = """
UPDATE tasks SET status = :status, epoch = epoch + 1, seq = seq + 1 + :steps, finished_at = :now, result = :result,
    result_blob = :result_blob, error = :error, usage = :usage, resuming = 0, claim_token = NULL,
    lease_expires_at = NULL, waiting_for = NULL, wake_at = NULL
WHERE id = :id AND epoch = :epoch AND status = 'running'
    AND parent_id IS NULL AND pending_children = 0 AND concurrency_key IS NULL AND rate_key IS NULL
RETURNING seq, namespace, round
"""

_SEQ_IF_HELD = "SELECT seq, namespace, round FROM tasks WHERE id = ? AND epoch = ? AND status = 'running'"
_FIND_STEP = "SELECT seq FROM task_events WHERE task_id = ? AND round = ? AND step_key = ? AND phase = ?"
_SET_SEQ = "UPDATE tasks SET seq = ? WHERE id = ?"
_FIND_STEP_OF_ROUND_NOW = """
SELECT e.seq FROM task_events e JOIN tasks t ON t.id = e.task_id AND t.round = e.round
WHERE e.task_id = ? AND e.step_key = ? AND e.phase = ?
"""
_FIND_SAME = """
SELECT seq FROM task_events WHERE task_id = ? AND type = ? AND step_key IS NULL
    AND payload IS ? AND payload_blob IS ? ORDER BY seq DESC LIMIT 1
"""
_FIND_EVENT = "SELECT seq FROM task_events WHERE task_id = ? AND seq = ? AND type = ? AND payload = ?"

_HELD = f"SELECT {', '.join(HELD_COLUMNS)} FROM tasks"  # noqa: S608
_LOCK = f"{_HELD} WHERE id = ?"
_LOCK_SCHEDULED = f"{_HELD} WHERE status = 'scheduled' AND run_at <= ? ORDER BY run_at LIMIT ?"
_LOCK_TO_WAKE = f"{_HELD} WHERE status = 'waiting' AND wake_at <= ? ORDER BY wake_at LIMIT ?"
_LOCK_EXPIRED = f"{_HELD} WHERE status = 'running' AND lease_expires_at < ? ORDER BY id LIMIT ?"
_LOCK_OVERDUE = f"""
{_HELD} WHERE deadline_at IS NOT NULL AND status IN ('scheduled', 'queued', 'waiting') AND deadline_at <= ?
ORDER BY deadline_at LIMIT ?
"""
_LOCK_NEVER_CLAIMED = f"""
{_HELD} WHERE queue_deadline_at IS NOT NULL AND status = 'queued' AND attempt = 0 AND queue_deadline_at <= ?
ORDER BY queue_deadline_at LIMIT ?
"""

_APPLY_IF_UNCHANGED = f"""
UPDATE tasks SET {", ".join(f"{name} = ?" for name in HELD_STATE)} WHERE id = ? AND epoch = ? AND status = ?
"""  # noqa: S608

_FIND_ENDING = """
SELECT type, seq FROM task_events WHERE task_id = ? AND json_extract(payload, '$.epoch') = ? AND type IN
    ('task.completed', 'task.failed', 'task.canceled', 'task.retrying', 'task.waiting', 'task.resumed',
    'task.handed_over')
ORDER BY seq DESC LIMIT 1
"""

_PUT_BLOB = """
INSERT INTO blobs (namespace, digest, data, put_at) VALUES (?, ?, ?, ?)
ON CONFLICT (namespace, digest) DO UPDATE SET put_at = excluded.put_at
"""
_PUT_BLOB_OF_TASK = """
INSERT INTO blobs (namespace, digest, data, put_at) SELECT namespace, ?, ?, ? FROM tasks WHERE id = ?
ON CONFLICT (namespace, digest) DO UPDATE SET put_at = excluded.put_at
"""

_SAVE_TEXT = """
INSERT INTO task_deltas (task_id, step_key, epoch, body, at)
SELECT id, ?, epoch, ?, ? FROM tasks WHERE id = ? AND epoch = ? AND status = 'running'
ON CONFLICT (task_id, step_key) DO UPDATE SET epoch = excluded.epoch, body = excluded.body, at = excluded.at
"""
_FORGET_TEXT = """
DELETE FROM task_deltas WHERE task_id = ?1 AND epoch <= ?2 AND (?3 IS NULL OR step_key = ?3)
"""

_PUT_VERSION = """
INSERT INTO agent_versions (digest, namespace, definition, created_at) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING
"""
_PUT_AGENT = """
INSERT INTO agents (namespace, name, digest, registered_at) VALUES (?, ?, ?, ?)
ON CONFLICT (namespace, name) DO UPDATE SET digest = excluded.digest, registered_at = excluded.registered_at
WHERE agents.digest <> excluded.digest
"""


class SqliteTransaction:
    """See `Transaction`. No method really waits; they are coroutines so that one algorithm serves both databases."""

    def __init__(self, connection: sqlite3.Connection, now: datetime) -> None:
        self._connection = connection
        self._now = now

    async def insert_tasks_unless_known(self, tasks: Sequence[TaskInsert]) -> Sequence[Inserted]:
        return [inserted for task in tasks if (inserted := self._insert(task)) is not None]

    async def find_known(self, tasks: Sequence[TaskInsert]) -> Sequence[KnownTask]:
        found = (
            self._connection.execute(_FIND_KNOWN, (t.new.id.hex, t.new.namespace, t.new.idempotency_key)) for t in tasks
        )
        return [_known(row) for rows in found for row in rows]

    async def claim_best(self, ask: ClaimAsk) -> Sequence[TaskRecord]:
        check_transition(TaskStatus.queued, TaskStatus.running)
        rows = self._connection.execute(
            _CLAIM_BEST,
            {
                "now": _plain(self._now),
                "worker": ask.worker_id,
                "token": ask.token.hex,
                "lease": _plain(self._now + timedelta(seconds=ask.lease_seconds)),
                "queue": ask.queue,
                "limit": ask.limit,
            },
        ).fetchall()
        records = [record_from_sqlite(row) for row in rows]
        # RETURNING gives no order.
        records.sort(key=lambda record: (-record["priority"], record["rank"], record["id"]))
        self._log(
            (
                r["id"],
                r["seq"],
                r["namespace"],
                r["round"],
                EventType.task_started,
                dump_json({"attempt": r["attempt"], "epoch": r["epoch"], "worker_id": ask.worker_id}),
            )
            for r in records
        )
        return records

    async def find_claimed(self, token: UUID) -> Sequence[TaskRecord]:
        return [record_from_sqlite(row) for row in self._connection.execute(_FIND_CLAIMED, (token.hex,))]

    async def append_if_held(self, asks: Sequence[AppendAsk]) -> Mapping[UUID, Appended]:
        return {ask.task_id: done for ask in asks if (done := self._append(ask)) is not None}

    async def end_plain(self, ends: Sequence[PlainEnd]) -> Mapping[UUID, int]:
        written: dict[UUID, int] = {}
        for end in ends:
            check_transition(TaskStatus.running, end.status)
            values = {
                "id": end.task_id.hex,
                "epoch": end.epoch,
                "status": end.status,
                "now": _plain(self._now),
                "result": end.result.text,
                "result_blob": end.result.blob,
                "error": end.error,
                "usage": end.usage,
                "steps": 0 if end.last_step is None else 1,
            }
            # All of them, or the statement is not at its end: RETURNING gives its row first.
            for seq, namespace, round in self._connection.execute(_END_PLAIN, values).fetchall():
                if end.last_step is not None:
                    self._log_step(end.last_step, seq - 1, namespace, round)
                self._log([(end.task_id, seq, namespace, round, end.event, end.payload)])
                written[end.task_id] = seq
        return written

    async def find_same_event(self, ask: AppendAsk) -> int | None:
        if ask.step_key is not None:
            return self._number(_FIND_STEP_OF_ROUND_NOW, (ask.task_id.hex, ask.step_key, ask.phase))
        return self._number(_FIND_SAME, (ask.task_id.hex, ask.type, ask.payload.text, ask.payload.blob))

    async def has_event(self, task_id: UUID, event: LoggedEvent) -> bool:
        return self._number(_FIND_EVENT, (task_id.hex, event.seq, event.type, event.payload)) is not None

    async def run(self, statement: Executable) -> Sequence[dict[str, Any]]:
        text, values, read = compiled(statement, _DIALECT)
        cursor = self._connection.execute(text, values)
        return [read(dict(row)) for row in cursor.fetchall()] if cursor.description else []

    async def now(self) -> datetime:
        return self._now

    async def lock(self, ids: Sequence[UUID]) -> Held:
        rows = (self._connection.execute(_LOCK, (id.hex,)).fetchone() for id in sorted(ids))
        return self._held(row for row in rows if row is not None)

    async def lock_free(self, ids: Sequence[UUID]) -> Held:
        return await self.lock(ids)

    async def lock_due(self, limit: int) -> Held:
        due = self._connection.execute(_LOCK_SCHEDULED, (_plain(self._now), limit)).fetchall()
        wake = self._connection.execute(_LOCK_TO_WAKE, (_plain(self._now), limit)).fetchall()
        return self._held([*due, *wake])

    async def lock_expired(self, limit: int) -> Held:
        return self._held(self._connection.execute(_LOCK_EXPIRED, (_plain(self._now), limit)))

    async def lock_overdue(self, limit: int) -> Held:
        now = _plain(self._now)
        rows = [
            *self._connection.execute(_LOCK_OVERDUE, (now, limit)),
            *self._connection.execute(_LOCK_NEVER_CLAIMED, (now, limit)),
        ]
        return self._held({row["id"]: row for row in rows}.values())

    async def apply_if_unchanged(self, changes: Sequence[Change]) -> None:
        written = self._connection.executemany(
            _APPLY_IF_UNCHANGED,
            [
                (
                    *(_plain(getattr(c.after, name)) for name in HELD_STATE),
                    c.before.id.hex,
                    c.before.epoch,
                    c.before.status,
                )
                for c in changes
            ],
        ).rowcount
        if written != len(changes):
            raise AssertionError("a held row changed under its lock")
        self._connection.executemany(
            _INSERT_EVENT,
            [
                (
                    *(c.after.id.hex, e.seq, c.after.namespace, c.after.round, e.type, e.step_key, e.phase),
                    *(EVENT_FORMAT, _plain(c.at), e.payload, e.payload_blob),
                )
                for c in changes
                for e in c.events
            ],
        )

    async def put_blob(self, namespace: str, digest: str, data: bytes) -> None:
        self._connection.execute(_PUT_BLOB, (namespace, digest, data, _plain(self._now)))

    async def put_blob_of_task(self, task_id: UUID, digest: str, data: bytes) -> None:
        self._connection.execute(_PUT_BLOB_OF_TASK, (digest, data, _plain(self._now), task_id.hex))

    async def save_texts(self, asks: Sequence[TextAsk]) -> None:
        at = _plain(self._now)
        rows = [(ask.step_key, ask.body, at, ask.task_id.hex, ask.epoch) for ask in asks]
        self._connection.executemany(_SAVE_TEXT, rows)

    async def forget_texts(self, asks: Sequence[TextAsk]) -> None:
        self._connection.executemany(_FORGET_TEXT, [(ask.task_id.hex, ask.epoch, ask.step_key) for ask in asks])

    async def forget_silent_workers(self, silent_seconds: float) -> int:
        heard_since = _plain(self._now - timedelta(seconds=silent_seconds))
        return self._connection.execute("DELETE FROM workers WHERE seen_at < ?", (heard_since,)).rowcount

    async def put_versions(self, agents: Sequence[AgentPut]) -> None:
        at = _plain(self._now)
        self._connection.executemany(_PUT_VERSION, [(a.digest, a.namespace, a.definition, at) for a in agents])

    async def put_agents(self, agents: Sequence[AgentPut]) -> None:
        await self.put_versions(agents)
        at = _plain(self._now)
        self._connection.executemany(_PUT_AGENT, [(a.namespace, a.name, a.digest, at) for a in agents])

    async def find_ending(self, task_id: UUID, epoch: int) -> tuple[EventType, int] | None:
        row = self._connection.execute(_FIND_ENDING, (task_id.hex, epoch)).fetchone()
        return (EventType(row[0]), row[1]) if row else None

    def _insert(self, task: TaskInsert) -> Inserted | None:
        new, now = task.new, self._now
        later = new.run_at is not None and new.run_at > now
        status = TaskStatus.scheduled if later else TaskStatus.queued
        deadline = now + timedelta(seconds=new.timeout_seconds) if new.timeout_seconds is not None else None
        values = (
            *(new.id, new.namespace, new.kind, new.agent, new.agent_digest, new.queue, new.priority),
            *(task.input.text, task.input.blob, task.labels, new.max_attempts, new.timeout_seconds),
            *(new.idempotency_key, new.request_hash, new.concurrency_key, new.fairness_key, new.session_id),
            *(new.traceparent, now, new.created_by, status, 1, new.run_at, None if later else now, deadline),
            *_rare_values(task, max(now, new.run_at) if new.run_at is not None else now, later=later),
        )
        if not self._connection.execute(_INSERT_TASK_UNLESS_KNOWN, [_plain(v) for v in values]).rowcount:
            return None
        self._log([(new.id, 1, new.namespace, 1, EventType.task_submitted, task.submitted)])
        return Inserted(new.id, status, now, deadline)

    def _append(self, ask: AppendAsk) -> Appended | None:
        held = self._connection.execute(_SEQ_IF_HELD, (ask.task_id.hex, ask.epoch)).fetchone()
        if held is None:
            return None
        seq, namespace, round = held
        if ask.step_key is not None:
            known = self._number(_FIND_STEP, (ask.task_id.hex, round, ask.step_key, ask.phase))
            if known is not None:
                return Appended(known, first=False)
        self._log_step(ask, seq + 1, namespace, round)
        self._connection.execute(_SET_SEQ, (seq + 1, ask.task_id.hex))
        return Appended(seq + 1, first=True)

    def _log_step(self, ask: AppendAsk, seq: int, namespace: str, round: int) -> None:
        values = (ask.task_id, seq, namespace, round, ask.type, ask.step_key, ask.phase, EVENT_FORMAT, self._now)
        self._connection.execute(_INSERT_EVENT, [*map(_plain, values), ask.payload.text, ask.payload.blob])

    def _log(self, events: Iterable[tuple[UUID, int, str, int, EventType, str]]) -> None:
        at = _plain(self._now)
        self._connection.executemany(
            _INSERT_EVENT,
            [
                (id.hex, seq, namespace, round, kind, None, None, EVENT_FORMAT, at, text, None)
                for id, seq, namespace, round, kind, text in events
            ],
        )

    def _held(self, rows: Iterable[sqlite3.Row]) -> Held:
        return Held(sorted((held_from_sqlite(row) for row in rows), key=lambda held: held.id), self._now)

    def _number(self, statement: str, values: tuple[Any, ...]) -> int | None:
        row = self._connection.execute(statement, values).fetchone()
        return row[0] if row else None


def _rare_values(task: TaskInsert, due: datetime, *, later: bool) -> tuple[Any, ...]:
    new, rate, parent, origin = task.new, task.new.rate, task.new.parent, task.new.forked_from
    patience = new.queue_timeout_seconds
    return (
        *(due + timedelta(seconds=patience) if patience is not None else None, patience),
        *(new.attempt_timeout_seconds, new.concurrency_limit),
        *((rate.key, rate.limit, rate.per_seconds) if rate else (None, None, None)),
        new.stream,
        *((parent.task_id, parent.round, parent.step_key) if parent else (None, None, None)),
        new.depth,
        *((origin.task_id, origin.round, origin.before_step) if origin else (None, None, None)),
        # One that is due later asks for its place when it is due.
        *(new.schedule_id, task.place.blocked and not later, task.place.holds_key, task.place.rank),
    )


def _known(row: sqlite3.Row) -> KnownTask:
    record = record_from_sqlite(row)
    return KnownTask(**{**record, "status": TaskStatus(record["status"])})


def _plain(value: Any) -> Any:
    """As SQLite keeps it."""
    match value:
        case datetime():
            return time_to_sqlite(value)
        case UUID():
            return value.hex
        case _:
            return value
