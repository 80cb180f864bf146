"""Approvals over gRPC: the same answers and refusals as over HTTP, as statuses."""

from __future__ import annotations

import json
from dataclasses import replace
from uuid import uuid4

import grpc
import pytest

from ops_core.domain.approval import Approval, ApprovalReason, ApprovalRequest
from ops_core.tests.fake_approvals import REFUND
from ops_core.tests.unit.rpc.conftest import Door, OpenDoor
from ops_core.tests.unit.rpc.refusals import refused
from ops_core.tests.unit.rpc.test_tasks import struct
from ops_core.wire.api_keys import read_api_keys
from ops_core.wire.pb.v1 import approvals_pb2 as pb

INVALID = grpc.StatusCode.INVALID_ARGUMENT
DENIED = grpc.StatusCode.PERMISSION_DENIED
TOO_LATE = grpc.StatusCode.FAILED_PRECONDITION
KEYS = read_api_keys(
    json.dumps(
        [
            {"key": "ada-key", "subject": "ada", "roles": ["approver"], "groups": ["finance"]},
            {"key": "bob-key", "subject": "bob", "roles": ["operator"], "groups": ["support"]},
            {"key": "eve-key", "subject": "eve", "roles": ["viewer"]},
            {"key": "own-key", "subject": "refund-desk", "roles": ["admin"], "agent": "refund-desk"},
        ]
    )
)


def ask(door: Door) -> Approval:
    return door.asked.ask(uuid4(), replace(REFUND, groups=("finance",)))


def said(approval: Approval, decision: pb.Decision.ValueType, **more: object) -> pb.DecideApprovalRequest:
    return pb.DecideApprovalRequest(id=str(approval.id), decision=decision, **more)  # type: ignore[arg-type]


async def test_what_is_asked_is_shown_whole(door: Door) -> None:
    approval = ask(door)
    shown = await door.approvals.GetApproval(pb.GetApprovalRequest(id=str(approval.id)))
    assert (shown.tool, dict(shown.arguments), list(shown.groups)) == (
        "refund",
        {"amount": 80, "to": "Ada"},
        ["finance"],
    )
    assert shown.reason == pb.APPROVAL_REASON_TOOL_CALL
    assert shown.status == pb.APPROVAL_STATUS_PENDING
    assert list(shown.allowed) == [
        pb.DECISION_APPROVE,
        pb.DECISION_EDIT,
        pb.DECISION_REJECT,
        pb.DECISION_RESPOND,
    ]


async def test_an_edit_is_kept_with_who_made_it(open_door: OpenDoor) -> None:
    door = await open_door(keys=KEYS)
    request = said(ask(door), pb.DECISION_EDIT, arguments=struct({"amount": 60, "to": "Ada"}), reason="it was 60")
    answer = await door.approvals.DecideApproval(request, metadata=(("x-api-key", "ada-key"),))
    assert answer.approval.status == pb.APPROVAL_STATUS_APPROVED
    (vote,) = answer.approval.votes
    assert (vote.by, list(vote.groups), vote.reason) == ("ada", ["finance"], "it was 60")
    assert dict(vote.arguments) == {"amount": 60, "to": "Ada"}


async def test_the_same_said_again_changes_nothing(door: Door) -> None:
    request = said(ask(door), pb.DECISION_APPROVE)
    first = await door.approvals.DecideApproval(request)
    again = await door.approvals.DecideApproval(request)
    assert (first.replayed, again.replayed) == (False, True)
    assert first.approval == again.approval


async def test_a_second_decision_hears_who_was_first(door: Door) -> None:
    approval = ask(door)
    await door.approvals.DecideApproval(said(approval, pb.DECISION_APPROVE))
    refusal = await refused(door.approvals.DecideApproval(said(approval, pb.DECISION_REJECT)))
    assert (refusal.status, refusal.code, refusal.reason) == (TOO_LATE, "approval_decided", "APPROVAL_DECIDED")
    assert "anonymous" in refusal.message


async def test_a_decision_after_expiry(door: Door) -> None:
    approval = ask(door)
    door.asked.expire(approval)
    refusal = await refused(door.approvals.DecideApproval(said(approval, pb.DECISION_APPROVE)))
    assert (refusal.status, refusal.code, refusal.reason) == (TOO_LATE, "approval_expired", "APPROVAL_EXPIRED")


async def test_edited_arguments_that_break_the_schema(door: Door) -> None:
    request = said(ask(door), pb.DECISION_EDIT, arguments_json='{"amount": 1000, "to": 7}')
    refusal = await refused(door.approvals.DecideApproval(request))
    assert (refusal.status, refusal.code) == (INVALID, "decision_not_allowed")
    assert set(refusal.fields) == {"arguments.amount", "arguments.to"}


@pytest.mark.parametrize(
    ("key", "says"),
    [
        ("bob-key", "finance to decide"),
        ("eve-key", "admin, operator or approver"),
        ("own-key", "an agent never decides"),
    ],
)
async def test_who_may_not_decide_hears_who_may(open_door: OpenDoor, key: str, says: str) -> None:
    door = await open_door(keys=KEYS)
    request = said(ask(door), pb.DECISION_APPROVE)
    refusal = await refused(door.approvals.DecideApproval(request, metadata=(("x-api-key", key),)))
    assert (refusal.status, refusal.code) == (DENIED, "not_an_approver")
    assert says in refusal.message


async def test_a_question_is_answered_with_any_json(door: Door) -> None:
    question = door.asked.ask(uuid4(), ApprovalRequest(reason=ApprovalReason.input_required, message="Which?"))
    refusal = await refused(door.approvals.DecideApproval(said(question, pb.DECISION_APPROVE)))
    assert (refusal.code, set(refusal.fields)) == ("decision_not_allowed", {"decision"})
    answer = await door.approvals.DecideApproval(
        said(question, pb.DECISION_RESPOND, response_json="12345678901234567890")
    )
    assert answer.approval.votes[0].response_json == "12345678901234567890"


@pytest.mark.parametrize(
    ("request_", "field"),
    [
        (pb.DecideApprovalRequest(id="x", decision=pb.DECISION_APPROVE), "id"),
        (pb.DecideApprovalRequest(id=str(uuid4())), "decision"),
        (pb.DecideApprovalRequest(id=str(uuid4()), decision=99), "decision"),  # type: ignore[arg-type]
        (pb.DecideApprovalRequest(id=str(uuid4()), decision=pb.DECISION_EDIT, arguments_json="{"), "arguments_json"),
        (pb.DecideApprovalRequest(id=str(uuid4()), decision=pb.DECISION_RESPOND, response_json=""), "response_json"),
    ],
)
async def test_a_decision_that_cannot_be_one(door: Door, request_: pb.DecideApprovalRequest, field: str) -> None:
    refusal = await refused(door.approvals.DecideApproval(request_))
    assert (refusal.status, set(refusal.fields)) == (INVALID, {field})


async def test_an_approval_that_is_not_there(door: Door) -> None:
    refusal = await refused(door.approvals.GetApproval(pb.GetApprovalRequest(id=str(uuid4()))))
    assert (refusal.status, refusal.code) == (grpc.StatusCode.NOT_FOUND, "approval_not_found")


async def test_the_beginning_of_an_id_is_enough_to_find_it(door: Door) -> None:
    ask(door)
    wanted = str(ask(door).id)
    listed = await door.approvals.ListApprovals(pb.ListApprovalsRequest(id_prefix=wanted[:-1]))
    assert [one.id for one in listed.approvals] == [wanted]
    refusal = await refused(door.approvals.ListApprovals(pb.ListApprovalsRequest(id_prefix="xyz")))
    assert (refusal.status, set(refusal.fields)) == (INVALID, {"id_prefix"})


async def test_lists_are_paged_and_narrowed(door: Door) -> None:
    for _ in range(3):
        ask(door)
    wanted = {"page_size": 2, "statuses": [pb.APPROVAL_STATUS_PENDING], "agent": "assistant", "mine": True}
    first = await door.approvals.ListApprovals(pb.ListApprovalsRequest(**wanted))  # type: ignore[arg-type]
    token = first.next_page_token
    second = await door.approvals.ListApprovals(pb.ListApprovalsRequest(**wanted, page_token=token))  # type: ignore[arg-type]
    assert len({one.id for one in (*first.approvals, *second.approvals)}) == 3
    assert second.next_page_token == ""
    refusal = await refused(door.approvals.ListApprovals(pb.ListApprovalsRequest(page_token=token)))
    assert refusal.code == "cursor_malformed"
