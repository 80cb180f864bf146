"""Approvals: what people are asked, and what they decide."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any
from uuid import UUID

from sqlalchemy import ARRAY, ColumnElement, Select, Text, cast, func, insert, or_, select, text, tuple_

from ops_core.domain.approval import NEVER, Approval, ApprovalStatus, Decided, NewVote, Vote, weighed
from ops_core.domain.event import EventType
from ops_core.domain.task import JsonObject
from ops_core.errors import ApprovalDecided, ApprovalExpired, ApprovalNotFound, TaskFinished
from ops_core.ports import ApprovalQuery, Voted
from ops_core.storage import settle
from ops_core.storage.approval_rows import approvals_from, decide, escalate
from ops_core.storage.consequences import written
from ops_core.storage.family import with_parents
from ops_core.storage.id_ranges import ids_beginning
from ops_core.storage.json_text import refuse_unstorable
from ops_core.storage.long_json import stored_in
from ops_core.storage.reader import Reader
from ops_core.storage.schema import approval_votes, approvals
from ops_core.storage.settlement import Settlement, rings_of
from ops_core.storage.single_write import SingleWrite
from ops_core.storage.waits import must_hold
from ops_core.storage.writes import Change, Transaction

_PENDING = frozenset({ApprovalStatus.pending})


class SqlApprovalStore:
    """See `ApprovalStore`."""

    def __init__(self, *, single: SingleWrite, reader: Reader, is_sqlite: bool) -> None:
        self._single = single
        self._reader = reader
        self._is_sqlite = is_sqlite

    async def get_approval(self, namespace: str, approval_id: UUID) -> Approval | None:
        rows = await self._reader.rows(select(approvals).where(approvals.c.id == approval_id))
        found = await approvals_from([row for row in rows if row["namespace"] == namespace], self._reader.rows)
        return found[0] if found else None

    async def list_approvals(self, query: ApprovalQuery) -> Sequence[Approval]:
        rows: list[dict[str, Any]] = []
        for statement in self._listings(query):
            if len(rows) < query.limit:
                rows += await self._reader.rows(statement.limit(query.limit - len(rows)))
        return await approvals_from(rows, self._reader.rows)

    async def vote(
        self, namespace: str, approval_id: UUID, vote: NewVote, *, check: Callable[[Approval], None]
    ) -> Voted:
        refuse_unstorable(by=vote.by, reason=vote.reason)
        known = await self.get_approval(namespace, approval_id)
        if known is None:
            raise ApprovalNotFound(f"There is no approval {approval_id}. List approvals to find the one you mean.")

        #: What an earlier try wrote, or not: its answer was lost.
        tried: Sequence[Change] | None = None

        async def count(tx: Transaction) -> tuple[Approval, bool, Sequence[Change]]:
            nonlocal tried
            # The task comes first, as for everybody who answers it, ends it, or lets the approval expire.
            settlement = Settlement(tx, await tx.lock(await with_parents(tx, [known.task_id])))
            approval = await _current(settlement, approval_id)
            check(approval)
            if _says_again(approval, vote):
                return approval, tried is None, tried or ()
            _check_open(settlement, approval)
            approval = await _counted(settlement, approval, vote)
            tried = await written(settlement)
            return approval, False, tried

        approval, replayed, changes = await self._single.run_repeatable(count)
        self._single.tell(changes)
        return Voted(approval, replayed, rings_of(changes))

    def _listings(self, query: ApprovalQuery) -> Sequence[Select[Any]]:
        """The list, in one or two parts: what never expires comes after all that does."""
        column = approvals.c
        statement = select(approvals).where(column.namespace == query.namespace)
        if query.task_id is not None:
            statement = statement.where(column.task_id == query.task_id)
        if query.agent is not None:
            statement = statement.where(column.agent == query.agent)
        if query.groups is not None:
            statement = statement.where(or_(column.deciders == [], self._asks_one_of(query.groups)))
        if query.id_prefix:
            statement = statement.where(column.id.between(*ids_beginning(query.id_prefix)))
        if query.statuses == _PENDING:
            return _soonest_first(statement.where(text("status = 'pending'")), query)
        if query.statuses:
            statement = statement.where(column.status.in_(sorted(query.statuses)))
        if query.before is not None:
            statement = statement.where(tuple_(column.created_at, column.id) < tuple_(*query.before))
        return [statement.order_by(column.created_at.desc(), column.id.desc())]

    def _asks_one_of(self, groups: frozenset[str]) -> ColumnElement[bool]:
        if not self._is_sqlite:
            return func.jsonb_exists_any(approvals.c.deciders, cast(sorted(groups), ARRAY(Text)))
        each = func.json_each(cast(approvals.c.deciders, Text)).table_valued("value")
        return select(1).select_from(each).where(each.c.value.in_(sorted(groups))).exists()


def _soonest_first(statement: Select[Any], query: ApprovalQuery) -> Sequence[Select[Any]]:
    column = approvals.c
    timed = statement.where(column.expires_at.is_not(None)).order_by(column.expires_at, column.id)
    untimed = statement.where(column.expires_at.is_(None)).order_by(column.id)
    if query.before is None:
        return [timed, untimed]
    at, id = query.before
    if at == NEVER:
        return [untimed.where(column.id > id)]
    return [timed.where(tuple_(column.expires_at, column.id) > tuple_(at, id)), untimed]


async def _current(settlement: Settlement, approval_id: UUID) -> Approval:
    """The approval as it stands under the lock; handed on, if it is time for that and nobody has done it yet."""
    rows = await settlement.tx.run(select(approvals).where(approvals.c.id == approval_id).with_for_update())
    found = await approvals_from(rows, settlement.tx.run)
    if not found:
        raise ApprovalNotFound(f"There is no approval {approval_id}. List approvals to find the one you mean.")
    approval = found[0]
    if _is_over(settlement, approval) and approval.can_escalate:
        return await escalate(settlement, approval)
    return approval


def _is_over(settlement: Settlement, approval: Approval) -> bool:
    is_pending = approval.status is ApprovalStatus.pending
    return is_pending and approval.expires_at is not None and approval.expires_at <= settlement.now


def _says_again(approval: Approval, vote: NewVote) -> bool:
    last = next((one for one in reversed(approval.votes) if one.by == vote.by), None)
    return last is not None and _said(last) == _said(vote)


def _said(vote: NewVote) -> str:
    """To be compared as JSON: Python takes true for 1."""
    return json.dumps([vote.decision, vote.arguments, vote.response], sort_keys=True)


def _check_open(settlement: Settlement, approval: Approval) -> None:
    """Raises:
    ApprovalDecided, ApprovalExpired, TaskFinished.
    """
    if approval.status is ApprovalStatus.expired or _is_over(settlement, approval):
        raise ApprovalExpired(f"Nobody decided in time: it expired at {settle.rfc3339(approval.expires_at)}.")
    # What was decided outlives its task, so the task is asked for last.
    if approval.status not in (ApprovalStatus.pending, ApprovalStatus.closed):
        raise ApprovalDecided(_who_decided(approval))
    task = settlement.held(approval.task_id)
    if approval.status is ApprovalStatus.closed or task is None:
        # A task that ended may have been retried since.
        stands = f"is {task.status}" if task is not None else "is gone"
        raise TaskFinished(
            f"It was closed, since its task ended or went on before anybody decided. Nothing waits for it; the task "
            f"{stands} now."
        )


def _who_decided(approval: Approval) -> str:
    decided = weighed(approval.request, approval.votes)
    by = " and ".join(decided.by) if decided is not None else "somebody"
    said = f" ({approval.votes[-1].decision})" if approval.votes else ""
    return f"{by} decided at {settle.rfc3339(approval.decided_at)}: it is {approval.status}{said}."


async def _counted(settlement: Settlement, approval: Approval, new: NewVote) -> Approval:
    """Keep the vote, and do what it leads to."""
    vote = Vote(
        decision=new.decision,
        by=new.by,
        groups=new.groups,
        reason=new.reason,
        arguments=new.arguments,
        response=new.response,
        at=settlement.now,
    )
    await settlement.tx.run(insert(approval_votes).values(_vote_row(approval, vote)))
    approval = replace(approval, votes=[*approval.votes, vote])
    decided = weighed(approval.request, approval.votes)
    if decided is None:
        await _log_vote(settlement, approval, vote)
        return approval
    return await decide(settlement, approval, decided, why=_why(decided, vote))


def _why(decided: Decided, vote: Vote) -> str:
    return f"{' and '.join(decided.by)} rejected the task" + (f": {vote.reason}" if vote.reason else "")


async def _log_vote(settlement: Settlement, approval: Approval, vote: Vote) -> None:
    facts: JsonObject = {
        "approval_id": str(approval.id),
        "by": vote.by,
        "decision": str(vote.decision),
        "reason": vote.reason,
        "required": approval.request.required,
    }
    held = must_hold(settlement, approval.task_id)
    entry = settle.Entry(type=EventType.approval_voted, payload=await stored_in(settlement.tx, held.namespace, facts))
    settlement.change(settle.logged(held, [entry], settlement.now))


def _vote_row(approval: Approval, vote: Vote) -> dict[str, Any]:
    return {
        "approval_id": approval.id,
        "number": len(approval.votes) + 1,
        "decision": str(vote.decision),
        "voter": vote.by,
        "groups": [*vote.groups],
        "reason": vote.reason,
        "arguments": vote.arguments,
        "response": vote.response,
        "at": vote.at,
    }
