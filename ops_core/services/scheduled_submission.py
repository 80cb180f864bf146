"""A submission as the JSON that a schedule keeps: the names that clients write, only what was given."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, fields
from typing import Any
from uuid import UUID

from ops_core.domain.task import JsonObject, RateLimit
from ops_core.services.submission import Submission

#: Each time of the schedule makes its own.
_OF_EACH_TIME = frozenset({"run_at", "idempotency_key", "traceparent", "schedule_id"})
_DEFAULTS = Submission(agent="")


def submission_to_json(submission: Submission) -> JsonObject:
    """What the schedule's row keeps, and what doors show of it."""
    given = {field.name: getattr(submission, field.name) for field in fields(Submission)}
    return {
        name: _as_json(value)
        for name, value in given.items()
        if name not in _OF_EACH_TIME and (name == "agent" or value != getattr(_DEFAULTS, name))
    }


def submission_from_json(kept: JsonObject) -> Submission:
    """The submission. What a newer version has written besides is passed over."""
    known = {field.name for field in fields(Submission)} - _OF_EACH_TIME
    values: dict[str, Any] = {name: value for name, value in kept.items() if name in known}
    if "rate" in values:
        values["rate"] = RateLimit(**values["rate"])
    if "session_id" in values:
        values["session_id"] = UUID(values["session_id"])
    return Submission(**values)


def _as_json(value: Any) -> Any:
    match value:
        case RateLimit():
            return asdict(value)
        case UUID():
            return str(value)
        case Mapping():
            return dict(value)
    return value
