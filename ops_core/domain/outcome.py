"""How one run of a task can end: a closed union that the runner decides and the store writes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from ops_core.domain.task import JsonValue, TaskError, TaskUsage
from ops_core.domain.wait import Wait


@dataclass(frozen=True, slots=True, kw_only=True)
class Completed:
    """It has a result. Wins over a cancel request that came later."""

    result: JsonValue
    usage: TaskUsage


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """It failed for good."""

    error: TaskError
    usage: TaskUsage


@dataclass(frozen=True, slots=True, kw_only=True)
class Retry:
    """It failed and is tried again after a pause; becomes `canceled` when a cancel was requested."""

    error: TaskError
    #: Counted from the database's now.
    delay_seconds: float
    usage: TaskUsage


@dataclass(frozen=True, slots=True, kw_only=True)
class Suspended:
    """It waits for something outside; becomes `canceled` when a cancel was requested, and `queued` when something it
    waits for is there already."""

    #: All that the run waits for; at least one.
    waits: tuple[Wait, ...]
    usage: TaskUsage


@dataclass(frozen=True, slots=True, kw_only=True)
class Canceled:
    """A cancel was requested and the run has stopped."""

    usage: TaskUsage


@dataclass(frozen=True, slots=True, kw_only=True)
class HandedOver:
    """The worker drains: another one goes on, no attempt is spent; `canceled` when a cancel was requested."""

    usage: TaskUsage


Outcome: TypeAlias = Completed | Failed | Retry | Suspended | Canceled | HandedOver
