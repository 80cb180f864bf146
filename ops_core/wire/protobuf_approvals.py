"""Approvals, and requests about them: between protobuf messages and our own values."""

from __future__ import annotations

from uuid import UUID

from ops_core.domain.approval import Approval, ApprovalReason, ApprovalStatus, Decision, OnTimeout, Vote
from ops_core.ports import Voted
from ops_core.services.approvals import ApprovalFilter, ApprovalPage, Ruling
from ops_core.wire.pb.v1 import approvals_pb2 as pb
from ops_core.wire.protobuf_enums import member_of, numbers_of
from ops_core.wire.protobuf_ids import uuid_from
from ops_core.wire.protobuf_json import object_of, put_object, put_value, value_of
from ops_core.wire.protobuf_time import timestamp_from

REASON_NUMBERS = numbers_of(ApprovalReason, pb.ApprovalReason, "APPROVAL_REASON")
DECISION_NUMBERS = numbers_of(Decision, pb.Decision, "DECISION")
ON_TIMEOUT_NUMBERS = numbers_of(OnTimeout, pb.OnTimeout, "ON_TIMEOUT")
STATUS_NUMBERS = numbers_of(ApprovalStatus, pb.ApprovalStatus, "APPROVAL_STATUS")


def approval_message(approval: Approval) -> pb.Approval:
    """The approval as a message."""
    request = approval.request
    message = pb.Approval(
        id=str(approval.id),
        namespace=approval.namespace,
        task_id=str(approval.task_id),
        round=approval.round,
        step_key=approval.step_key,
        agent=approval.agent,
        reason=REASON_NUMBERS[request.reason],
        message=request.message,
        tool=request.tool,
        fingerprint=request.fingerprint,
        allowed=[DECISION_NUMBERS[one] for one in request.offered],
        groups=approval.groups,
        required=request.required,
        on_timeout=ON_TIMEOUT_NUMBERS[request.on_timeout],
        escalate_to=request.escalate_to,
        status=STATUS_NUMBERS[approval.status],
        created_at=timestamp_from(approval.created_at),
        expires_at=timestamp_from(approval.expires_at),
        escalated_at=timestamp_from(approval.escalated_at),
        decided_at=timestamp_from(approval.decided_at),
        votes=map(_vote_message, approval.votes),
    )
    put_object(message, "arguments", request.arguments)
    put_object(message, "arguments_schema", request.arguments_schema)
    put_object(message, "response_schema", request.response_schema)
    return message


def _vote_message(vote: Vote) -> pb.Vote:
    message = pb.Vote(
        decision=DECISION_NUMBERS[vote.decision],
        by=vote.by,
        groups=vote.groups,
        reason=vote.reason,
        at=timestamp_from(vote.at),
    )
    put_object(message, "arguments", vote.arguments)
    if vote.decision is Decision.respond:
        put_value(message, "response", vote.response)
    return message


def page_message(page: ApprovalPage) -> pb.ListApprovalsResponse:
    """A page of approvals, as a message."""
    return pb.ListApprovalsResponse(
        approvals=map(approval_message, page.approvals), next_page_token=page.next_cursor or ""
    )


def voted_message(voted: Voted) -> pb.DecideApprovalResponse:
    """What became of a decision, as a message."""
    return pb.DecideApprovalResponse(approval=approval_message(voted.approval), replayed=voted.replayed)


def filter_from(request: pb.ListApprovalsRequest) -> ApprovalFilter:
    """Which approvals the request asks for.

    Raises:
        InvalidInput: a status or an id is none.
    """
    return ApprovalFilter(
        statuses=frozenset(
            member_of(STATUS_NUMBERS, number, pointer=f"/statuses/{index}")
            for index, number in enumerate(request.statuses)
        ),
        task_id=uuid_from(request.task_id, of="a task", pointer="/task_id") if request.HasField("task_id") else None,
        agent=request.agent if request.HasField("agent") else None,
        mine=request.mine,
        id_prefix=request.id_prefix if request.HasField("id_prefix") else None,
    )


def ruling_from(request: pb.DecideApprovalRequest) -> Ruling:
    """What the request says; it is judged by the service.

    Raises:
        InvalidInput, MalformedRequest: the decision is none, or what comes with it no JSON.
    """
    return Ruling(
        decision=member_of(DECISION_NUMBERS, request.decision, pointer="/decision"),
        reason=request.reason if request.HasField("reason") else None,
        arguments=object_of(request, "arguments"),
        response=value_of(request, "response"),
        has_response=request.WhichOneof("response_form") is not None,
    )


def approval_id_from(text: str) -> UUID:
    """Raises:
    InvalidInput: it is no UUID in the usual form.
    """
    return uuid_from(text, of="an approval")
