"""Who may decide what, what a decision has to bring, and what becomes of it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any
from uuid import uuid4

import pytest

from ops_core.domain.approval import Approval, ApprovalReason, ApprovalRequest, ApprovalStatus, Decision
from ops_core.domain.caller import Caller, Role
from ops_core.errors import (
    ApprovalDecided,
    ApprovalExpired,
    ApprovalNotFound,
    CursorMalformed,
    DecisionNotAllowed,
    InvalidInput,
    NotAnApprover,
    PermissionDenied,
)
from ops_core.services.approvals import ApprovalFilter, ApprovalService, Ruling
from ops_core.services.limits import TaskLimits
from ops_core.tests.fake_approvals import REFUND, FakeApprovals
from ops_core.tests.fakes import FakeNudges, FakeRelay, FakeStore

APPROVE = Ruling(decision=Decision.approve)
TASK = uuid4()


def person(subject: str = "ada", *groups: str, role: Role = Role.approver) -> Caller:
    return Caller(subject=subject, roles=frozenset({role}), groups=frozenset(groups))


def edit(**arguments: Any) -> Ruling:
    return Ruling(decision=Decision.edit, arguments=arguments)


def respond(response: object) -> Ruling:
    return Ruling(decision=Decision.respond, response=response, has_response=True)


@pytest.fixture
def asked(store: FakeStore) -> FakeApprovals:
    return FakeApprovals(store)


@pytest.fixture
def approvals(asked: FakeApprovals, relay: FakeRelay, nudges: FakeNudges) -> ApprovalService:
    return ApprovalService(
        approvals=asked, relay=relay, nudges=nudges, limits=TaskLimits(max_reason_chars=20, max_json_depth=5)
    )


class TestWhoMayDecide:
    @pytest.mark.parametrize("role", [Role.admin, Role.operator, Role.approver])
    async def test_these_roles_do(self, approvals: ApprovalService, asked: FakeApprovals, role: Role) -> None:
        voted = await approvals.decide(person(role=role), asked.ask(TASK).id, APPROVE)
        assert voted.approval.status is ApprovalStatus.approved

    @pytest.mark.parametrize("role", [Role.viewer, Role.submitter])
    async def test_others_do_not(self, approvals: ApprovalService, asked: FakeApprovals, role: Role) -> None:
        with pytest.raises(NotAnApprover, match="admin, operator or approver"):
            await approvals.decide(person(role=role), asked.ask(TASK).id, APPROVE)

    async def test_an_agents_own_key_does_not_whatever_its_roles(
        self, approvals: ApprovalService, asked: FakeApprovals
    ) -> None:
        approval = asked.ask(TASK)
        with pytest.raises(NotAnApprover, match="agent refund-desk"):
            await approvals.decide(Caller(agent="refund-desk"), approval.id, APPROVE)
        assert asked.approvals[approval.id].votes == ()

    async def test_of_the_groups_that_are_asked_one_is_enough(
        self, approvals: ApprovalService, asked: FakeApprovals
    ) -> None:
        approval = asked.ask(TASK, replace(REFUND, groups=("finance", "legal")))
        with pytest.raises(NotAnApprover, match="finance or legal to decide, and eve is in support"):
            await approvals.decide(person("eve", "support"), approval.id, APPROVE)
        assert (await approvals.decide(person("ada", "legal"), approval.id, APPROVE)).approval.votes[0].by == "ada"

    async def test_an_admin_is_in_every_group(self, approvals: ApprovalService, asked: FakeApprovals) -> None:
        approval = asked.ask(TASK, replace(REFUND, groups=("finance",)))
        await approvals.decide(Caller(), approval.id, APPROVE)

    async def test_once_it_is_escalated_the_next_group_decides(
        self, approvals: ApprovalService, asked: FakeApprovals, store: FakeStore
    ) -> None:
        approval = asked.ask(TASK, replace(REFUND, groups=("finance",), escalate_to=("board",)))
        asked.approvals[approval.id] = replace(approval, escalated_at=store.now)
        with pytest.raises(NotAnApprover, match="board"):
            await approvals.decide(person("ada", "finance"), approval.id, APPROVE)

    async def test_another_namespaces_approval_is_not_there(
        self, approvals: ApprovalService, asked: FakeApprovals
    ) -> None:
        approval = asked.ask(TASK, namespace="other")
        with pytest.raises(ApprovalNotFound):
            await approvals.decide(person(), approval.id, APPROVE)

    async def test_looking_takes_a_role(self, approvals: ApprovalService, asked: FakeApprovals) -> None:
        nobody = Caller(roles=frozenset())
        with pytest.raises(PermissionDenied, match="viewer"):
            await approvals.get(nobody, asked.ask(TASK).id)
        with pytest.raises(PermissionDenied):
            await approvals.list(nobody, ApprovalFilter(), limit=10, cursor=None)


class TestWhatADecisionBrings:
    @pytest.mark.parametrize(
        ("reason", "offered"),
        [
            (ApprovalReason.tool_call, {"approve", "edit", "reject", "respond"}),
            (ApprovalReason.outcome_unknown, {"approve", "reject", "respond"}),
            (ApprovalReason.input_required, {"reject", "respond"}),
            (ApprovalReason.task, {"approve", "reject"}),
        ],
    )
    async def test_what_has_no_meaning_is_not_offered(
        self, approvals: ApprovalService, asked: FakeApprovals, reason: ApprovalReason, offered: set[str]
    ) -> None:
        request = ApprovalRequest(reason=reason, message="?", arguments={})
        rulings = {
            "approve": APPROVE,
            "edit": edit(),
            "reject": Ruling(decision=Decision.reject),
            "respond": respond("x"),
        }
        taken = set()
        for name, ruling in rulings.items():
            try:
                await approvals.decide(person(), asked.ask(TASK, request).id, ruling)
                taken.add(name)
            except DecisionNotAllowed as error:
                assert [one.pointer for one in error.problems] == ["/decision"]  # noqa: PT017
        assert taken == offered

    async def test_what_the_policy_does_not_allow_is_not_offered(
        self, approvals: ApprovalService, asked: FakeApprovals
    ) -> None:
        approval = asked.ask(TASK, replace(REFUND, allowed=(Decision.approve, Decision.reject)))
        with pytest.raises(DecisionNotAllowed, match="must be one of approve, reject, not edit"):
            await approvals.decide(person(), approval.id, edit(amount=60, to="Ada"))

    async def test_edited_arguments_that_break_the_schema_are_refused_place_by_place(
        self, approvals: ApprovalService, asked: FakeApprovals
    ) -> None:
        approval = asked.ask(TASK)
        with pytest.raises(DecisionNotAllowed) as caught:
            await approvals.decide(person(), approval.id, edit(amount=500, to=7))
        assert {one.pointer for one in caught.value.problems} == {"/arguments/amount", "/arguments/to"}
        assert asked.approvals[approval.id].status is ApprovalStatus.pending

    async def test_edited_arguments_are_all_of_them(self, approvals: ApprovalService, asked: FakeApprovals) -> None:
        with pytest.raises(DecisionNotAllowed, match="'to' is a required property"):
            await approvals.decide(person(), asked.ask(TASK).id, edit(amount=60))

    async def test_a_response_has_to_fit_what_was_asked_for(
        self, approvals: ApprovalService, asked: FakeApprovals
    ) -> None:
        question = ApprovalRequest(
            reason=ApprovalReason.input_required, message="How many?", response_schema={"type": "integer"}
        )
        approval = asked.ask(TASK, question)
        with pytest.raises(DecisionNotAllowed) as caught:
            await approvals.decide(person(), approval.id, respond("three"))
        assert [one.pointer for one in caught.value.problems] == ["/response"]
        assert (await approvals.decide(person(), approval.id, respond(3))).approval.status is ApprovalStatus.responded

    async def test_a_tool_whose_schema_is_broken_cannot_be_edited_and_says_so(
        self, approvals: ApprovalService, asked: FakeApprovals
    ) -> None:
        approval = asked.ask(TASK, replace(REFUND, arguments_schema={"type": 5}))
        with pytest.raises(DecisionNotAllowed, match="Approve or reject instead"):
            await approvals.decide(person(), approval.id, edit(amount=1))
        await approvals.decide(person(), approval.id, APPROVE)

    @pytest.mark.parametrize(
        ("ruling", "pointer"),
        [
            (Ruling(decision=Decision.edit), "/arguments"),
            (Ruling(decision=Decision.approve, arguments={"amount": 1}), "/arguments"),
            (Ruling(decision=Decision.respond), "/response"),
            (Ruling(decision=Decision.reject, response="no", has_response=True), "/response"),
        ],
    )
    async def test_each_decision_brings_its_own_and_nothing_else(
        self, approvals: ApprovalService, asked: FakeApprovals, ruling: Ruling, pointer: str
    ) -> None:
        with pytest.raises(DecisionNotAllowed) as caught:
            await approvals.decide(person(), asked.ask(TASK).id, ruling)
        assert [one.pointer for one in caught.value.problems] == [pointer]

    async def test_null_is_a_response(self, approvals: ApprovalService, asked: FakeApprovals) -> None:
        voted = await approvals.decide(person(), asked.ask(TASK).id, respond(None))
        assert voted.approval.status is ApprovalStatus.responded

    @pytest.mark.parametrize(
        ("ruling", "pointer"),
        [
            (Ruling(decision=Decision.reject, reason="x" * 21), "/reason"),
            (Ruling(decision=Decision.reject, reason="a\x00"), "/reason"),
            (respond([[[[[["deep"]]]]]]), "/response"),
            (respond({"a": float("nan")}), "/response/a"),
        ],
    )
    async def test_limits(self, approvals: ApprovalService, asked: FakeApprovals, ruling: Ruling, pointer: str) -> None:
        with pytest.raises(InvalidInput) as caught:
            await approvals.decide(person(), asked.ask(TASK).id, ruling)
        assert [one.pointer for one in caught.value.problems] == [pointer]


class TestWhatBecomesOfIt:
    async def test_the_task_is_rung_and_its_watchers_are_told(
        self, approvals: ApprovalService, asked: FakeApprovals, relay: FakeRelay, nudges: FakeNudges
    ) -> None:
        await approvals.decide(person(), asked.ask(TASK).id, APPROVE)
        assert [ring.task_id for ring in relay.rings] == [TASK]
        assert [nudge.task_id for nudge in nudges.sent] == [TASK]

    async def test_the_same_said_again_by_the_same_person_changes_nothing(
        self, approvals: ApprovalService, asked: FakeApprovals, relay: FakeRelay
    ) -> None:
        approval = asked.ask(TASK)
        first = await approvals.decide(person(), approval.id, APPROVE)
        again = await approvals.decide(person(), approval.id, APPROVE)
        assert (first.replayed, again.replayed) == (False, True)
        assert again.approval == first.approval
        assert len(relay.rings) == 1

    async def test_another_decision_hears_who_was_first(self, approvals: ApprovalService, asked: FakeApprovals) -> None:
        approval = asked.ask(TASK)
        await approvals.decide(person("ada"), approval.id, APPROVE)
        with pytest.raises(ApprovalDecided, match="ada"):
            await approvals.decide(person("bob"), approval.id, Ruling(decision=Decision.reject))

    async def test_of_a_decided_one_the_first_decision_is_told_before_what_does_not_fit(
        self, approvals: ApprovalService, asked: FakeApprovals
    ) -> None:
        approval = asked.ask(TASK)
        await approvals.decide(person("ada"), approval.id, APPROVE)
        with pytest.raises(ApprovalDecided):
            await approvals.decide(person("bob"), approval.id, edit(amount="many"))

    async def test_a_decision_after_expiry(self, approvals: ApprovalService, asked: FakeApprovals) -> None:
        approval = asked.ask(TASK)
        asked.expire(approval)
        with pytest.raises(ApprovalExpired):
            await approvals.decide(person(), approval.id, APPROVE)

    async def test_two_of_two_must_be_different_people(self, approvals: ApprovalService, asked: FakeApprovals) -> None:
        approval = asked.ask(TASK, replace(REFUND, required=2))
        for _ in range(2):
            voted = await approvals.decide(person("ada"), approval.id, APPROVE)
            assert voted.approval.status is ApprovalStatus.pending
        voted = await approvals.decide(person("bob"), approval.id, APPROVE)
        assert voted.approval.status is ApprovalStatus.approved


class TestLists:
    async def listed(self, approvals: ApprovalService, caller: Caller, **narrowing: Any) -> list[Approval]:
        page = await approvals.list(caller, ApprovalFilter(**narrowing), limit=10, cursor=None)
        return list(page.approvals)

    async def test_mine_are_the_pending_ones_that_i_may_decide(
        self, approvals: ApprovalService, asked: FakeApprovals
    ) -> None:
        everybodys = asked.ask(TASK)
        finances = asked.ask(TASK, replace(REFUND, groups=("finance",)))
        legals = asked.ask(TASK, replace(REFUND, groups=("legal",)))
        asked.expire(asked.ask(TASK))

        mine = await self.listed(approvals, person("ada", "finance"), mine=True)
        assert [one.id for one in mine] == [everybodys.id, finances.id]
        assert len(await self.listed(approvals, person("ada", "finance"))) == 4
        everything = await self.listed(approvals, Caller(), mine=True)
        assert {one.id for one in everything} == {everybodys.id, finances.id, legals.id}

    @pytest.mark.parametrize("caller", [person(role=Role.viewer), Caller(agent="refund-desk")])
    async def test_nothing_is_mine_where_i_never_decide(
        self, approvals: ApprovalService, asked: FakeApprovals, caller: Caller
    ) -> None:
        asked.ask(TASK)
        assert await self.listed(approvals, caller, mine=True) == []
        assert len(await self.listed(approvals, caller)) == 1

    async def test_the_pending_ones_come_in_the_order_of_their_expiry(
        self, approvals: ApprovalService, asked: FakeApprovals
    ) -> None:
        waits = {seconds: asked.ask(TASK, replace(REFUND, timeout_seconds=seconds)).id for seconds in (300, None, 60)}
        found = await self.listed(approvals, Caller(), statuses=frozenset({ApprovalStatus.pending}))
        assert [one.id for one in found] == [waits[60], waits[300], waits[None]]

    @pytest.mark.parametrize("statuses", [frozenset(), frozenset({ApprovalStatus.pending})])
    async def test_pages_are_whole_and_do_not_overlap(
        self, approvals: ApprovalService, asked: FakeApprovals, statuses: frozenset[ApprovalStatus]
    ) -> None:
        wanted = {asked.ask(TASK).id for _ in range(7)}
        found, cursor, narrowing = [], None, ApprovalFilter(statuses=statuses)
        while True:
            page = await approvals.list(Caller(), narrowing, limit=3, cursor=cursor)
            found += [one.id for one in page.approvals]
            if (cursor := page.next_cursor) is None:
                break
        assert (set(found), len(found)) == (wanted, 7)

    async def test_a_cursor_belongs_to_its_filter(self, approvals: ApprovalService, asked: FakeApprovals) -> None:
        for _ in range(2):
            asked.ask(TASK)
        page = await approvals.list(Caller(), ApprovalFilter(), limit=1, cursor=None)
        with pytest.raises(CursorMalformed):
            await approvals.list(Caller(), ApprovalFilter(agent="assistant"), limit=1, cursor=page.next_cursor)

    async def test_the_beginning_of_an_id_may_have_dashes_and_capitals(
        self, approvals: ApprovalService, asked: FakeApprovals
    ) -> None:
        _, wanted = asked.ask(TASK), asked.ask(TASK)
        assert await self.listed(approvals, Caller(), id_prefix=str(wanted.id)[:-2].upper()) == [wanted]

    @pytest.mark.parametrize("prefix", ["", "xyz", "0" * 33, "-"])
    async def test_an_id_prefix_that_is_not_hexadecimal_is_refused(
        self, approvals: ApprovalService, prefix: str
    ) -> None:
        with pytest.raises(InvalidInput, match="hexadecimal"):
            await self.listed(approvals, Caller(), id_prefix=prefix)

    @pytest.mark.parametrize("limit", [0, 201])
    async def test_a_page_has_a_size(self, approvals: ApprovalService, limit: int) -> None:
        with pytest.raises(InvalidInput, match="between 1 and 200"):
            await approvals.list(Caller(), ApprovalFilter(), limit=limit, cursor=None)
