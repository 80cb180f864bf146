"""A named message from outside to one task."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from ops_core.domain.task import JsonValue

#: What a signal may be called.
SIGNAL_NAME = r"^[a-zA-Z0-9][a-zA-Z0-9._-]{0,127}$"


@dataclass(frozen=True, slots=True, kw_only=True)
class NewSignal:
    """A signal about to be kept. The id is made by the service (UUIDv7)."""

    id: UUID
    name: str
    payload: JsonValue
    sent_by: str
    #: The same key to the same task is the same signal.
    idempotency_key: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Signal(NewSignal):
    """A signal as it is kept."""

    task_id: UUID
    sent_at: datetime
    #: The step that took it; None while nobody has waited for it.
    taken_by: str | None = None
