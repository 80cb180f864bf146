"""Approvals and signals in memory, for tests of services and doors. They keep the rules of the real stores."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from datetime import datetime, timedelta
from uuid import UUID

from ops_core.domain.approval import Approval, ApprovalReason, ApprovalRequest, ApprovalStatus, NewVote, Vote, weighed
from ops_core.domain.signal import NewSignal, Signal
from ops_core.domain.uuid7 import Uuid7Source
from ops_core.errors import (
    ApprovalDecided,
    ApprovalExpired,
    ApprovalNotFound,
    TaskFinished,
    TaskNotFound,
    TooManySignals,
)
from ops_core.ports import ApprovalQuery, Ring, Sent, Voted
from ops_core.services.approvals import place_of
from ops_core.tests.fakes import FakeStore

_PENDING = frozenset({ApprovalStatus.pending})

REFUND = ApprovalRequest(
    reason=ApprovalReason.tool_call,
    message="Refund 80 EUR to Ada?",
    tool="refund",
    arguments={"amount": 80, "to": "Ada"},
    arguments_schema={
        "type": "object",
        "properties": {"amount": {"type": "integer", "maximum": 100}, "to": {"type": "string"}},
        "required": ["amount", "to"],
        "additionalProperties": False,
    },
    fingerprint="f" * 64,
)


class FakeApprovals:
    """An ApprovalStore beside the tasks of a FakeStore."""

    def __init__(self, store: FakeStore) -> None:
        self.store = store
        self.approvals: dict[UUID, Approval] = {}
        self._ids = Uuid7Source()

    def ask(
        self, task_id: UUID, request: ApprovalRequest = REFUND, *, namespace: str = "default", agent: str = "assistant"
    ) -> Approval:
        """Somebody is to decide."""
        now = self.store.now = self.store.now + timedelta(seconds=1)
        wait = request.timeout_seconds
        approval = Approval(
            id=self._ids.new(),
            namespace=namespace,
            task_id=task_id,
            round=1,
            step_key="3/tool/1/approval",
            agent=agent,
            request=request,
            status=ApprovalStatus.pending,
            created_at=now,
            expires_at=None if wait is None else now + timedelta(seconds=wait),
        )
        self.approvals[approval.id] = approval
        return approval

    def expire(self, approval: Approval) -> None:
        """Nobody has decided."""
        self.approvals[approval.id] = replace(approval, status=ApprovalStatus.expired, decided_at=self.store.now)

    async def get_approval(self, namespace: str, approval_id: UUID) -> Approval | None:
        await self.store.store_health()
        approval = self.approvals.get(approval_id)
        return approval if approval is not None and approval.namespace == namespace else None

    async def list_approvals(self, query: ApprovalQuery) -> Sequence[Approval]:
        found = [one for one in self.approvals.values() if _fits(one, query)]
        found.sort(key=lambda one: place_of(query, one), reverse=query.statuses != _PENDING)
        if query.before is not None:
            ended = [place_of(query, one) for one in found].index(query.before)
            found = found[ended + 1 :]
        return found[: query.limit]

    async def vote(
        self, namespace: str, approval_id: UUID, vote: NewVote, *, check: Callable[[Approval], None]
    ) -> Voted:
        approval = await self.get_approval(namespace, approval_id)
        if approval is None:
            raise ApprovalNotFound(f"There is no approval {approval_id}.")
        if any(_same(one, vote) for one in approval.votes):
            return Voted(approval, replayed=True)
        if approval.status is ApprovalStatus.expired:
            raise ApprovalExpired(f"Nobody decided approval {approval_id} in time.")
        if approval.status is not ApprovalStatus.pending:
            last = approval.votes[-1]
            raise ApprovalDecided(f"{last.by} has decided at {last.at.isoformat()}: {last.decision}.")
        check(approval)
        votes = [*approval.votes, Vote(**asdict(vote), at=self.store.now)]
        approval = replace(approval, votes=votes)
        rings: list[Ring] = []
        if (decided := weighed(approval.request, votes)) is not None:
            approval = replace(approval, status=decided.status, decided_at=self.store.now)
            rings = [Ring("default", 1, approval.task_id)]
        self.approvals[approval_id] = approval
        return Voted(approval, replayed=False, rings=rings)


class FakeSignals:
    """A SignalStore beside the tasks of a FakeStore."""

    def __init__(self, store: FakeStore) -> None:
        self.store = store
        self.signals: list[Signal] = []

    async def send_signal(self, namespace: str, task_id: UUID, new: NewSignal, *, max_kept: int) -> Sent:
        task = await self.store.get_task(namespace, task_id)
        if task is None:
            raise TaskNotFound(f"There is no task {task_id}.")
        mine = [one for one in self.signals if one.task_id == task_id]
        for one in mine:
            if one.idempotency_key is not None and one.idempotency_key == new.idempotency_key:
                return Sent(one, replayed=True)
        if task.status.is_final:
            raise TaskFinished(f"Task {task_id} has already finished: it is {task.status}.")
        if len(mine) >= max_kept:
            raise TooManySignals(f"Task {task_id} keeps {max_kept} signals already.")
        signal = Signal(**asdict(new), task_id=task_id, sent_at=self.store.now)
        self.signals.append(signal)
        return Sent(signal, replayed=False, rings=[Ring("default", 1, task_id)])

    async def list_signals(
        self, namespace: str, task_id: UUID, *, limit: int, after: tuple[datetime, UUID] | None = None
    ) -> Sequence[Signal]:
        oldest_first = sorted(self.signals, key=lambda one: (one.sent_at, one.id))
        mine = [one for one in oldest_first if one.task_id == task_id]
        return [one for one in mine if after is None or (one.sent_at, one.id) > after][:limit]


def _fits(approval: Approval, query: ApprovalQuery) -> bool:
    return (
        approval.namespace == query.namespace
        and (not query.statuses or approval.status in query.statuses)
        and query.task_id in (None, approval.task_id)
        and query.agent in (None, approval.agent)
        and approval.id.hex.startswith(query.id_prefix or "")
        and (query.groups is None or not approval.groups or not query.groups.isdisjoint(approval.groups))
    )


def _same(vote: Vote, new: NewVote) -> bool:
    return (vote.by, vote.decision, vote.arguments, vote.response) == (
        new.by,
        new.decision,
        new.arguments,
        new.response,
    )
