"""Rows as the domain's values: what a record of the database says, as a task or an event."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Mapping
from typing import Any
from uuid import UUID

from sqlalchemy import Boolean, Uuid

from ops_core.domain.event import Event, EventType, StepPhase
from ops_core.domain.task import (
    ForkOrigin,
    RateLimit,
    Task,
    TaskError,
    TaskKind,
    TaskStatus,
    TaskUsage,
    WaitingFor,
)
from ops_core.storage.column_types import SearchableJson, UtcTime, VerbatimJson, time_from_sqlite
from ops_core.storage.schema import tasks
from ops_core.storage.writes import HELD_NAMES, HELD_STATE, HeldTask

#: What reading a task wants; the rest of the columns is the store's own business.
TASK_COLUMNS = tuple(
    column.name
    for column in tasks.columns
    if column.name
    not in {
        "request_hash",
        "parent_round",
        "parent_step_key",
        "resuming",
        "holds_key",
        "queue_deadline_at",
        "wake_at",
        "rung_at",
        "claim_token",
        "lease_expires_at",
    }
)
HELD_COLUMNS = (*HELD_NAMES, *HELD_STATE)

_AS_TEXT = {"result", "error", "usage"}


def task_from_record(record: Mapping[str, Any], *, input: Any, result: Any) -> Task:
    """The task; its input and result come apart, since long ones are kept elsewhere."""
    error, usage, waiting_for = record["error"], record["usage"], record["waiting_for"]
    return Task(
        id=record["id"],
        namespace=record["namespace"],
        kind=TaskKind(record["kind"]),
        status=TaskStatus(record["status"]),
        agent=record["agent"],
        agent_digest=record["agent_digest"],
        queue=record["queue"],
        priority=record["priority"],
        input=input,
        labels=record["labels"],
        attempt=record["attempt"],
        max_attempts=record["max_attempts"],
        crashes=record["crashes"],
        suspicion=record["suspicion"],
        round=record["round"],
        epoch=record["epoch"],
        seq=record["seq"],
        created_at=record["created_at"],
        created_by=record["created_by"],
        run_at=record["run_at"],
        started_at=record["started_at"],
        claimed_at=record.get("claimed_at"),
        finished_at=record["finished_at"],
        timeout_seconds=record["timeout_seconds"],
        deadline_at=record["deadline_at"],
        cancel_requested_at=record["cancel_requested_at"],
        waiting_for=WaitingFor(waiting_for) if waiting_for else None,
        result=result,
        error=TaskError(**_known(TaskError, error)) if error else None,
        usage=TaskUsage(**_known(TaskUsage, usage)) if usage else TaskUsage(),
        idempotency_key=record["idempotency_key"],
        queue_timeout_seconds=record["queue_timeout_seconds"],
        attempt_timeout_seconds=record["attempt_timeout_seconds"],
        concurrency_key=record["concurrency_key"],
        concurrency_limit=record["concurrency_limit"],
        rate=_rate(record),
        fairness_key=record["fairness_key"],
        blocked=record["blocked"],
        session_id=record["session_id"],
        stream=record["stream"],
        parent_id=record["parent_id"],
        depth=record["depth"],
        pending_children=record["pending_children"],
        forked_from=_fork_origin(record),
        schedule_id=record["schedule_id"],
        traceparent=record["traceparent"],
        worker_id=record["worker_id"],
    )


def _rate(record: Mapping[str, Any]) -> RateLimit | None:
    key = record["rate_key"]
    if key is None:
        return None
    return RateLimit(key=key, limit=record["rate_limit"], per_seconds=record["rate_seconds"])


def _fork_origin(record: Mapping[str, Any]) -> ForkOrigin | None:
    id = record["forked_from_id"]
    if id is None:
        return None
    return ForkOrigin(task_id=id, round=record["forked_from_round"], before_step=record["forked_before_step"])


def event_from_record(record: Mapping[str, Any], *, payload: Any) -> Event:
    phase = record["phase"]
    return Event(
        task_id=record["task_id"],
        seq=record["seq"],
        round=record["round"],
        type=EventType(record["type"]),
        payload=payload,
        at=record["at"],
        format=record["format"],
        step_key=record["step_key"],
        phase=StepPhase(phase) if phase else None,
    )


def held_from_record(record: Mapping[str, Any]) -> HeldTask:
    values = {name: record[name] for name in HELD_COLUMNS}
    return HeldTask(**{**values, "status": TaskStatus(values["status"])})


def record_from_sqlite(row: sqlite3.Row) -> dict[str, Any]:
    """A row of `tasks` as the SQLite driver gives it, with Python values."""
    return {name: _from_sqlite(name, row[name]) for name in row.keys()}  # noqa: SIM118  a Row iterates over values


def held_from_sqlite(row: sqlite3.Row) -> HeldTask:
    return held_from_record({n: row[n] if n in _AS_TEXT else _from_sqlite(n, row[n]) for n in HELD_COLUMNS})


def _from_sqlite(name: str, value: Any) -> Any:
    convert = _SQLITE_CONVERTERS.get(name)
    return convert(value) if convert is not None and value is not None else value


def _sqlite_converters() -> dict[str, Callable[[Any], Any]]:
    converters: dict[str, Callable[[Any], Any]] = {"claimed_at": time_from_sqlite}
    for column in tasks.columns:
        match column.type:
            case UtcTime():
                converters[column.name] = time_from_sqlite
            case VerbatimJson() | SearchableJson():
                converters[column.name] = json.loads
            case Uuid():
                converters[column.name] = UUID
            case Boolean():
                converters[column.name] = bool
            case _:
                pass
    return converters


_SQLITE_CONVERTERS = _sqlite_converters()


def _known(cls: type, values: Mapping[str, Any]) -> dict[str, Any]:
    """Only the fields that this version has: a newer process may have written more."""
    return {name: values[name] for name in cls.__dataclass_fields__ if name in values}  # type: ignore[attr-defined]  # both are dataclasses
