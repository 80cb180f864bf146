"""Where approvals are kept."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol
from uuid import UUID

from ops_core.domain.approval import Approval, ApprovalStatus, NewVote
from ops_core.ports.doorbell import Ring


@dataclass(frozen=True, slots=True, kw_only=True)
class ApprovalQuery:
    """Which approvals; pending ones with the nearest expiry first, others newest first."""

    namespace: str
    statuses: frozenset[ApprovalStatus] = frozenset()
    task_id: UUID | None = None
    agent: str | None = None
    #: Only those that one of these groups may decide now; None for all. One that names no group is everybody's.
    groups: frozenset[str] | None = None
    #: Hexadecimal digits that the id begins with.
    id_prefix: str | None = None
    #: Where the page before ended.
    before: tuple[datetime, UUID] | None = None
    limit: int = 50


@dataclass(frozen=True, slots=True)
class Voted:
    """What became of a vote."""

    approval: Approval
    #: True when that is what the same person had said last: nothing was added.
    replayed: bool
    #: To be rung now.
    rings: Sequence[Ring] = ()


class ApprovalStore(Protocol):
    """Questions to people. They are added by the suspend that waits for them."""

    async def get_approval(self, namespace: str, approval_id: UUID) -> Approval | None: ...

    async def list_approvals(self, query: ApprovalQuery) -> Sequence[Approval]: ...

    async def vote(
        self,
        namespace: str,
        approval_id: UUID,
        vote: NewVote,
        *,
        check: Callable[[Approval], None],
    ) -> Voted:
        """Count a vote, decide if it decides, and wake the task, in one transaction. `check` is called with the
        approval as it stands under the lock, and raises what forbids the vote.

        While it is pending, a person may think better of it: of each the latest vote counts, and all are kept.

        Raises:
            ApprovalNotFound. ApprovalDecided: with who decided. ApprovalExpired. TaskFinished: it was closed, since its
            task ended before anybody decided. And what `check` raises.
        """
