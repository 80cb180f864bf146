"""Every log event's name, and how log lines are written: JSON when nobody watches, coloured text on a terminal."""

from __future__ import annotations

import logging
import sys
from collections.abc import Mapping
from contextvars import ContextVar
from enum import StrEnum
from types import MappingProxyType
from typing import Any, cast

import structlog


class LogEvent(StrEnum):
    """Names of log events. A line is an event plus fields, never prose; no goals, prompts or secrets at info."""

    process_started = "process.started"
    process_stopping = "process.stopping"
    process_stopped = "process.stopped"
    process_stuck = "process.stuck"
    store_waiting = "store.waiting"
    store_ready = "store.ready"
    store_failed = "store.failed"
    broker_lost = "broker.lost"
    broker_back = "broker.back"
    broker_failed = "broker.failed"
    doorbell_rung = "doorbell.rung"
    ticket_taken = "ticket.taken"
    ticket_given_back = "ticket.given_back"
    ticket_unreadable = "ticket.unreadable"
    task_submitted = "task.submitted"
    task_claimed = "task.claimed"
    task_ended = "task.ended"
    task_cancel_requested = "task.cancel_requested"
    task_reopened = "task.reopened"
    task_forked = "task.forked"
    approval_decided = "approval.decided"
    signal_sent = "signal.sent"
    schedule_created = "schedule.created"
    schedule_changed = "schedule.changed"
    schedule_deleted = "schedule.deleted"
    schedule_fired = "schedule.fired"
    schedule_not_fired = "schedule.not_fired"
    tasks_pruned = "tasks.pruned"
    tasks_not_archived = "tasks.not_archived"
    run_failed = "run.failed"
    journal_newer = "journal.newer"
    run_lost = "run.lost"
    run_isolated = "run.isolated"
    run_crashed = "run.crashed"
    run_deaf = "run.deaf"
    step_finished = "step.finished"
    text_not_kept = "text.not_kept"
    lease_late = "lease.late"
    lease_renewal_failed = "lease.renewal_failed"
    loop_stalled = "loop.stalled"
    worker_draining = "worker.draining"
    worker_drained = "worker.drained"
    child_started = "child.started"
    child_died = "child.died"
    child_stalled = "child.stalled"
    stop_ignored = "stop.ignored"
    orphans_killed = "orphans.killed"
    housekeeper_tick_failed = "housekeeper.tick_failed"
    housekeeper_took_back = "housekeeper.took_back"
    housekeeper_rang = "housekeeper.rang"
    watch_failed = "watch.failed"
    request_failed = "request.failed"
    request_served = "request.served"
    agent_registered = "agent.registered"
    plugin_broken = "plugin.broken"


#: Loggers of libraries that are heard from `warning` on.
_CHATTY = (
    "aiosqlite",
    "alembic",
    "dramatiq",
    "httpcore2",
    "httpx2",
    "mcp",
    "uvicorn",
    "uvicorn.access",
    "uvicorn.error",
)

#: Everything that could move a cursor, change colours or hide text; line feed and tab stay.
_CONTROL = {code: f"\\x{code:02x}" for code in (*range(0x20), *range(0x7F, 0xA0)) if chr(code) not in "\n\t"}

#: Loggers of libraries that say at `error` what we say ourselves (`broker.lost`), at each try anew.
_ECHOING = ("pika",)


def configure_logging(*, level: str, json_lines: bool | None = None) -> None:
    """Set up structlog and the standard library's logging for this process, once.

    `json_lines` None means: JSON unless stderr is a terminal.
    """
    as_json = (not sys.stderr.isatty()) if json_lines is None else json_lines
    shared: list[structlog.typing.Processor] = [
        _with_log_fields,
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
    ]
    renderer: structlog.typing.Processor
    if as_json:
        shared.append(structlog.processors.format_exc_info)
        renderer = structlog.processors.JSONRenderer()
    else:
        shared.append(_spell_out_control_characters)
        renderer = structlog.dev.ConsoleRenderer()
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        # A line that nobody will see costs next to nothing.
        wrapper_class=structlog.make_filtering_bound_logger(level),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared, structlog.stdlib.ExtraAdder()],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    # These write a line per request or connection; ours say the same with the task's id.
    for name in _CHATTY:
        logging.getLogger(name).setLevel(max(logging.WARNING, root.level))
    for name in _ECHOING:
        logging.getLogger(name).setLevel(logging.CRITICAL)


def _spell_out_control_characters(
    _logger: object, _name: str, event: structlog.typing.EventDict
) -> structlog.typing.EventDict:
    """What a stranger sent must not move the cursor of whoever reads the log. JSON escapes by itself."""
    return {key: value.translate(_CONTROL) if isinstance(value, str) else value for key, value in event.items()}


def get_logger(**fields: Any) -> structlog.typing.FilteringBoundLogger:
    """A logger that adds these fields to each line."""
    return cast(structlog.typing.FilteringBoundLogger, structlog.get_logger(**fields))


_FIELDS: ContextVar[Mapping[str, object]] = ContextVar("log_fields", default=MappingProxyType({}))


class log_fields:  # noqa: N801  used as a function
    """Adds these fields to every line logged inside, also by what is awaited or started there. None is left out."""

    # One variable for all of them: structlog's own way, a variable each, takes longer than the rest of a run's set-up.
    __slots__ = ("_before", "_fields")

    def __init__(self, **fields: object) -> None:
        self._fields = fields

    def __enter__(self) -> None:
        self._before = _FIELDS.set({**_FIELDS.get(), **self._fields})

    def __exit__(self, *_: object) -> None:
        _FIELDS.reset(self._before)


def current_log_fields() -> dict[str, object]:
    """Those of the `log_fields` that this code runs in."""
    return {name: value for name, value in _FIELDS.get().items() if value is not None}


def _with_log_fields(_logger: object, _name: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    return {**current_log_fields(), **event}


def trace_id_of(traceparent: str | None) -> str | None:
    """The trace id of a W3C `traceparent`; None when there is none."""
    parts = (traceparent or "").split("-")
    return parts[1] if len(parts) >= 4 else None
