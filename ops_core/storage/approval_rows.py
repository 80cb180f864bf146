"""Rows of approvals while their task is held: read, handed on to another group, decided."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any
from uuid import UUID

from sqlalchemy import Executable, select, update

from ops_core.domain.approval import (
    Approval,
    ApprovalReason,
    ApprovalRequest,
    ApprovalStatus,
    Decided,
    Decision,
    Vote,
)
from ops_core.domain.event import EventType
from ops_core.domain.task import JsonObject, TaskError, TaskStatus
from ops_core.storage import settle
from ops_core.storage.long_json import stored_in
from ops_core.storage.schema import approval_votes, approvals, waits
from ops_core.storage.settlement import Settlement
from ops_core.storage.waits import answered, must_hold, time_after, wake

_REFUSED = frozenset({ApprovalStatus.rejected, ApprovalStatus.expired})


async def approvals_from(
    rows: Sequence[Mapping[str, Any]], read: Callable[[Executable], Awaitable[Sequence[dict[str, Any]]]]
) -> list[Approval]:
    """Rows as approvals, with what was said to each."""
    votes: dict[UUID, list[Vote]] = {row["id"]: [] for row in rows}
    if votes:
        column = approval_votes.c
        said = select(approval_votes).where(column.approval_id.in_(sorted(votes)))
        for vote in await read(said.order_by(column.approval_id, column.number)):
            votes[vote["approval_id"]].append(_vote(vote))
    return [_approval(row, votes[row["id"]]) for row in rows]


async def escalate(settlement: Settlement, approval: Approval) -> Approval:
    """Ask the other group, for as long again. The task's `wake_at` is left to the caller."""
    expires_at = time_after(settlement.now, approval.request.timeout_seconds)
    asked = replace(approval, escalated_at=settlement.now, expires_at=expires_at)
    values = {"escalated_at": settlement.now, "expires_at": expires_at, "deciders": [*asked.groups]}
    await settlement.tx.run(update(approvals).where(approvals.c.id == approval.id).values(values))
    is_it = (waits.c.task_id == approval.task_id, waits.c.step_key == approval.step_key)
    await settlement.tx.run(update(waits).where(*is_it).values(expires_at=expires_at))
    facts: JsonObject = {
        "approval_id": str(approval.id),
        "groups": [*asked.groups],
        "expires_at": settle.rfc3339(expires_at),
    }
    held = must_hold(settlement, approval.task_id)
    stored = await stored_in(settlement.tx, held.namespace, facts)
    entry = settle.Entry(type=EventType.approval_escalated, payload=stored)
    settlement.change(settle.logged(held, [entry], settlement.now))
    return asked


async def decide(settlement: Settlement, approval: Approval, decided: Decided, *, why: str) -> Approval:
    """Write what was decided, answer the step that waits, and let its task go on; a task that is refused itself is
    rejected, and `why` is its error."""
    values = {"status": str(decided.status), "decided_at": settlement.now}
    await settlement.tx.run(update(approvals).where(approvals.c.id == approval.id).values(values))
    await answered(settlement, approval.task_id, approval.step_key, decided.answer)
    held = must_hold(settlement, approval.task_id)
    is_about_task = approval.request.reason is ApprovalReason.task
    if is_about_task and decided.status in _REFUSED and held.status is TaskStatus.waiting:
        code = "rejected" if decided.status is ApprovalStatus.rejected else "approval_expired"
        facts: JsonObject = {"approval_id": str(approval.id), "by": [*decided.by]}
        settlement.change(settle.rejected(held, TaskError(code, why), facts, settlement.now))
    else:
        wake(settlement, approval.task_id, approval.step_key)
    return replace(approval, status=decided.status, decided_at=settlement.now)


def _approval(row: Mapping[str, Any], votes: Sequence[Vote]) -> Approval:
    return Approval(
        id=row["id"],
        namespace=row["namespace"],
        task_id=row["task_id"],
        round=row["round"],
        step_key=row["step_key"],
        agent=row["agent"],
        request=ApprovalRequest.from_json(row["request"]),
        status=ApprovalStatus(row["status"]),
        created_at=row["created_at"],
        expires_at=row["expires_at"],
        escalated_at=row["escalated_at"],
        decided_at=row["decided_at"],
        votes=votes,
    )


def _vote(row: Mapping[str, Any]) -> Vote:
    return Vote(
        decision=Decision(row["decision"]),
        by=row["voter"],
        groups=tuple(row["groups"]),
        reason=row["reason"],
        arguments=row["arguments"],
        response=row["response"],
        at=row["at"],
    )
