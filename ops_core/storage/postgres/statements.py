"""The statements of a write transaction on PostgreSQL: many rows each, planned once, prepared at once.

Rows are locked in the order of their ids. Status is written as a literal, or the partial indexes are not used. Arrays
are unnested and joined from the outside in: hash and merge joins are off on these connections, so a join of two
results of a statement would compare each with each. What is locked is looked up by a lateral query of its own, with a
status that says nothing to the planner (`IS TRUE`). Left to itself it plans for the empty table: each write would go
through all that runs, or through an index of live tasks that does not begin with the id.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from psycopg import AsyncConnection, Error
from psycopg.rows import DictRow
from sqlalchemy import Executable
from sqlalchemy.dialects.postgresql.psycopg import PGDialect_psycopg

from ops_core.domain.event import EVENT_FORMAT, EventType
from ops_core.domain.task import TaskStatus, check_transition
from ops_core.storage.portable import compiled
from ops_core.storage.postgres.arrays import array_literal
from ops_core.storage.records import HELD_COLUMNS, TASK_COLUMNS, held_from_record
from ops_core.storage.writes import (
    HELD_STATE,
    AgentPut,
    AnswerLost,
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

_DIALECT = PGDialect_psycopg()  # type: ignore[no-untyped-call]  # theirs

# Columns of a new task as parameters: name, type of the array, cast of the element.
_NEW = (
    ("id", "uuid", ""),
    ("namespace", "text", ""),
    ("kind", "text", ""),
    ("agent", "text", ""),
    ("agent_digest", "text", ""),
    ("queue", "text", ""),
    ("priority", "int", ""),
    ("input", "text", "::json"),
    ("input_blob", "text", ""),
    ("labels", "text", "::jsonb"),
    ("max_attempts", "int", ""),
    ("timeout_seconds", "float8", ""),
    ("idempotency_key", "text", ""),
    ("request_hash", "text", ""),
    ("concurrency_key", "text", ""),
    ("fairness_key", "text", ""),
    ("session_id", "uuid", ""),
    ("traceparent", "text", ""),
    ("created_by", "text", ""),
    ("run_at", "timestamptz", ""),
)
# And those that few tasks use: a batch without any is spared them.
_NEW_RARE = (
    ("queue_timeout_seconds", "float8", ""),
    ("attempt_timeout_seconds", "float8", ""),
    ("concurrency_limit", "int", ""),
    ("rate_key", "text", ""),
    ("rate_limit", "int", ""),
    ("rate_seconds", "float8", ""),
    ("stream", "bool", ""),
    ("parent_id", "uuid", ""),
    ("parent_round", "int", ""),
    ("parent_step_key", "text", ""),
    ("depth", "int", ""),
    ("forked_from_id", "uuid", ""),
    ("forked_from_round", "int", ""),
    ("forked_before_step", "int", ""),
    ("schedule_id", "uuid", ""),
    # One that is due later asks for its place when it is due.
    ("blocked", "bool", " AND (a.run_at IS NULL OR a.run_at <= now())"),
    ("holds_key", "bool", ""),
    ("rank", "int8", ""),
)


def _inserting(columns: Sequence[tuple[str, str, str]], *, queue_deadline: str) -> str:
    # Passed over when the id or the idempotency key is known; a twin in flight is waited for. The first event is made
    # of what was inserted, since a join with the parameters would compare each with each.
    return f"""
    WITH added AS (
        INSERT INTO tasks ({", ".join(name for name, _, _ in columns)}, created_at, status, seq, rung_at, deadline_at,
            queue_deadline_at)
        SELECT {", ".join(f"a.{name}{convert}" for name, _, convert in columns)}, now(),
            CASE WHEN a.run_at > now() THEN 'scheduled' ELSE 'queued' END, 1,
            CASE WHEN a.run_at > now() THEN NULL ELSE now() END, now() + make_interval(secs => a.timeout_seconds),
            {queue_deadline}
        FROM unnest({", ".join(f"%s::{kind}[]" for _, kind, _ in columns)})
            AS a ({", ".join(name for name, _, _ in columns)})
        ON CONFLICT DO NOTHING
        RETURNING id, namespace, status, created_at, deadline_at, agent, queue, priority, labels, run_at
    ), logged AS (
        INSERT INTO task_events (task_id, seq, namespace, round, type, format, at, payload)
        SELECT id, 1, namespace, 1, 'task.submitted', {EVENT_FORMAT}, created_at, json_strip_nulls(json_build_object(
            'agent', agent, 'queue', queue, 'priority', priority, 'labels', labels,
            'run_at', to_char(run_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')))
        FROM added
    )
    SELECT id, status, created_at, deadline_at FROM added
    """  # noqa: S608


_INSERT_PLAIN_TASKS_UNLESS_KNOWN = _inserting(_NEW, queue_deadline="NULL::timestamptz")
_INSERT_TASKS_UNLESS_KNOWN = _inserting(
    (*_NEW, *_NEW_RARE), queue_deadline="greatest(now(), a.run_at) + make_interval(secs => a.queue_timeout_seconds)"
)

_FIND_KNOWN = """
SELECT id, namespace, idempotency_key, request_hash, status, created_at, deadline_at, blocked FROM tasks
WHERE id = ANY(%s::uuid[])
UNION ALL
SELECT t.id, t.namespace, t.idempotency_key, t.request_hash, t.status, t.created_at, t.deadline_at,
    t.blocked
FROM unnest(%s::text[], %s::text[]) AS k (namespace, idempotency_key)
JOIN tasks t ON t.namespace = k.namespace AND t.idempotency_key = k.idempotency_key
"""

# Best first, and nobody waits for a locked row; a task past its deadline is left to those who fail it.
_CLAIM_BEST = f"""
WITH wanted AS (
    SELECT id FROM tasks
    WHERE status = 'queued' AND queue = %s AND blocked = false AND (deadline_at IS NULL OR deadline_at > now())
        AND (queue_deadline_at IS NULL OR attempt > 0 OR queue_deadline_at > now())
    ORDER BY priority DESC, rank, id LIMIT %s FOR UPDATE SKIP LOCKED
), claimed AS (
    UPDATE tasks t SET status = 'running', epoch = epoch + 1, attempt = attempt + (NOT resuming)::int,
        resuming = false, seq = seq + 1, started_at = coalesce(started_at, now()), worker_id = %s,
        claim_token = %s, lease_expires_at = now() + make_interval(secs => %s::float8)
    FROM wanted WHERE t.id = wanted.id
    RETURNING {", ".join(f"t.{name}" for name in TASK_COLUMNS)}
), logged AS (
    INSERT INTO task_events (task_id, seq, namespace, round, type, format, at, payload)
    SELECT id, seq, namespace, round, 'task.started', {EVENT_FORMAT}, now(),
        json_build_object('attempt', attempt, 'epoch', epoch, 'worker_id', worker_id)
    FROM claimed
)
SELECT *, now() AS claimed_at FROM claimed ORDER BY priority DESC, rank, id
"""  # noqa: S608

_FIND_CLAIMED = f"""
SELECT {", ".join(TASK_COLUMNS)}, now() AS claimed_at FROM tasks WHERE status = 'running' AND claim_token = %s
ORDER BY priority DESC, rank, id
"""  # noqa: S608

# The lock comes first, in the same statement: an INSERT that only compares the epoch lets a stale writer in. A step
# that is there already is passed over and takes no number.
_APPEND_IF_HELD = f"""
WITH held AS (
    SELECT t.id, t.seq, t.namespace, t.round, a.type, a.step_key, a.phase, a.payload, a.payload_blob
    FROM (SELECT * FROM unnest(%s::uuid[], %s::int[], %s::text[], %s::text[], %s::text[], %s::text[], %s::text[])
        AS a (task_id, epoch, type, step_key, phase, payload, payload_blob) ORDER BY task_id) a
    CROSS JOIN LATERAL (
        SELECT id, seq, namespace, round FROM tasks
        WHERE id = a.task_id AND epoch = a.epoch AND (status = 'running') IS TRUE FOR UPDATE
    ) t
), written AS (
    INSERT INTO task_events (task_id, seq, namespace, round, type, step_key, phase, format, at, payload, payload_blob)
    SELECT id, seq + 1, namespace, round, type, step_key, phase, {EVENT_FORMAT}, clock_timestamp(), payload::json,
        payload_blob
    FROM held
    ON CONFLICT (task_id, round, step_key, phase) WHERE step_key IS NOT NULL DO NOTHING
    RETURNING task_id, seq
), counted AS (
    UPDATE tasks t SET seq = w.seq FROM written w WHERE t.id = w.task_id
)
SELECT task_id, seq FROM written UNION ALL SELECT id, NULL FROM held
"""  # noqa: S608

# What `settle.ended` makes of a task from whose end nothing follows, in one round trip.
_END_PLAIN = f"""
WITH held AS (
    SELECT t.id AS held_id, a.*
    FROM (SELECT * FROM unnest(%s::uuid[], %s::int[], %s::text[], %s::text[], %s::text[], %s::text[], %s::text[],
            %s::text[], %s::text[], %s::text[], %s::text[], %s::text[], %s::text[], %s::text[])
        AS a (task_id, claimed, end_status, end_result, end_blob, end_error, end_usage, type, payload,
            step_type, step_key, step_phase, step_payload, step_blob) ORDER BY task_id) a
    CROSS JOIN LATERAL (
        SELECT id FROM tasks
        WHERE id = a.task_id AND epoch = a.claimed AND (status = 'running') IS TRUE
            AND parent_id IS NULL AND pending_children = 0 AND concurrency_key IS NULL AND rate_key IS NULL
        FOR UPDATE
    ) t
), ended AS (
    UPDATE tasks t SET status = h.end_status, epoch = t.epoch + 1,
        seq = t.seq + CASE WHEN h.step_type IS NULL THEN 1 ELSE 2 END, finished_at = clock_timestamp(),
        result = h.end_result::json, result_blob = h.end_blob, error = h.end_error::json, usage = h.end_usage::json,
        resuming = false, claim_token = NULL, lease_expires_at = NULL, waiting_for = NULL, wake_at = NULL
    FROM held h WHERE t.id = h.held_id
    RETURNING t.id, t.seq, t.namespace, t.round, t.finished_at, h.*
), logged AS (
    INSERT INTO task_events (task_id, seq, namespace, round, type, step_key, phase, format, at, payload, payload_blob)
    SELECT id, seq - 1, namespace, round, step_type, step_key, step_phase, {EVENT_FORMAT}, finished_at,
        step_payload::json, step_blob
    FROM ended WHERE step_type IS NOT NULL
    UNION ALL
    SELECT id, seq, namespace, round, type, NULL, NULL, {EVENT_FORMAT}, finished_at, payload::json, NULL FROM ended
)
SELECT id, seq FROM ended
"""  # noqa: S608

_FIND_STEP = """
SELECT e.seq FROM tasks t JOIN task_events e ON e.task_id = t.id AND e.round = t.round
WHERE t.id = %s AND e.step_key = %s AND e.phase = %s
"""
_FIND_SAME = """
SELECT seq FROM task_events WHERE task_id = %s AND type = %s AND step_key IS NULL
    AND payload::text IS NOT DISTINCT FROM %s::text AND payload_blob IS NOT DISTINCT FROM %s::text
ORDER BY seq DESC LIMIT 1
"""
_FIND_EVENT = "SELECT 1 FROM task_events WHERE task_id = %s AND seq = %s AND type = %s AND payload::text = %s"

_HELD = ", ".join(f"{name}::text AS {name}" if name in {"result", "error", "usage"} else name for name in HELD_COLUMNS)


def _locking(condition: str) -> str:
    # The time is taken outside of the locking query, that is after the locks were had.
    return f"""
    SELECT clock_timestamp() AS now, held.* FROM (SELECT {_HELD} FROM tasks WHERE {condition}) held
    """  # noqa: S608


_LOCK = _locking("id = ANY(%s::uuid[]) ORDER BY id FOR UPDATE")
_LOCK_FREE = _locking("id = ANY(%s::uuid[]) ORDER BY id FOR UPDATE SKIP LOCKED")
_LOCK_SCHEDULED = _locking("status = 'scheduled' AND run_at <= now() ORDER BY run_at LIMIT %s FOR UPDATE SKIP LOCKED")
_LOCK_TO_WAKE = _locking("status = 'waiting' AND wake_at <= now() ORDER BY wake_at LIMIT %s FOR UPDATE SKIP LOCKED")
_LOCK_EXPIRED = _locking("status = 'running' AND lease_expires_at < now() ORDER BY id LIMIT %s FOR UPDATE SKIP LOCKED")
_LOCK_OVERDUE = _locking(
    "deadline_at IS NOT NULL AND status IN ('scheduled', 'queued', 'waiting') AND deadline_at <= now() "
    "ORDER BY deadline_at LIMIT %s FOR UPDATE SKIP LOCKED"
)
_LOCK_NEVER_CLAIMED = _locking(
    "queue_deadline_at IS NOT NULL AND status = 'queued' AND attempt = 0 AND queue_deadline_at <= now() "
    "ORDER BY queue_deadline_at LIMIT %s FOR UPDATE SKIP LOCKED"
)

_STATE_TYPES = {
    **dict.fromkeys(("attempt", "crashes", "suspicion", "round", "epoch", "seq", "pending_children"), "int"),
    **dict.fromkeys(("resuming", "blocked", "holds_key"), "bool"),
    **dict.fromkeys(
        (
            *("run_at", "wake_at", "rung_at", "started_at", "finished_at", "deadline_at", "queue_deadline_at"),
            *("cancel_requested_at", "lease_expires_at"),
        ),
        "timestamptz",
    ),
    "rank": "bigint",
    "claim_token": "uuid",
}
_STATE_CASTS = {"result": "::json", "error": "::json", "usage": "::json"}
# Compare-and-set on epoch and status, although the rows are locked: a decision about another row must never be written.
_APPLY_IF_UNCHANGED = f"""
WITH logged AS (
    INSERT INTO task_events (task_id, seq, namespace, round, type, step_key, phase, format, at, payload, payload_blob)
    SELECT e.task_id, e.seq, e.namespace, e.round, e.type, e.step_key, e.phase, {EVENT_FORMAT}, e.at,
        e.payload::json, e.payload_blob
    FROM unnest(%s::uuid[], %s::int[], %s::text[], %s::int[], %s::text[], %s::text[], %s::text[], %s::timestamptz[],
            %s::text[], %s::text[])
        AS e (task_id, seq, namespace, round, type, step_key, phase, at, payload, payload_blob)
)
UPDATE tasks t SET {", ".join(f"{name} = c.{name}{_STATE_CASTS.get(name, '')}" for name in HELD_STATE)}
FROM unnest(%s::uuid[], %s::int[], %s::text[],
        {", ".join(f"%s::{_STATE_TYPES.get(name, 'text')}[]" for name in HELD_STATE)})
    AS c (id, epoch_before, status_before, {", ".join(HELD_STATE)})
WHERE t.id = c.id AND t.epoch = c.epoch_before AND t.status = c.status_before
"""  # noqa: S608

_PUT_BLOB = """
INSERT INTO blobs (namespace, digest, data, put_at) VALUES (%s, %s, %s, now())
ON CONFLICT (namespace, digest) DO UPDATE SET put_at = now()
"""
_PUT_BLOB_OF_TASK = """
INSERT INTO blobs (namespace, digest, data, put_at) SELECT namespace, %s, %s, now() FROM tasks WHERE id = %s
ON CONFLICT (namespace, digest) DO UPDATE SET put_at = now()
"""
# A worker that was given up must not overwrite what its successor writes.
_SAVE_TEXTS = """
INSERT INTO task_deltas (task_id, step_key, epoch, body, at)
SELECT t.id, a.step_key, a.epoch, a.body, now()
FROM (SELECT * FROM unnest(%s::uuid[], %s::int[], %s::text[], %s::text[]) AS a (task_id, epoch, step_key, body)
    ORDER BY task_id, step_key) a
CROSS JOIN LATERAL (SELECT id FROM tasks WHERE id = a.task_id AND epoch = a.epoch AND (status = 'running') IS TRUE) t
ON CONFLICT (task_id, step_key) DO UPDATE SET epoch = excluded.epoch, body = excluded.body, at = excluded.at
"""
_FORGET_TEXTS = """
DELETE FROM task_deltas d USING unnest(%s::uuid[], %s::int[], %s::text[]) AS a (task_id, epoch, step_key)
WHERE d.task_id = a.task_id AND d.epoch <= a.epoch AND (a.step_key IS NULL OR d.step_key = a.step_key)
"""
_PUT_VERSION = """
INSERT INTO agent_versions (digest, namespace, definition, created_at) VALUES (%s, %s, %s::json, now())
ON CONFLICT DO NOTHING
"""
_PUT_AGENT = """
INSERT INTO agents (namespace, name, digest, registered_at) VALUES (%s, %s, %s, now())
ON CONFLICT (namespace, name) DO UPDATE SET digest = excluded.digest, registered_at = now()
WHERE agents.digest <> excluded.digest
"""
# Passing over who is heard of right now.
_FORGET_SILENT_WORKERS = """
DELETE FROM workers WHERE worker_id IN (
    SELECT worker_id FROM workers WHERE seen_at < now() - make_interval(secs => %s::float8) FOR UPDATE SKIP LOCKED
)
"""
_FIND_ENDINGS = """
SELECT type, seq, payload FROM task_events WHERE task_id = %s AND type IN
    ('task.completed', 'task.failed', 'task.canceled', 'task.retrying', 'task.waiting', 'task.resumed',
    'task.handed_over')
ORDER BY seq DESC
"""


class PostgresTransaction:
    """See `Transaction`."""

    def __init__(self, connection: AsyncConnection[DictRow]) -> None:
        self._connection = connection

    async def insert_tasks_unless_known(self, tasks: Sequence[TaskInsert]) -> Sequence[Inserted]:
        rare = [_rare_values(task) for task in tasks]
        values = [_new_values(task) for task in tasks]
        statement = _INSERT_PLAIN_TASKS_UNLESS_KNOWN
        if any(one != _NOTHING_RARE for one in rare):
            statement, values = _INSERT_TASKS_UNLESS_KNOWN, [(*a, *b) for a, b in zip(values, rare, strict=True)]
        columns = zip(*values, strict=True)
        rows = await self._rows(statement, [array_literal(column) for column in columns])
        return [Inserted(**{**row, "status": TaskStatus(row["status"])}) for row in rows]

    async def find_known(self, tasks: Sequence[TaskInsert]) -> Sequence[KnownTask]:
        keyed = [task.new for task in tasks if task.new.idempotency_key is not None]
        ids, namespaces = [task.new.id for task in tasks], [new.namespace for new in keyed]
        values = (ids, namespaces, [new.idempotency_key for new in keyed])
        rows = await self._rows(_FIND_KNOWN, [array_literal(column) for column in values])
        return [KnownTask(**{**row, "status": TaskStatus(row["status"])}) for row in rows]

    async def claim_best(self, ask: ClaimAsk) -> Sequence[TaskRecord]:
        check_transition(TaskStatus.queued, TaskStatus.running)
        return await self._rows(_CLAIM_BEST, (ask.queue, ask.limit, ask.worker_id, ask.token, ask.lease_seconds))

    async def find_claimed(self, token: UUID) -> Sequence[TaskRecord]:
        return await self._rows(_FIND_CLAIMED, (token,))

    async def append_if_held(self, asks: Sequence[AppendAsk]) -> Mapping[UUID, Appended]:
        columns = zip(
            *((a.task_id, a.epoch, a.type, a.step_key, a.phase, a.payload.text, a.payload.blob) for a in asks),
            strict=True,
        )
        rows = await self._rows(_APPEND_IF_HELD, [array_literal(column) for column in columns])
        written = {row["task_id"]: Appended(row["seq"], first=True) for row in rows if row["seq"] is not None}
        held = {row["task_id"] for row in rows}
        for ask in asks:
            if ask.task_id in held and ask.task_id not in written:
                try:
                    seq = await self.find_same_event(ask)
                except Error as error:
                    # The events above may be committed by now.
                    raise AnswerLost(f"the events were written, or not: {error}") from error
                if seq is not None:
                    written[ask.task_id] = Appended(seq, first=False)
        return written

    async def end_plain(self, ends: Sequence[PlainEnd]) -> Mapping[UUID, int]:
        for status in {end.status for end in ends}:
            check_transition(TaskStatus.running, status)
        rows = [
            (
                *(end.task_id, end.epoch, end.status, end.result.text, end.result.blob, end.error, end.usage),
                *(end.event, end.payload, *_step_values(end.last_step)),
            )
            for end in ends
        ]
        return {row["id"]: row["seq"] for row in await self._rows(_END_PLAIN, _columns(rows, 14))}

    async def find_same_event(self, ask: AppendAsk) -> int | None:
        if ask.step_key is not None:
            rows = await self._rows(_FIND_STEP, (ask.task_id, ask.step_key, str(ask.phase)))
        else:
            rows = await self._rows(_FIND_SAME, (ask.task_id, str(ask.type), ask.payload.text, ask.payload.blob))
        return rows[0]["seq"] if rows else None

    async def has_event(self, task_id: UUID, event: LoggedEvent) -> bool:
        return bool(await self._rows(_FIND_EVENT, (task_id, event.seq, str(event.type), event.payload)))

    async def run(self, statement: Executable) -> Sequence[dict[str, Any]]:
        text, values, read = compiled(statement, _DIALECT)
        # Not prepared: plans of statements that are seldom asked are not worth their memory.
        cursor = await self._connection.execute(text.encode(), values, prepare=False)
        return [read(row) for row in await cursor.fetchall()] if cursor.description else []

    async def now(self) -> datetime:
        (row,) = await self._rows("SELECT clock_timestamp() AS now", ())
        now: datetime = row["now"]
        return now

    async def lock(self, ids: Sequence[UUID]) -> Held:
        return _held(await self._rows(_LOCK, (array_literal(ids),)))

    async def lock_free(self, ids: Sequence[UUID]) -> Held:
        return _held(await self._rows(_LOCK_FREE, (array_literal(ids),)))

    async def lock_due(self, limit: int) -> Held:
        return _held([*await self._rows(_LOCK_SCHEDULED, (limit,)), *await self._rows(_LOCK_TO_WAKE, (limit,))])

    async def lock_expired(self, limit: int) -> Held:
        return _held(await self._rows(_LOCK_EXPIRED, (limit,)))

    async def lock_overdue(self, limit: int) -> Held:
        rows = [*await self._rows(_LOCK_OVERDUE, (limit,)), *await self._rows(_LOCK_NEVER_CLAIMED, (limit,))]
        return _held({row["id"]: row for row in rows}.values())

    async def apply_if_unchanged(self, changes: Sequence[Change]) -> None:
        events = [
            (
                *(c.after.id, e.seq, c.after.namespace, c.after.round, e.type, e.step_key, e.phase, c.at),
                *(e.payload, e.payload_blob),
            )
            for c in changes
            for e in c.events
        ]
        states = [
            (c.before.id, c.before.epoch, c.before.status, *(getattr(c.after, name) for name in HELD_STATE))
            for c in changes
        ]
        columns = [*_columns(events, 10), *_columns(states, 3 + len(HELD_STATE))]
        cursor = await self._connection.execute(_APPLY_IF_UNCHANGED, columns)
        if cursor.rowcount != len(changes):
            raise AssertionError("a held row changed under its lock")

    async def put_blob(self, namespace: str, digest: str, data: bytes) -> None:
        await self._connection.execute(_PUT_BLOB, (namespace, digest, data))

    async def put_blob_of_task(self, task_id: UUID, digest: str, data: bytes) -> None:
        await self._connection.execute(_PUT_BLOB_OF_TASK, (digest, data, task_id))

    async def save_texts(self, asks: Sequence[TextAsk]) -> None:
        rows = [(ask.task_id, ask.epoch, ask.step_key, ask.body) for ask in asks]
        await self._connection.execute(_SAVE_TEXTS, _columns(rows, 4))

    async def forget_texts(self, asks: Sequence[TextAsk]) -> None:
        rows = [(ask.task_id, ask.epoch, ask.step_key) for ask in asks]
        await self._connection.execute(_FORGET_TEXTS, _columns(rows, 3))

    async def forget_silent_workers(self, silent_seconds: float) -> int:
        return (await self._connection.execute(_FORGET_SILENT_WORKERS, (silent_seconds,))).rowcount

    async def put_versions(self, agents: Sequence[AgentPut]) -> None:
        for agent in agents:
            await self._connection.execute(_PUT_VERSION, (agent.digest, agent.namespace, agent.definition))

    async def put_agents(self, agents: Sequence[AgentPut]) -> None:
        await self.put_versions(agents)
        for agent in agents:
            await self._connection.execute(_PUT_AGENT, (agent.namespace, agent.name, agent.digest))

    async def find_ending(self, task_id: UUID, epoch: int) -> tuple[EventType, int] | None:
        for row in await self._rows(_FIND_ENDINGS, (task_id,)):
            if row["payload"].get("epoch") == epoch:
                return EventType(row["type"]), row["seq"]
        return None

    async def _rows(self, statement: str, values: Sequence[Any]) -> list[DictRow]:
        return await (await self._connection.execute(statement, values)).fetchall()


def _columns(rows: Sequence[tuple[Any, ...]], width: int) -> list[str]:
    return [array_literal(row[n] for row in rows) for n in range(width)]


def _step_values(step: AppendAsk | None) -> tuple[Any, ...]:
    if step is None:
        return (None,) * 5
    return step.type, step.step_key, step.phase, step.payload.text, step.payload.blob


def _new_values(task: TaskInsert) -> tuple[Any, ...]:
    new = task.new
    return (
        *(new.id, new.namespace, new.kind, new.agent, new.agent_digest, new.queue, new.priority),
        *(task.input.text, task.input.blob, task.labels, new.max_attempts, new.timeout_seconds),
        *(new.idempotency_key, new.request_hash, new.concurrency_key, new.fairness_key, new.session_id),
        *(new.traceparent, new.created_by, new.run_at),
    )


def _rare_values(task: TaskInsert) -> tuple[Any, ...]:
    new, rate, parent, origin = task.new, task.new.rate, task.new.parent, task.new.forked_from
    return (
        *(new.queue_timeout_seconds, new.attempt_timeout_seconds, new.concurrency_limit),
        *((rate.key, rate.limit, rate.per_seconds) if rate else (None, None, None)),
        new.stream,
        *((parent.task_id, parent.round, parent.step_key) if parent else (None, None, None)),
        new.depth,
        *((origin.task_id, origin.round, origin.before_step) if origin else (None, None, None)),
        *(new.schedule_id, task.place.blocked, task.place.holds_key, task.place.rank),
    )


_NOTHING_RARE = (*[None] * 6, False, None, None, None, 0, None, None, None, None, False, False, 0)


def _held(rows: Iterable[DictRow]) -> Held:
    found = sorted(rows, key=lambda row: row["id"])
    # Each row has the time of its own lock.
    now: datetime = max((row["now"] for row in found), default=datetime.now(UTC))
    return Held([held_from_record(row) for row in found], now)
