"""What a suspended task waits for, as rows: each goes with its answer, and all of them when the task ends."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import delete, func, select, update

from ops_core.domain.approval import ApprovalStatus
from ops_core.domain.event import EventType, StepPhase
from ops_core.domain.task import JsonObject, TaskStatus
from ops_core.domain.wait import WaitKind
from ops_core.storage import settle
from ops_core.storage.long_json import stored_in
from ops_core.storage.schema import approvals, waits
from ops_core.storage.settlement import Settlement
from ops_core.storage.writes import Change, HeldTask

#: How the event of an answer is called.
_ANSWERED = {
    WaitKind.approval: EventType.approval_decided,
    WaitKind.input: EventType.input_received,
    WaitKind.signal: EventType.signal_received,
    WaitKind.timer: EventType.timer_fired,
    WaitKind.child: EventType.child_finished,
}

#: Kinds that a person answers: each has a row in `approvals`, pending as long as the wait's row is there.
ASKED = frozenset({WaitKind.approval, WaitKind.input})


#: Longer is for ever: a date has an end.
_LONGEST_SECONDS = 100 * 365 * 86_400.0


async def answered(settlement: Settlement, task_id: UUID, key: str, answer: JsonObject) -> bool:
    """Give a held task the answer that its step waits for. False when the step does not wait (any more): nothing has
    changed. Whether the task goes on because of it is another matter, see `wake`."""
    is_it = (waits.c.task_id == task_id, waits.c.step_key == key)
    rows = await settlement.tx.run(delete(waits).where(*is_it).returning(waits.c.kind, waits.c.fingerprint))
    for row in rows:
        await log_answer(settlement, task_id, key, WaitKind(row["kind"]), answer, fingerprint=row["fingerprint"])
    return bool(rows)


async def log_answer(
    settlement: Settlement, task_id: UUID, key: str, kind: WaitKind, answer: JsonObject, *, fingerprint: str | None
) -> None:
    """The answer as an event of a held task's log: what a replay reads. The wait's row is gone, or was never there."""
    held = must_hold(settlement, task_id)
    payload = {"kind": "wait", "wait": str(kind), "fingerprint": fingerprint or "", "answer": answer, "seconds": 0}
    stored = await stored_in(settlement.tx, held.namespace, payload)
    entry = settle.Entry(type=_ANSWERED[kind], payload=stored, step_key=key, phase=StepPhase.result)
    settlement.change(settle.logged(held, [entry], settlement.now))


def wake(settlement: Settlement, task_id: UUID, key: str) -> None:
    """Let a held task go on because of the answer to this step; one that does not wait finds it when it comes to it."""
    held = must_hold(settlement, task_id)
    if held.status is TaskStatus.waiting:
        settlement.change(settle.resumed(held, held.waiting_for, [key], settlement.now))


async def soonest(settlement: Settlement, ids: Sequence[UUID]) -> Mapping[UUID, Any]:
    """When the first of all that these tasks wait for expires; tasks that nothing wakes by the clock are left out."""
    earliest = func.min(waits.c.expires_at, type_=waits.c.expires_at.type).label("at")
    timed = select(waits.c.task_id, earliest).where(waits.c.task_id.in_(ids), waits.c.expires_at.is_not(None))
    rows = await settlement.tx.run(timed.group_by(waits.c.task_id))
    return {row["task_id"]: row["at"] for row in rows}


async def follow(settlement: Settlement, changes: Sequence[Change]) -> None:
    """Tasks that have ended wait for nothing any more, and nobody is asked for them."""
    # Only a suspend makes waits, and it raises the epoch past the first claim's: most tasks cost nothing here.
    ended = [c.after.id for c in changes if c.after.status.is_final and c.before.epoch > 1]
    if not ended:
        return
    gone = delete(waits).where(waits.c.task_id.in_(ended)).returning(waits.c.task_id, waits.c.kind)
    asked = {row["task_id"] for row in await settlement.tx.run(gone) if row["kind"] in ASKED}
    if asked:
        open_ones = (approvals.c.task_id.in_(asked), approvals.c.status == ApprovalStatus.pending)
        closed = {"status": ApprovalStatus.closed, "decided_at": settlement.now}
        await settlement.tx.run(update(approvals).where(*open_ones).values(closed))


def time_after(now: datetime, seconds: float | None) -> datetime | None:
    """So many seconds from now; None for ever, and for longer than a date can say."""
    if seconds is None or seconds > _LONGEST_SECONDS:
        return None
    return now + timedelta(seconds=max(0.0, seconds))


def must_hold(settlement: Settlement, task_id: UUID) -> HeldTask:
    """The task as it stands in this settlement."""
    held = settlement.held(task_id)
    if held is None:
        raise AssertionError("only a task that is held can be answered")
    return held
