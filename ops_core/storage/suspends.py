"""A run that stops to wait: what it waits for is begun, or found to be there, in the transaction that suspends it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import insert, select

from ops_core.domain.approval import ApprovalRequest, ApprovalStatus
from ops_core.domain.event import EventType, StepPhase
from ops_core.domain.outcome import Suspended
from ops_core.domain.task import JsonObject
from ops_core.domain.uuid7 import Uuid7Source
from ops_core.domain.wait import (
    ApprovalWait,
    ChildWait,
    InputWait,
    SignalWait,
    TimerWait,
    Wait,
    WaitKind,
    kind_of,
    wait_payload,
    waiting_for,
)
from ops_core.storage import children, settle, signals
from ops_core.storage.long_json import stored_in
from ops_core.storage.schema import approvals, task_events, waits
from ops_core.storage.settlement import Settlement
from ops_core.storage.waits import log_answer, must_hold, soonest, time_after
from ops_core.storage.writes import HeldTask

_BEGUN = {
    WaitKind.approval: EventType.approval_requested,
    WaitKind.input: EventType.input_requested,
    WaitKind.signal: EventType.signal_awaited,
    WaitKind.timer: EventType.timer_started,
    WaitKind.child: EventType.child_started,
}

_ids = Uuid7Source()


@dataclass(frozen=True, slots=True)
class Suspend:
    """A held task whose run suspends it, and no cancel was requested."""

    task_id: UUID
    outcome: Suspended

    @property
    def waits(self) -> Mapping[str, Wait]:
        return {wait.key: wait for wait in self.outcome.waits}


@dataclass(frozen=True, slots=True)
class _Begun:
    """A wait that its round has not seen before."""

    task: HeldTask
    wait: Wait
    expires_at: datetime | None
    approval_id: UUID | None

    @property
    def place(self) -> tuple[UUID, str]:
        return self.task.id, self.wait.key


async def suspend(settlement: Settlement, suspends: Sequence[Suspend]) -> None:
    """Begin what the runs wait for and has not been begun; then let each task wait, or go on at once when there is an
    answer already: the run did not know of it when it stopped, and nobody would wake it again."""
    # Nothing was waited for before the first suspend, and that raises the epoch past the first claim's.
    again = [one for one in suspends if must_hold(settlement, one.task_id).epoch > 1]
    known = await _known(settlement, again) if again else {}
    begun: list[_Begun] = []
    for one in suspends:
        task = must_hold(settlement, one.task_id)
        new = [wait for key, wait in one.waits.items() if (one.task_id, key) not in known]
        mine = [_begun(task, wait, settlement.now) for wait in new]
        await _log_begun(settlement, one, mine)
        begun += mine
    found = {place for place, is_answered in known.items() if is_answered}
    found |= await _find_answers(settlement, begun)
    kept = [each for each in begun if each.place not in found]
    await _keep(settlement, kept)
    wake_at = {**_soonest_of(kept), **(await soonest(settlement, [one.task_id for one in again]) if again else {})}
    for one in suspends:
        _wait_or_go_on(settlement, one, [key for key in one.waits if (one.task_id, key) in found], wake_at)


async def _known(settlement: Settlement, again: Sequence[Suspend]) -> Mapping[tuple[UUID, str], bool]:
    """Waits that this round of their tasks has begun before, and whether they are answered."""
    column = task_events.c
    rounds = {one.task_id: must_hold(settlement, one.task_id).round for one in again}
    wanted = (
        column.task_id.in_(sorted(rounds)),
        column.round.in_(sorted({*rounds.values()})),
        column.step_key.in_(sorted({key for one in again for key in one.waits})),
    )
    known: dict[tuple[UUID, str], bool] = {}
    events = select(column.task_id, column.round, column.step_key, column.phase).where(*wanted)
    for row in await settlement.tx.run(events):
        if row["round"] == rounds[row["task_id"]]:
            place = row["task_id"], row["step_key"]
            known[place] = known.get(place, False) or row["phase"] == StepPhase.result
    return known


def _begun(task: HeldTask, wait: Wait, now: datetime) -> _Begun:
    match wait:
        case ApprovalWait(request=request) | InputWait(request=request):
            return _Begun(task, wait, time_after(now, request.timeout_seconds), _ids.new())
        case SignalWait(timeout_seconds=seconds):
            return _Begun(task, wait, time_after(now, seconds), None)
        case TimerWait(seconds=seconds):
            return _Begun(task, wait, time_after(now, seconds), None)
        case ChildWait():
            return _Begun(task, wait, None, None)


async def _log_begun(settlement: Settlement, one: Suspend, begun: Sequence[_Begun]) -> None:
    """The intents, and what the run has used so far."""
    entries = []
    for each in begun:
        stored = await stored_in(settlement.tx, each.task.namespace, _intent(each))
        kind, key = _BEGUN[kind_of(each.wait)], each.wait.key
        entries.append(settle.Entry(type=kind, payload=stored, step_key=key, phase=StepPhase.intent))
    held = must_hold(settlement, one.task_id)
    settlement.change(settle.logged(held, entries, settlement.now, usage=one.outcome.usage))
    if wanted := [each.wait for each in begun if isinstance(each.wait, ChildWait)]:
        await children.start(settlement, must_hold(settlement, one.task_id), wanted)


def _intent(begun: _Begun) -> JsonObject:
    payload: JsonObject = {
        "kind": "wait",
        "wait": str(kind_of(begun.wait)),
        "fingerprint": _fingerprint(begun.wait) or "",
    }
    payload |= wait_payload(begun.wait)
    if begun.approval_id is not None:
        payload["approval_id"] = str(begun.approval_id)
    if begun.expires_at is not None:
        payload["expires_at"] = settle.rfc3339(begun.expires_at)
    return payload


def _fingerprint(wait: Wait) -> str | None:
    request = _request(wait)
    return request.fingerprint if request is not None else None


def _request(wait: Wait) -> ApprovalRequest | None:
    return wait.request if isinstance(wait, ApprovalWait | InputWait) else None


async def _find_answers(settlement: Settlement, begun: Sequence[_Begun]) -> set[tuple[UUID, str]]:
    """Answer what needs not be waited for: signals that are kept, and times that are over."""
    answers: dict[tuple[UUID, str], JsonObject] = {}
    awaited = [(each.task.id, each.wait.key, each.wait.name) for each in begun if isinstance(each.wait, SignalWait)]
    if awaited:
        answers |= await signals.take_kept(settlement.tx, awaited)
    for each in begun:
        place = each.place
        if isinstance(each.wait, TimerWait) and each.wait.seconds <= 0:
            answers[place] = {}
        if place in answers:
            kind = kind_of(each.wait)
            await log_answer(settlement, each.task.id, each.wait.key, kind, answers[place], fingerprint=None)
    return {*answers}


async def _keep(settlement: Settlement, begun: Sequence[_Begun]) -> None:
    if not begun:
        return
    await settlement.tx.run(insert(waits).values([_wait_row(each, settlement.now) for each in begun]))
    asked = [row for each in begun if (row := _approval_row(each, settlement.now)) is not None]
    if asked:
        await settlement.tx.run(insert(approvals).values(asked))


def _soonest_of(begun: Sequence[_Begun]) -> Mapping[UUID, datetime]:
    times: dict[UUID, datetime] = {}
    for each in begun:
        if each.expires_at is not None:
            times[each.task.id] = min(each.expires_at, times.get(each.task.id, each.expires_at))
    return times


def _wait_row(begun: _Begun, now: datetime) -> dict[str, Any]:
    return {
        "task_id": begun.task.id,
        "step_key": begun.wait.key,
        "namespace": begun.task.namespace,
        "round": begun.task.round,
        "kind": str(kind_of(begun.wait)),
        "name": begun.wait.name if isinstance(begun.wait, SignalWait) else None,
        "expires_at": begun.expires_at,
        "fingerprint": _fingerprint(begun.wait),
        "since": now,
    }


def _approval_row(begun: _Begun, now: datetime) -> dict[str, Any] | None:
    request = _request(begun.wait)
    if request is None:
        return None
    return {
        "id": begun.approval_id,
        "namespace": begun.task.namespace,
        "task_id": begun.task.id,
        "round": begun.task.round,
        "step_key": begun.wait.key,
        "agent": begun.task.agent,
        "request": request.to_json(),
        "deciders": [*request.groups],
        "status": str(ApprovalStatus.pending),
        "created_at": now,
        "expires_at": begun.expires_at,
        "escalated_at": None,
        "decided_at": None,
    }


def _wait_or_go_on(
    settlement: Settlement, one: Suspend, answered: Sequence[str], wake_at: Mapping[UUID, datetime]
) -> None:
    held = must_hold(settlement, one.task_id)
    shown = waiting_for(one.outcome.waits)
    is_child = {key: isinstance(wait, ChildWait) for key, wait in one.waits.items()}
    # Children are waited for together: the last one to end wakes their parent.
    are_children_done = any(is_child.values()) and held.pending_children == 0
    if are_children_done or any(not is_child[key] for key in answered):
        settlement.change(settle.resumed(held, str(shown), answered, settlement.now))
    else:
        settlement.change(settle.suspended(held, shown, [*one.waits], settlement.now, wake_at=wake_at.get(one.task_id)))
