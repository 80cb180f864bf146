"""What a person is asked, what he may answer, and what has been answered."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from ops_core.domain.task import JsonObject, JsonValue

#: Where an approval without an expiry stands among those that have one.
NEVER = datetime.max.replace(tzinfo=UTC)


class ApprovalReason(StrEnum):
    """Why a person is asked."""

    #: The agent's policy wants a person's word before this tool call.
    tool_call = "tool_call"
    #: A tool call was begun and its outcome never recorded: run it again?
    outcome_unknown = "outcome_unknown"
    #: The agent asks its user a question.
    input_required = "input_required"
    #: The agent's policy wants a person's word before the task runs at all.
    task = "task"


class Decision(StrEnum):
    """What a person can say."""

    #: Go on as asked.
    approve = "approve"
    #: Go on with other arguments, given whole.
    edit = "edit"
    #: Do not; the agent is told why.
    reject = "reject"
    #: The person's own answer takes the place of the call's result; the only answer to a question.
    respond = "respond"


class OnTimeout(StrEnum):
    """What happens when nobody decides in time."""

    reject = "reject"
    #: Ask the groups in `escalate_to` once, for as long again; then reject.
    escalate = "escalate"


class ApprovalStatus(StrEnum):
    """Where an approval stands."""

    pending = "pending"
    approved = "approved"
    rejected = "rejected"
    #: A person gave the answer himself.
    responded = "responded"
    #: Nobody decided in time; the agent was told so.
    expired = "expired"
    #: The task ended, or went on another way, before anybody decided.
    closed = "closed"


#: A question is answered or declined; a call of unknown outcome cannot be made with other arguments; a task has none.
_MEANINGFUL: Mapping[ApprovalReason, frozenset[Decision]] = {
    ApprovalReason.tool_call: frozenset(Decision),
    ApprovalReason.outcome_unknown: frozenset({Decision.approve, Decision.reject, Decision.respond}),
    ApprovalReason.input_required: frozenset({Decision.respond, Decision.reject}),
    ApprovalReason.task: frozenset({Decision.approve, Decision.reject}),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ApprovalRequest:
    """What is asked of whom, and on which terms."""

    reason: ApprovalReason
    #: For a person: what will happen, or the question. Markdown.
    message: str
    tool: str | None = None
    #: Exactly what the tool would be called with.
    arguments: JsonObject | None = None
    #: JSON Schema that edited arguments must fit.
    arguments_schema: JsonObject | None = None
    #: JSON Schema that a response must fit.
    response_schema: JsonObject | None = None
    #: Hash of the tool and its arguments: what is approved is what is called.
    fingerprint: str | None = None
    allowed: tuple[Decision, ...] = (Decision.approve, Decision.edit, Decision.reject, Decision.respond)
    #: Who may decide; empty for everybody who may decide at all.
    groups: tuple[str, ...] = ()
    #: How many different people must approve, and exactly the same arguments.
    required: int = 1
    #: None to wait for ever.
    timeout_seconds: float | None = None
    on_timeout: OnTimeout = OnTimeout.reject
    escalate_to: tuple[str, ...] = ()

    @property
    def offered(self) -> tuple[Decision, ...]:
        """What can be said: of what is allowed, as much as has a meaning here."""
        return tuple(one for one in Decision if one in self.allowed and one in _MEANINGFUL[self.reason])

    def to_json(self) -> JsonObject:
        body: dict[str, Any] = asdict(self)
        for name in ("allowed", "groups", "escalate_to"):
            body[name] = [str(item) for item in body[name]]
        return {name: value for name, value in body.items() if value is not None}

    @staticmethod
    def from_json(body: JsonObject) -> ApprovalRequest:
        """The inverse of `to_json`. Fields this version does not know are ignored: a newer process wrote them."""
        known = {name: value for name, value in body.items() if name in ApprovalRequest.__dataclass_fields__}
        allowed = tuple(Decision(one) for one in known.pop("allowed", ("approve", "edit", "reject", "respond")))
        return ApprovalRequest(
            **{
                **known,
                "reason": ApprovalReason(known["reason"]),
                "allowed": allowed,
                "groups": tuple(known.get("groups", ())),
                "escalate_to": tuple(known.get("escalate_to", ())),
                "on_timeout": OnTimeout(known.get("on_timeout", "reject")),
            }
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class NewVote:
    """One person's decision, about to be counted."""

    decision: Decision
    by: str
    #: The voter's groups when he voted.
    groups: tuple[str, ...] = ()
    reason: str | None = None
    #: With `edit`: all the arguments, not a difference.
    arguments: JsonObject | None = None
    #: With `respond`.
    response: JsonValue = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Vote(NewVote):
    """One person's decision, kept for ever."""

    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Approval:
    """A question to people and all that was said to it. Outlives its task."""

    id: UUID
    namespace: str
    task_id: UUID
    round: int
    #: Key of the step that waits.
    step_key: str
    agent: str
    request: ApprovalRequest
    status: ApprovalStatus
    created_at: datetime
    expires_at: datetime | None = None
    escalated_at: datetime | None = None
    decided_at: datetime | None = None
    #: In the order of voting.
    votes: Sequence[Vote] = ()

    @property
    def can_escalate(self) -> bool:
        """Whether another group is asked when nobody decides in time: once."""
        request = self.request
        return request.on_timeout is OnTimeout.escalate and bool(request.escalate_to) and self.escalated_at is None

    @property
    def groups(self) -> tuple[str, ...]:
        """Who may decide now."""
        return self.request.escalate_to if self.escalated_at is not None else self.request.groups


@dataclass(frozen=True, slots=True)
class Decided:
    """What a vote has led to."""

    status: ApprovalStatus
    #: What the run is told, as agentkit reads it.
    answer: JsonObject
    #: Whose votes decided, in the order of voting; nobody's when it expired.
    by: tuple[str, ...] = ()


def weighed(request: ApprovalRequest, votes: Sequence[NewVote]) -> Decided | None:
    """What the votes, in their order, decide; None while more are needed.

    One rejection decides, and so does one response. To go on takes `required` people whose latest votes are for exactly
    the same arguments: `approve` is for those asked, `edit` for its own. Nobody approves what he has not named, so an
    `approve` that crosses somebody's edit does not count for that edit: who agrees with it sends the same edit.
    """
    latest: dict[str, NewVote] = {}
    for vote in votes:
        match vote.decision:
            case Decision.reject:
                return Decided(ApprovalStatus.rejected, _answer(request, vote, (vote.by,)), (vote.by,))
            case Decision.respond:
                return Decided(ApprovalStatus.responded, _answer(request, vote, (vote.by,)), (vote.by,))
            case Decision.approve | Decision.edit:
                latest.pop(vote.by, None)
                latest[vote.by] = vote
                wanted = _wanted(request, vote)
                agreed = tuple(one.by for one in latest.values() if _wanted(request, one) == wanted)
                if len(agreed) >= request.required:
                    return Decided(ApprovalStatus.approved, _answer(request, vote, agreed), agreed)
    return None


def expired(request: ApprovalRequest) -> Decided:
    """What nobody's decision leads to."""
    answer: JsonObject = {"decision": "expire", "by": [], "fingerprint": request.fingerprint}
    if request.reason is ApprovalReason.input_required:
        answer = {"expired": True}
    return Decided(ApprovalStatus.expired, answer)


def _wanted(request: ApprovalRequest, vote: NewVote) -> str:
    """The arguments that a vote is for, to be compared as JSON: Python takes true for 1."""
    return json.dumps(vote.arguments if vote.decision is Decision.edit else request.arguments, sort_keys=True)


def _answer(request: ApprovalRequest, vote: NewVote, by: tuple[str, ...]) -> JsonObject:
    if request.reason is ApprovalReason.input_required:
        if vote.decision is Decision.respond:
            return {"response": vote.response, "by": vote.by}
        return {"declined": True, "reason": vote.reason, "by": vote.by}
    answer: JsonObject = {
        "decision": str(vote.decision),
        "reason": vote.reason,
        "by": [*by],
        "fingerprint": request.fingerprint,
    }
    if vote.decision is Decision.edit:
        answer["arguments"] = vote.arguments
    if vote.decision is Decision.respond:
        answer["response"] = vote.response
    return answer
