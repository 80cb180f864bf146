"""What callers can do with approvals: see what people are asked, and decide it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from typing import NoReturn
from uuid import UUID

from ops_core.domain.approval import NEVER, Approval, ApprovalReason, ApprovalStatus, Decision, NewVote
from ops_core.domain.caller import Caller, Operation
from ops_core.domain.task import JsonObject, JsonValue
from ops_core.errors import (
    ApprovalNotFound,
    DecisionNotAllowed,
    FieldProblem,
    InvalidInput,
    NotAnApprover,
)
from ops_core.ports import ApprovalQuery, ApprovalStore, Nudge, NudgeBus, NudgeKind, Voted
from ops_core.services.cursors import cut_page, decode_cursor
from ops_core.services.id_prefixes import id_digits
from ops_core.services.input_schema import schema_problems
from ops_core.services.json_shape import json_problem
from ops_core.services.limits import TaskLimits
from ops_core.services.permission import require, roles_for
from ops_core.services.relay import SupportsAnnounce
from ops_core.telemetry import LogEvent, get_logger

_PENDING = frozenset({ApprovalStatus.pending})


@dataclass(frozen=True, slots=True, kw_only=True)
class ApprovalFilter:
    """Which approvals to list; what is left out does not narrow."""

    statuses: frozenset[ApprovalStatus] = frozenset()
    task_id: UUID | None = None
    agent: str | None = None
    #: Only those that the caller may decide; pending ones, unless statuses are named.
    mine: bool = False
    #: Beginning of an id, with or without dashes.
    id_prefix: str | None = None


@dataclass(frozen=True, slots=True)
class ApprovalPage:
    """Some approvals, and where the list goes on."""

    approvals: Sequence[Approval]
    next_cursor: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Ruling:
    """What a caller says to an approval."""

    decision: Decision
    #: The agent sees it.
    reason: str | None = None
    #: With `edit`: all the arguments, not a difference.
    arguments: JsonObject | None = None
    #: With `respond`; None is a response too, so whether one was given is said apart.
    response: JsonValue = None
    has_response: bool = False


class ApprovalService:
    """Approvals of the caller's namespace. All methods raise StoreUnavailable when the database cannot be reached,
    and PermissionDenied when the caller's roles do not allow them."""

    def __init__(
        self, *, approvals: ApprovalStore, relay: SupportsAnnounce, nudges: NudgeBus, limits: TaskLimits
    ) -> None:
        self._approvals = approvals
        self._relay = relay
        self._nudges = nudges
        self._limits = limits
        self._log = get_logger()

    async def list(self, caller: Caller, filter: ApprovalFilter, *, limit: int, cursor: str | None) -> ApprovalPage:
        """Pending ones with the nearest expiry first; others, or several kinds, newest first.

        Raises:
            CursorMalformed, InvalidInput.
        """
        require(caller, Operation.look)
        if not 1 <= limit <= self._limits.max_page:
            _refuse("limit", f"must be between 1 and {self._limits.max_page}, not {limit}")
        if filter.mine and not caller.may(Operation.decide):
            return ApprovalPage((), None)
        query = _query(caller, filter, limit)
        if cursor is not None:
            query = replace(query, before=decode_cursor(query, cursor))
        found = await self._approvals.list_approvals(replace(query, limit=limit + 1))
        return ApprovalPage(*cut_page(query, found, limit, place_of=partial(place_of, query)))

    async def get(self, caller: Caller, approval_id: UUID) -> Approval:
        """Raises:
        ApprovalNotFound: no such approval in the caller's namespace.
        """
        require(caller, Operation.look)
        return await self._found(caller, approval_id)

    async def decide(self, caller: Caller, approval_id: UUID, ruling: Ruling) -> Voted:
        """Decide, or give one of several votes; the same from the same person a second time adds nothing.

        Raises:
            NotAnApprover: others are asked; says who. ApprovalNotFound. DecisionNotAllowed, InvalidInput.
            ApprovalDecided: says who was first. ApprovalExpired.
        """
        if not caller.may(Operation.decide):
            raise NotAnApprover(_why_never(caller))
        approval = await self._found(caller, approval_id)
        if not _may_be_handed_on_to(caller, approval):
            _check_group(caller, approval)
        # Of one that is not open any more the store says what became of it.
        if approval.status is ApprovalStatus.pending:
            self._check_fit(approval, ruling)
        vote = NewVote(
            decision=ruling.decision,
            by=caller.subject,
            groups=tuple(sorted(caller.groups)),
            reason=ruling.reason,
            arguments=ruling.arguments,
            response=ruling.response,
        )
        # Asked again under the lock: it may have been escalated meanwhile.
        voted = await self._approvals.vote(
            caller.namespace, approval_id, vote, check=lambda current: _check_group(caller, current)
        )
        self._tell(caller, ruling, voted)
        return voted

    async def _found(self, caller: Caller, approval_id: UUID) -> Approval:
        approval = await self._approvals.get_approval(caller.namespace, approval_id)
        if approval is None:
            raise ApprovalNotFound(f"There is no approval {approval_id}. List approvals to find the one you mean.")
        return approval

    def _check_fit(self, approval: Approval, ruling: Ruling) -> None:
        """What the decision brings has to be what the approval asks for."""
        _check_offered(approval, ruling)
        if ruling.reason is not None and len(ruling.reason) > self._limits.max_reason_chars:
            _refuse("reason", f"must have at most {self._limits.max_reason_chars:,} characters")
        given = {"reason": ruling.reason, "arguments": ruling.arguments, "response": ruling.response}
        for name, value in given.items():
            problem = json_problem(value, max_depth=self._limits.max_json_depth, max_bytes=self._limits.max_input_bytes)
            if problem is not None:
                problem = FieldProblem(f"/{name}{problem.pointer}", problem.detail)
                raise InvalidInput(f"`{_shown(problem.pointer)}` {problem.detail}.", problems=[problem])
        if ruling.decision is Decision.edit:
            _check_schema("arguments", approval.request.arguments_schema, ruling.arguments)
        if ruling.decision is Decision.respond:
            _check_schema("response", approval.request.response_schema, ruling.response)

    def _tell(self, caller: Caller, ruling: Ruling, voted: Voted) -> None:
        self._relay.announce(voted.rings)
        if voted.replayed:
            return
        approval = voted.approval
        # Whoever watches the task reads its log anew.
        self._nudges.send([Nudge(NudgeKind.event, approval.task_id)])
        self._log.info(
            LogEvent.approval_decided,
            approval_id=str(approval.id),
            task_id=str(approval.task_id),
            decision=ruling.decision.value,
            status=approval.status.value,
            by=caller.subject,
        )


def place_of(query: ApprovalQuery, approval: Approval) -> tuple[datetime, UUID]:
    """Where the approval stands in the list that the query gives."""
    if query.statuses == _PENDING:
        return approval.expires_at or NEVER, approval.id
    return approval.created_at, approval.id


def _query(caller: Caller, filter: ApprovalFilter, limit: int) -> ApprovalQuery:
    return ApprovalQuery(
        namespace=caller.namespace,
        statuses=_PENDING if filter.mine and not filter.statuses else filter.statuses,
        task_id=filter.task_id,
        agent=filter.agent,
        groups=caller.groups if filter.mine and not caller.is_admin else None,
        id_prefix=id_digits(filter.id_prefix),
        limit=limit,
    )


def _why_never(caller: Caller) -> str:
    if caller.agent is not None:
        return f"This is the key of the agent {caller.agent}, and an agent never decides: a person has to."
    return f"{caller.subject} may not decide approvals: that takes the role {roles_for(Operation.decide)}."


def _may_be_handed_on_to(caller: Caller, approval: Approval) -> bool:
    """Whether he is asked when the time of others is over. Whoever votes first after that hands it on, so only the
    store can say whose turn it is."""
    is_pending = approval.status is ApprovalStatus.pending
    return is_pending and approval.can_escalate and caller.is_in_one_of(approval.request.escalate_to)


def _check_group(caller: Caller, approval: Approval) -> None:
    if not caller.is_in_one_of(approval.groups):
        raise NotAnApprover(
            f"This is for members of {' or '.join(approval.groups)} to decide, and {caller.subject} is in "
            f"{' and '.join(sorted(caller.groups)) or 'no group'}."
        )


def _check_offered(approval: Approval, ruling: Ruling) -> None:
    offered = approval.request.offered
    if ruling.decision not in offered:
        detail = f"must be one of {', '.join(offered)}, not {ruling.decision}"
        why = _WHY_NOT.get((approval.request.reason, ruling.decision), "")
        raise DecisionNotAllowed(f"`decision` {detail}{why}.", problems=[FieldProblem("/decision", detail)])
    if (ruling.decision is Decision.edit) != (ruling.arguments is not None):
        _not_allowed("arguments", "go with the decision edit, and only with it: all of them, as an object")
    if (ruling.decision is Decision.respond) != ruling.has_response:
        _not_allowed("response", "goes with the decision respond, and only with it")


_WHY_NOT = {
    (ApprovalReason.input_required, Decision.approve): ": the agent asks a question, which wants a response",
    (ApprovalReason.outcome_unknown, Decision.edit): ": the call may have been made with the arguments it has",
}


def _check_schema(name: str, schema: JsonObject | None, value: JsonValue) -> None:
    if schema is None:
        return
    found = schema_problems(schema, value)
    if found is None:
        _not_allowed(name, "cannot be checked: the schema they have to fit is broken. Approve or reject instead")
    if found:
        problems = [FieldProblem(f"/{name}{one.pointer}", one.detail) for one in found]
        shown = "; ".join(f"`{_shown(one.pointer)}` {one.detail}" for one in problems[:3])
        raise DecisionNotAllowed(f"{shown}.", problems=problems)


def _not_allowed(name: str, detail: str) -> NoReturn:
    raise DecisionNotAllowed(f"`{name}` {detail}.", problems=[FieldProblem(f"/{name}", detail)])


def _refuse(name: str, detail: str) -> NoReturn:
    raise InvalidInput(f"`{name}` {detail}.", problems=[FieldProblem(f"/{name}", detail)])


def _shown(pointer: str) -> str:
    return pointer[1:].replace("/", ".")
