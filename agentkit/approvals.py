"""Whether a tool call may be made: the policy's word, and a person's where the policy wants one."""

from __future__ import annotations

import asyncio
import itertools
from dataclasses import dataclass, field, replace

from agentkit.errors import BadToolArguments, ToolError, WaitAnswerInvalid
from agentkit.foreign import await_foreign
from agentkit.journal import Journal
from agentkit.observations import Observation, as_text, earlier_try, not_allowed, rejected, said_by
from agentkit.rulings import Approved, Edited, Expired, Rejected, Responded, ruling_in
from agentkit.security.base import Allowed, BaseSecurityManager, Denied, NeedsApproval, Verdict
from agentkit.tool_steps import ToolStep
from agentkit.tools.arguments import misfit
from agentkit.tools.base import ToolContext, ToolSpec
from agentkit.transcript import JsonObject, ToolCall
from agentkit.waits import RunSuspended, Wait, WaitKind

#: `error` of a call that the security manager did not allow.
_DENIED = "tool_denied"
#: `error` of a call that a person rejected, or that nobody approved in time.
_REJECTED = "tool_rejected"
#: What can be said of a call, unless the policy offers less.
_ALLOWED = ("approve", "edit", "reject", "respond")
#: What a request holds besides the policy's terms.
_OURS = frozenset({"reason", "tool", "arguments", "arguments_schema", "message", "allowed", "fingerprint"})


@dataclass(frozen=True, slots=True)
class Permitted:
    """The call may be made."""

    #: With the arguments that a person chose, if one did.
    call: ToolCall
    edited: bool = False
    #: On which terms the policy had somebody decide; empty when it did not.
    terms: JsonObject = field(default_factory=dict)


class Approvals:
    """Judges the calls of one run."""

    def __init__(self, *, security: BaseSecurityManager, journal: Journal, timeout_seconds: float) -> None:
        self._security = security
        self._journal = journal
        self._timeout_seconds = timeout_seconds

    async def permit(self, step: ToolStep, spec: ToolSpec, context: ToolContext) -> Permitted | Observation:
        """Leave to make the call, or what the model is told in place of its result.

        A denial is final. Else a decision that exists is honoured, also when the policy would not ask for it any more.
        It says nothing of arguments that a person has changed when the policy sets other terms for those: then whoever
        these name is asked next. Nobody is asked about arguments of the model that break the tool's schema: it is told.

        Raises:
            RunSuspended: a person must decide first.
            StepMismatch, WaitAnswerInvalid: the decision is none on this call.
        """
        asked, verdict = step, await self._verdict(step.call, spec, context)
        for number in itertools.count(1):
            if isinstance(verdict, Denied):
                return _denied(step, verdict)
            wait, terms = _approval(asked, verdict, number), _terms(verdict)
            answer = self._journal.answer(wait.key)
            if answer is None:
                return _undecided(step, asked, spec, wait if isinstance(verdict, NeedsApproval) else None)
            match ruling_in(wait, answer):
                case Edited(arguments):
                    asked = replace(asked, call=replace(asked.call, arguments=arguments))
                    verdict = await self._verdict(asked.call, spec, context)
                    if isinstance(verdict, Allowed) or (
                        isinstance(verdict, NeedsApproval) and _terms(verdict) == terms
                    ):
                        return _permitted(step, asked, terms)
                case ruling:
                    return _ruled(step, asked, terms, ruling)
        raise AssertionError("unreachable: the count never ends")

    async def _verdict(self, call: ToolCall, spec: ToolSpec, context: ToolContext) -> Verdict:
        """Whatever else comes of asking the policy, it has not said yes."""
        try:
            async with asyncio.timeout(self._timeout_seconds) as limit:
                verdict: object = await await_foreign(self._security.judge(call, spec, context))
        except ToolError as error:
            return Denied(str(error))
        # A fault in a policy must neither let the call through nor end the process.
        except (Exception, SystemExit) as error:  # noqa: BLE001  a policy is foreign code, as a tool is
            if limit.expired():
                return Denied(f"the policy gave no verdict within {self._timeout_seconds:g} s")
            return Denied(f"the policy failed: {said_by(error)}")
        if not isinstance(verdict, Allowed | Denied | NeedsApproval):
            return Denied(f"the policy answered with {type(verdict).__name__}, which is no verdict")
        return verdict


def _undecided(step: ToolStep, asked: ToolStep, spec: ToolSpec, wait: Wait | None) -> Permitted | Observation:
    """What becomes of a call that nobody has decided on; `wait` is for who has to, None when nobody has.

    Raises:
        RunSuspended: somebody has.
        WaitAnswerInvalid: as `_permitted`.
    """
    permitted = _permitted(step, asked, {})
    if wait is None:
        return permitted
    wrong = None if permitted.edited else misfit(spec, step.call.arguments)
    if wrong is None:
        raise RunSuspended([wait])
    return Observation(wrong + earlier_try(step.intent is not None), is_error=True, error=BadToolArguments.code)


def _permitted(step: ToolStep, asked: ToolStep, terms: JsonObject) -> Permitted:
    """Raises:
    WaitAnswerInvalid: the call was begun before, with other arguments than people have chosen now.
    """
    if asked is step:
        return Permitted(step.call, terms=terms)
    arguments = asked.call.arguments
    if step.intent is not None and step.intent.payload["arguments"] != arguments:
        raise WaitAnswerInvalid(f"the call of {step.key} was begun with other arguments than those of the decision")
    return Permitted(asked.call, True, terms)


def _ruled(
    step: ToolStep, asked: ToolStep, terms: JsonObject, ruling: Approved | Rejected | Expired | Responded
) -> Permitted | Observation:
    match ruling:
        case Approved():
            return _permitted(step, asked, terms)
        case Rejected(reason):
            why = f"was rejected by a person: {reason or 'no reason was given'}"
        case Expired():
            why = "was not made, because nobody approved it in time"
        case Responded(response):
            return Observation(as_text(response))
    return Observation(rejected(step.call.name, why, begun=step.intent is not None), is_error=True, error=_REJECTED)


def approval_request(
    step: ToolStep, *, reason: str, arguments: JsonObject, message: str, allowed: tuple[str, ...], terms: JsonObject
) -> JsonObject:
    """What somebody who decides on a call is shown: exactly what would be called, and why one is asked."""
    return {
        **terms,
        "reason": reason,
        "tool": step.call.name,
        "arguments": arguments,
        "arguments_schema": step.spec.parameters if step.spec is not None else {"type": "object"},
        "message": message,
        "allowed": list(allowed),
        # The call as it is asked about: an answer to another call is refused.
        "fingerprint": step.fingerprint,
    }


def _approval(step: ToolStep, verdict: Verdict, number: int) -> Wait:
    offered = verdict.terms.get("allowed", _ALLOWED) if isinstance(verdict, NeedsApproval) else _ALLOWED
    # The idempotency key of a call that was begun belongs to the arguments it was begun with.
    barred = "edit" if step.intent is not None else ""
    request = approval_request(
        step,
        reason="tool_call",
        arguments=step.call.arguments,
        message=verdict.message if isinstance(verdict, NeedsApproval) else "",
        allowed=tuple(one for one in offered if one != barred),
        terms=_terms(verdict),
    )
    key = f"{step.key}/{WaitKind.approval}" + (f"/{number}" if number > 1 else "")
    return Wait(key=key, kind=WaitKind.approval, request=request)


def _terms(verdict: Verdict) -> JsonObject:
    terms = verdict.terms if isinstance(verdict, NeedsApproval) else {}
    return {name: value for name, value in terms.items() if name not in _OURS}


def _denied(step: ToolStep, verdict: Denied) -> Observation:
    said = not_allowed(step.call.name, verdict.reason, begun=step.intent is not None)
    return Observation(said, is_error=True, error=_DENIED)
