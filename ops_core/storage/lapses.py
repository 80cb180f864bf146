"""Waits whose time is over: timers fire, signals and questions expire, approvals are handed on or expire."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import delete, select

from ops_core.domain.approval import Approval, ApprovalStatus, expired
from ops_core.domain.task import JsonObject, TaskStatus
from ops_core.domain.wait import WaitKind
from ops_core.storage import settle
from ops_core.storage.approval_rows import approvals_from, decide, escalate
from ops_core.storage.schema import approvals, waits
from ops_core.storage.settlement import Settlement
from ops_core.storage.waits import ASKED, log_answer, must_hold, soonest, wake

_BY_THE_CLOCK: Mapping[WaitKind, JsonObject] = {WaitKind.timer: {}, WaitKind.signal: {"expired": True}}


async def lapse(settlement: Settlement, task_ids: Sequence[UUID]) -> None:
    """Answer what these held, waiting tasks have waited for too long; those that still wait get their next time."""
    if not task_ids:
        return
    column = waits.c
    is_over = (column.task_id.in_(task_ids), column.expires_at <= settlement.now)
    order = (column.task_id, column.expires_at, column.step_key)
    rows = await settlement.tx.run(select(column.task_id, column.kind).where(*is_over).order_by(*order))
    asked = [row["task_id"] for row in rows if row["kind"] in ASKED]
    if asked:
        await _lapse_approvals(settlement, asked)
    if len(asked) < len(rows):
        await _answer_by_the_clock(settlement, is_over)
    await _look_again(settlement, task_ids)


async def _lapse_approvals(settlement: Settlement, task_ids: Sequence[UUID]) -> None:
    column = approvals.c
    is_over = (column.status == ApprovalStatus.pending, column.expires_at <= settlement.now)
    statement = select(approvals).where(column.task_id.in_(task_ids), *is_over)
    rows = await settlement.tx.run(statement.order_by(column.task_id, column.expires_at, column.id))
    for approval in await approvals_from(rows, settlement.tx.run):
        await _lapse_approval(settlement, approval)


async def _lapse_approval(settlement: Settlement, approval: Approval) -> None:
    if must_hold(settlement, approval.task_id).status.is_final:
        return  # rejected just now
    if approval.can_escalate:
        await escalate(settlement, approval)
    else:
        await decide(settlement, approval, expired(approval.request), why="nobody approved the task in time")


async def _answer_by_the_clock(settlement: Settlement, is_over: Sequence[Any]) -> None:
    column = waits.c
    by_clock = column.kind.in_(sorted(_BY_THE_CLOCK))
    gone = delete(waits).where(*is_over, by_clock)
    rows = await settlement.tx.run(gone.returning(column.task_id, column.step_key, column.kind, column.fingerprint))
    for row in sorted(rows, key=lambda row: (row["task_id"], row["step_key"])):
        task_id, key, kind = row["task_id"], row["step_key"], WaitKind(row["kind"])
        if must_hold(settlement, task_id).status.is_final:
            continue  # rejected just now
        await log_answer(settlement, task_id, key, kind, _BY_THE_CLOCK[kind], fingerprint=row["fingerprint"])
        wake(settlement, task_id, key)


async def _look_again(settlement: Settlement, task_ids: Sequence[UUID]) -> None:
    still = [id for id in task_ids if must_hold(settlement, id).status is TaskStatus.waiting]
    if still:
        times = await soonest(settlement, still)
        for id in still:
            settlement.change(settle.rewound(must_hold(settlement, id), times.get(id), settlement.now))
