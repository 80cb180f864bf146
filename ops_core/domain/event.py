"""The entries of a task's log: what clients stream and what a replay reads, one and the same."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from ops_core.domain.task import JsonObject

#: Version of the payloads written today. A reader must know every version up to this one.
EVENT_FORMAT = 1


class EventType(StrEnum):
    """What happened. Public: clients match on it."""

    #: It was submitted.
    task_submitted = "task.submitted"
    #: A worker claimed it and starts (or goes on with) it.
    task_started = "task.started"
    #: Its time has come (run_at or the pause before a retry).
    task_due = "task.due"
    #: The attempt failed; it is tried again at `retry_at`.
    task_retrying = "task.retrying"
    #: It waits for something outside.
    task_waiting = "task.waiting"
    #: What it waited for has come.
    task_resumed = "task.resumed"
    #: Its worker drains; another one goes on.
    task_handed_over = "task.handed_over"
    #: Its worker was not heard of for a lease; another one goes on.
    task_lease_lost = "task.lease_lost"
    #: Somebody asked to cancel it while it ran; its worker stops it.
    task_cancel_requested = "task.cancel_requested"
    #: It has a result. Final.
    task_completed = "task.completed"
    #: It has an error. Final.
    task_failed = "task.failed"
    #: It was canceled. Final.
    task_canceled = "task.canceled"
    #: It was refused before it ran. Final.
    task_rejected = "task.rejected"
    #: A person retries a finished task: the next round begins.
    task_reopened = "task.reopened"
    #: A model call is done.
    llm_completed = "llm.completed"
    #: A tool call with a side effect is about to be made.
    tool_started = "tool.started"
    #: A tool call is done, or has failed in a way the agent was told.
    tool_completed = "tool.completed"
    #: A person is asked to decide.
    approval_requested = "approval.requested"
    #: One person has decided; more are needed.
    approval_voted = "approval.voted"
    #: Nobody decided in time: another group is asked.
    approval_escalated = "approval.escalated"
    #: It is decided, or nobody has in time.
    approval_decided = "approval.decided"
    #: The agent asks a question.
    input_requested = "input.requested"
    #: The question is answered, declined, or nobody has in time.
    input_received = "input.received"
    #: It waits for a signal.
    signal_awaited = "signal.awaited"
    #: A signal was sent before it was awaited, and is kept.
    signal_kept = "signal.kept"
    #: The awaited signal is there, or was not in time.
    signal_received = "signal.received"
    #: It waits for time to pass.
    timer_started = "timer.started"
    #: The time has passed.
    timer_fired = "timer.fired"
    #: A child task was added.
    child_started = "child.started"
    #: A child task has ended.
    child_finished = "child.finished"


class StepPhase(StrEnum):
    """Which half of a journaled step an event is."""

    intent = "intent"
    result = "result"


@dataclass(frozen=True, slots=True, kw_only=True)
class NewEvent:
    """An event about to be written; the store numbers it."""

    type: EventType
    payload: JsonObject
    step_key: str | None = None
    phase: StepPhase | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One entry of a task's log."""

    task_id: UUID
    #: 1, 2, 3, … without gaps, in the order of commits.
    seq: int
    round: int
    type: EventType
    payload: JsonObject
    at: datetime
    format: int = EVENT_FORMAT
    step_key: str | None = None
    phase: StepPhase | None = None
