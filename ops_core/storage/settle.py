"""What becomes of a held task: pure decisions, each of which asks the one transition table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from ops_core.domain.event import EventType, StepPhase
from ops_core.domain.outcome import Canceled, Completed, Failed, HandedOver, Outcome, Retry, Suspended
from ops_core.domain.task import (
    JsonObject,
    RetryFrom,
    TaskError,
    TaskStatus,
    TaskUsage,
    WaitingFor,
    check_transition,
)
from ops_core.ports import Ring
from ops_core.storage.json_text import dump_json
from ops_core.storage.writes import AppendAsk, Change, HeldTask, LoggedEvent, PlainEnd, StoredJson

#: Nobody holds it any more.
_RELEASED: dict[str, Any] = {"claim_token": None, "lease_expires_at": None}
_NO_WAIT: dict[str, Any] = {"waiting_for": None, "wake_at": None}


def ended(held: HeldTask, outcome: Outcome, result: StoredJson, now: datetime) -> Change:
    """How a run ends its task. A requested cancel wins over whatever would go on, and over nothing that is over."""
    return replace(_ended(replace(held, usage=_usage(outcome.usage)), outcome, result, now), before=held)


def _ended(held: HeldTask, outcome: Outcome, result: StoredJson, now: datetime) -> Change:
    match outcome:
        case Completed():
            after = _over(held, TaskStatus.completed, now, result=result.text, result_blob=result.blob, error=None)
            return _change(held, after, now, (EventType.task_completed, {"usage": _flat(outcome.usage)}))
        case Failed():
            return _failed(held, outcome.error, now, usage=_flat(outcome.usage))
        case Canceled():
            return _canceled(held, now)
        case Retry() | Suspended() | HandedOver() if held.cancel_requested_at is not None:
            return _canceled(held, now)
        case Retry():
            return _retrying(held, outcome, now)
        case Suspended():
            raise AssertionError("what a run waits for is begun with its suspend, see `suspends`")
        case HandedOver():
            after = _claimable(held, now, resuming=True)
            return _change(held, after, now, (EventType.task_handed_over, {"worker_id": held.worker_id}))


def plain_end(
    task_id: UUID, epoch: int, outcome: Completed | Failed, result: StoredJson, last_step: AppendAsk | None
) -> PlainEnd:
    """The same of a first claim, without its row: what `ended` would make of it if nothing follows."""
    usage = _usage(outcome.usage)
    facts = f'"usage":{usage},"epoch":{epoch}'
    if isinstance(outcome, Completed):
        status, event, error = TaskStatus.completed, EventType.task_completed, None
    else:
        status, event, error = TaskStatus.failed, EventType.task_failed, dump_json(_flat(outcome.error))
        facts = f'"error":{error},{facts}'
    return PlainEnd(
        task_id=task_id,
        epoch=epoch,
        status=status,
        result=result,
        error=error,
        usage=usage,
        event=event,
        payload=f"{{{facts}}}",
        last_step=last_step,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """An event of a step, its payload in the form of the row."""

    type: EventType
    payload: StoredJson
    step_key: str | None = None
    phase: StepPhase | None = None


def logged(held: HeldTask, entries: Sequence[Entry], now: datetime, *, usage: TaskUsage | None = None) -> Change:
    """Events of a task that stays where it stands."""
    events = tuple(
        LoggedEvent(held.seq + n, entry.type, entry.payload.text, entry.step_key, entry.phase, entry.payload.blob)
        for n, entry in enumerate(entries, start=1)
    )
    spent = _usage(usage) if usage is not None else held.usage
    return Change(held, replace(held, seq=held.seq + len(events), usage=spent), now, events)


def suspended(held: HeldTask, waiting_for: WaitingFor, keys: Sequence[str], now: datetime, **changes: Any) -> Change:
    """A run stops, and its task waits for the answers to these steps; `wake_at` and `pending_children` may change."""
    after = _moved(
        held,
        TaskStatus.waiting,
        waiting_for=str(waiting_for),
        epoch=held.epoch + 1,
        # It has come to a good stop.
        suspicion=0,
        **{**_RELEASED, **changes},
    )
    facts = {"waiting_for": str(waiting_for), "keys": list(keys)}
    return _change(held, after, now, (EventType.task_waiting, facts))


def resumed(held: HeldTask, waited_for: str | None, keys: Sequence[str], now: datetime) -> Change:
    """The answers to these steps are there: the task goes on, or does not even begin to wait."""
    facts = {"waited_for": waited_for, "keys": list(keys)}
    return _change(held, _claimable(held, now, resuming=True), now, (EventType.task_resumed, facts))


def rewound(held: HeldTask, wake_at: datetime | None, now: datetime) -> Change:
    """A waiting task is to be looked at again at another time."""
    return Change(held, replace(held, wake_at=wake_at), now, ())


def rejected(held: HeldTask, error: TaskError, facts: JsonObject, now: datetime) -> Change:
    """A person refuses a task that waits for his word before it runs at all, or nobody gives it in time."""
    after = _over(held, TaskStatus.rejected, now, error=dump_json(_flat(error)))
    return _change(held, after, now, (EventType.task_rejected, {"error": _flat(error), **facts}))


def canceled_by(held: HeldTask, by: str, now: datetime) -> Change | None:
    """Cancel at once, or ask the worker to; None when that was asked before. The task is not final."""
    if held.status is not TaskStatus.running:
        return _canceled(held, now, by=by)
    if held.cancel_requested_at is not None:
        return None
    return _change(held, replace(held, cancel_requested_at=now), now, (EventType.task_cancel_requested, {"by": by}))


def reopened(
    held: HeldTask, by: str, retry_from: RetryFrom, now: datetime, *, before_step: int | None = None
) -> Change:
    """A person's retry of a final task: the next round, as if just submitted."""
    after = replace(
        _claimable(held, now, resuming=False),
        round=held.round + 1,
        attempt=0,
        crashes=0,
        suspicion=0,
        run_at=None,
        started_at=None,
        finished_at=None,
        deadline_at=_after(now, held.timeout_seconds),
        queue_deadline_at=_after(now, held.queue_timeout_seconds),
        cancel_requested_at=None,
        result=None,
        result_blob=None,
        error=None,
        usage=None,
        worker_id=None,
    )
    facts: JsonObject = {"by": by, "from": str(retry_from)}
    if retry_from is not RetryFrom.scratch:
        facts["replays_round"] = held.round
    if retry_from is RetryFrom.step:
        facts["replays_before_step"] = before_step
    return _change(held, after, now, (EventType.task_reopened, facts))


def taken_back(held: HeldTask, max_crashes: int, now: datetime, *, got_on: bool, worker_died: bool) -> Change:
    """A running task whose lease is over: another worker goes on, unless it was canceled or has crashed too often.

    `got_on`: its log says more of this claim than that it was started. What kills its worker does so at the same step
    again, so a task that gets on from one crash to the next is a neighbour of what does.
    """
    suspicion = (0 if got_on else held.suspicion) + worker_died
    lost = replace(held, crashes=held.crashes + 1, suspicion=suspicion)
    fact = (EventType.task_lease_lost, {"worker_id": held.worker_id, "crashes": lost.crashes})
    if held.cancel_requested_at is not None:
        return _canceled(lost, now, first=fact, before=held)
    if lost.crashes >= max_crashes:
        error = TaskError("worker_lost", f"the task's worker was lost {lost.crashes} times", retryable=True)
        return _failed(lost, error, now, first=fact, before=held)
    return _change(held, _claimable(lost, now, resuming=True), now, fact)


def released(held: HeldTask, now: datetime) -> Change:
    """A scheduled task that is due."""
    return _change(held, _claimable(held, now, resuming=held.resuming), now, (EventType.task_due, {}))


def overdue(held: HeldTask, now: datetime) -> Change:
    """A task that nobody runs and whose wall time is used up, or that no worker has claimed in time."""
    if held.deadline_at is not None and held.deadline_at <= now:
        error = TaskError("timeout", f"the task was not finished within {held.timeout_seconds:g} seconds")
    else:
        waited = held.queue_timeout_seconds
        error = TaskError("queue_timeout", f"no worker took the task within {waited:g} seconds", retryable=True)
    return _failed(held, error, now)


def _after(now: datetime, seconds: float | None) -> datetime | None:
    return now + timedelta(seconds=seconds) if seconds is not None else None


def rfc3339(at: datetime | None) -> str | None:
    return at.isoformat().replace("+00:00", "Z") if at is not None else None


def _retrying(held: HeldTask, outcome: Retry, now: datetime) -> Change:
    retry_at = now + timedelta(seconds=max(0.0, outcome.delay_seconds))
    error = _flat(outcome.error)
    if outcome.delay_seconds <= 0:
        after = _claimable(held, now, resuming=False)
    else:
        after = _moved(held, TaskStatus.scheduled, run_at=retry_at, epoch=held.epoch + 1, resuming=False, **_RELEASED)
    facts = {"attempt": held.attempt, "error": error, "retry_at": rfc3339(retry_at)}
    return _change(held, replace(after, error=dump_json(error)), now, (EventType.task_retrying, facts))


def _failed(
    held: HeldTask,
    error: TaskError,
    now: datetime,
    *,
    first: tuple[EventType, JsonObject] | None = None,
    before: HeldTask | None = None,
    **facts: Any,
) -> Change:
    after = _over(held, TaskStatus.failed, now, error=dump_json(_flat(error)))
    told = [first] if first else []
    return _change(before or held, after, now, *told, (EventType.task_failed, {"error": _flat(error), **facts}))


def _canceled(
    held: HeldTask,
    now: datetime,
    *,
    by: str | None = None,
    first: tuple[EventType, JsonObject] | None = None,
    before: HeldTask | None = None,
) -> Change:
    after = _over(held, TaskStatus.canceled, now, cancel_requested_at=held.cancel_requested_at or now)
    told = [first] if first else []
    return _change(before or held, after, now, *told, (EventType.task_canceled, {"by": by} if by else {}))


def _over(held: HeldTask, status: TaskStatus, now: datetime, **changes: Any) -> HeldTask:
    epoch = held.epoch + (held.status is TaskStatus.running)
    # Children that are still to end end for nobody: what follows from this change stops them.
    over = {"finished_at": now, "epoch": epoch, "resuming": False, "pending_children": 0}
    return _moved(held, status, **{**over, **_RELEASED, **_NO_WAIT, **changes})


def _claimable(held: HeldTask, now: datetime, *, resuming: bool) -> HeldTask:
    # rung_at belongs to this change: set afterwards, it would lock the row and the claim would pass it over.
    epoch = held.epoch + (held.status is TaskStatus.running)
    return _moved(held, TaskStatus.queued, rung_at=now, epoch=epoch, resuming=resuming, **_RELEASED, **_NO_WAIT)


def _moved(held: HeldTask, status: TaskStatus, **changes: Any) -> HeldTask:
    check_transition(held.status, status)
    return replace(held, status=status, **changes)


def _change(before: HeldTask, after: HeldTask, now: datetime, *told: tuple[EventType, JsonObject]) -> Change:
    events = tuple(
        # The epoch of the run that the event is about: it lets a finish whose answer was lost be found again.
        LoggedEvent(before.seq + n, kind, dump_json({**facts, "epoch": before.epoch}))
        for n, (kind, facts) in enumerate(told, start=1)
    )
    rings = before.status is not TaskStatus.queued and after.status is TaskStatus.queued
    ring = Ring(before.queue, 1, before.id, before.traceparent) if rings else None
    return Change(before, replace(after, seq=before.seq + len(events)), now, events, ring)


def _flat(value: TaskError | TaskUsage) -> JsonObject:
    """As `dataclasses.asdict`, which copies deeply and costs as much as the rest of a finish."""
    return {name: getattr(value, name) for name in value.__dataclass_fields__}


def _usage(usage: TaskUsage) -> str:
    return dump_json(_flat(usage))
