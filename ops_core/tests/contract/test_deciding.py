"""Who may decide an approval whose time is over, through the service, on both databases."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from ops_core.domain.approval import Approval, ApprovalStatus, Decision, OnTimeout
from ops_core.domain.caller import Caller, Role
from ops_core.errors import NotAnApprover
from ops_core.services.approvals import ApprovalService, Ruling
from ops_core.services.limits import TaskLimits
from ops_core.storage.store import Store
from ops_core.tests.contract.conftest import NudgesSeen
from ops_core.tests.contract.wait_cases import asked
from ops_core.tests.fakes import FakeRelay

ESCALATES: dict[str, Any] = {"on_timeout": OnTimeout.escalate, "groups": ("staff",), "escalate_to": ("bosses",)}
APPROVE = Ruling(decision=Decision.approve)


def member(group: str) -> Caller:
    return Caller(subject=f"one of the {group}", roles=frozenset({Role.approver}), groups=frozenset({group}))


@pytest.fixture
def service(store: Store, nudges: NudgesSeen) -> ApprovalService:
    return ApprovalService(approvals=store, relay=FakeRelay(), nudges=nudges, limits=TaskLimits())


async def over(store: Store, one: Approval) -> None:
    """Returns when its time is over; nobody has looked yet."""
    assert one.expires_at is not None
    while await store.task_clock() < one.expires_at:
        await asyncio.sleep(0.01)


async def test_the_next_group_may_decide_as_soon_as_the_time_of_the_first_is_over(
    store: Store, service: ApprovalService
) -> None:
    one = await asked(store, timeout_seconds=0.1, **ESCALATES)
    await over(store, one)
    voted = await service.decide(member("bosses"), one.id, APPROVE)
    assert (voted.approval.status, voted.approval.votes[0].by) == (ApprovalStatus.approved, "one of the bosses")


async def test_the_first_group_may_not_once_its_time_is_over(store: Store, service: ApprovalService) -> None:
    one = await asked(store, timeout_seconds=0.1, **ESCALATES)
    await over(store, one)
    with pytest.raises(NotAnApprover, match="bosses"):
        await service.decide(member("staff"), one.id, APPROVE)


async def test_the_next_group_may_not_while_the_time_of_the_first_lasts(store: Store, service: ApprovalService) -> None:
    one = await asked(store, timeout_seconds=60, **ESCALATES)
    with pytest.raises(NotAnApprover, match="staff"):
        await service.decide(member("bosses"), one.id, APPROVE)
    assert (await service.decide(member("staff"), one.id, APPROVE)).approval.status is ApprovalStatus.approved
