"""Approvals as JSON: what people are asked, and what they say."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, StrictStr

from ops_core.domain.approval import Approval, ApprovalReason, ApprovalStatus, Decision, OnTimeout, Vote
from ops_core.domain.task import JsonObject
from ops_core.services.approvals import ApprovalFilter, ApprovalPage, Ruling
from ops_core.wire.choices import members_of
from ops_core.wire.tasks import REQUEST, RESPONSE, TASK_ID_EXAMPLE
from ops_core.wire.times import TimeOut

APPROVAL_ID_EXAMPLE = "019375b6-4f10-7c21-8a3e-0d1c2b3a4958"
APPROVAL_EXAMPLE: dict[str, Any] = {
    "id": APPROVAL_ID_EXAMPLE,
    "namespace": "default",
    "task_id": TASK_ID_EXAMPLE,
    "round": 1,
    "step_key": "3/tool/1/approval",
    "agent": "refund-desk",
    "reason": "tool_call",
    "message": "Refund 80 EUR to Ada?",
    "tool": "issue_refund",
    "arguments": {"amount": 80, "to": "Ada"},
    "arguments_schema": {
        "type": "object",
        "properties": {"amount": {"type": "number"}, "to": {"type": "string"}},
        "required": ["amount", "to"],
    },
    "response_schema": None,
    "fingerprint": "2c26b46b68ffc68ff99b453c1d304134",
    "allowed": ["approve", "edit", "reject", "respond"],
    "groups": ["finance"],
    "required": 1,
    "on_timeout": "reject",
    "escalate_to": [],
    "status": "approved",
    "created_at": "2026-11-21T10:00:02.120000Z",
    "expires_at": "2026-11-22T10:00:02.120000Z",
    "escalated_at": None,
    "decided_at": "2026-11-21T10:04:40Z",
    "votes": [
        {
            "decision": "edit",
            "by": "ada",
            "groups": ["finance"],
            "reason": "the order was 60 EUR",
            "arguments": {"amount": 60, "to": "Ada"},
            "response": None,
            "at": "2026-11-21T10:04:40Z",
        }
    ],
}
DECIDE_EXAMPLE: dict[str, Any] = {
    "decision": "edit",
    "reason": "the order was 60 EUR",
    "arguments": {"amount": 60, "to": "Ada"},
}


class VoteOut(BaseModel):
    """One person's decision, kept for ever."""

    model_config = RESPONSE

    decision: Decision
    by: str
    groups: list[str] = Field(default_factory=list, description="The groups he was in then.")
    reason: str | None = None
    arguments: dict[str, Any] | None = Field(default=None, description="With `edit`: all the arguments.")
    response: Any = Field(default=None, description="With `respond`.")
    at: TimeOut

    @staticmethod
    def from_domain(vote: Vote) -> VoteOut:
        return VoteOut.model_validate(vote)


class ApprovalOut(BaseModel):
    """A question to people and all that was said to it. It outlives its task."""

    model_config = ConfigDict(**RESPONSE, json_schema_extra={"examples": [APPROVAL_EXAMPLE]})

    id: UUID
    namespace: str
    task_id: UUID = Field(description="The task that waits for it.")
    round: int
    step_key: str = Field(description="The step that waits.")
    agent: str
    reason: ApprovalReason = Field(description="Why a person is asked.")
    message: str = Field(description="What will happen, or the question, in Markdown.")
    tool: str | None = None
    arguments: dict[str, Any] | None = Field(default=None, description="Exactly what the tool would be called with.")
    arguments_schema: dict[str, Any] | None = Field(default=None, description="What edited arguments must fit.")
    response_schema: dict[str, Any] | None = Field(default=None, description="What a response must fit.")
    fingerprint: str | None = Field(default=None, description="Hash of the tool and its arguments.")
    allowed: list[Decision] = Field(description="What can be said.")
    groups: list[str] = Field(description="Who may decide now; empty for everybody who may decide at all.")
    required: int = Field(description="How many different people must approve.")
    on_timeout: OnTimeout
    escalate_to: list[str] = Field(description="Who is asked next when nobody decides in time.")
    status: ApprovalStatus
    created_at: TimeOut
    expires_at: TimeOut | None = None
    escalated_at: TimeOut | None = None
    decided_at: TimeOut | None = None
    votes: list[VoteOut]

    @staticmethod
    def from_domain(approval: Approval) -> ApprovalOut:
        request = approval.request
        return ApprovalOut(
            id=approval.id,
            namespace=approval.namespace,
            task_id=approval.task_id,
            round=approval.round,
            step_key=approval.step_key,
            agent=approval.agent,
            reason=request.reason,
            message=request.message,
            tool=request.tool,
            arguments=request.arguments,
            arguments_schema=request.arguments_schema,
            response_schema=request.response_schema,
            fingerprint=request.fingerprint,
            allowed=list(request.offered),
            groups=list(approval.groups),
            required=request.required,
            on_timeout=request.on_timeout,
            escalate_to=list(request.escalate_to),
            status=approval.status,
            created_at=approval.created_at,
            expires_at=approval.expires_at,
            escalated_at=approval.escalated_at,
            decided_at=approval.decided_at,
            votes=[VoteOut.from_domain(vote) for vote in approval.votes],
        )


class ApprovalPageOut(BaseModel):
    """Some approvals: pending ones with the nearest expiry first, others newest first."""

    model_config = ConfigDict(
        **RESPONSE, json_schema_extra={"examples": [{"data": [APPROVAL_EXAMPLE], "next_cursor": None}]}
    )

    data: list[ApprovalOut]
    next_cursor: str | None = Field(description="Ask for the next page with it; null at the end of the list.")

    @staticmethod
    def from_domain(page: ApprovalPage) -> ApprovalPageOut:
        return ApprovalPageOut(
            data=[ApprovalOut.from_domain(one) for one in page.approvals], next_cursor=page.next_cursor
        )


class DecisionIn(BaseModel):
    """What a person says."""

    model_config = ConfigDict(
        **REQUEST,
        json_schema_extra={
            "examples": [
                {"decision": "approve"},
                {"decision": "reject", "reason": "refunded last week"},
                {"decision": "respond", "response": "It is order 42."},
                DECIDE_EXAMPLE,
            ]
        },
    )

    decision: Decision
    reason: StrictStr | None = Field(default=None, description="Why; the agent sees it.")
    arguments: dict[str, Any] | None = Field(
        default=None, description="With `edit`: all the arguments, not a difference."
    )
    response: Any = Field(default=None, description="With `respond`: the answer; it has to fit `response_schema`.")

    def to_ruling(self) -> Ruling:
        arguments: JsonObject | None = self.arguments
        return Ruling(
            decision=self.decision,
            reason=self.reason,
            arguments=arguments,
            response=self.response,
            has_response="response" in self.model_fields_set,
        )


class ApprovalQueryIn(BaseModel):
    """The query of a list of approvals."""

    model_config = REQUEST

    status: list[str] = Field(default_factory=list, description="Repeated or separated by commas.")
    task_id: UUID | None = Field(default=None, description="Those of this task.")
    agent: str | None = Field(default=None, description="Those that this agent asked for.")
    mine: bool = Field(
        default=False, description="Only those that the caller may decide: pending ones, unless `status` is given."
    )
    id_prefix: str | None = Field(default=None, description="How the id begins.")
    limit: int = Field(default=50, description="1 to 200.")
    cursor: str | None = Field(default=None, description="`next_cursor` of the page before, with the same filters.")

    def to_filter(self) -> ApprovalFilter:
        """The filter it asks for.

        Raises:
            InvalidInput: a status that there is not.
        """
        return ApprovalFilter(
            statuses=frozenset(members_of(ApprovalStatus, self.status, name="status")),
            task_id=self.task_id,
            agent=self.agent,
            mine=self.mine,
            id_prefix=self.id_prefix,
        )
