"""Whether a tool call may be made: the policy's word, and a person's where the policy wants one."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace

from agentkit.errors import ToolError, WaitAnswerInvalid
from agentkit.journal import Journal
from agentkit.observations import Observation, as_text, not_allowed, rejected
from agentkit.rulings import Approved, Edited, Expired, Rejected, Responded, ruling_in
from agentkit.security.base import BaseSecurityManager, Denied, NeedsApproval, Verdict
from agentkit.tool_steps import ToolStep
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

        Raises:
            RunSuspended: a person must decide first.
            StepMismatch, WaitAnswerInvalid: the decision is none on this call.
        """
        verdict = await self._verdict(step.call, spec, context)
        if isinstance(verdict, Denied):
            return _denied(step, verdict)
        wait = _approval(step, verdict)
        answer = self._journal.answer(wait.key)
        if answer is not None:
            return await self._decided(step, spec, context, wait, answer)
        if isinstance(verdict, NeedsApproval):
            raise RunSuspended([wait])
        return Permitted(step.call)

    async def _verdict(self, call: ToolCall, spec: ToolSpec, context: ToolContext) -> Verdict:
        try:
            async with asyncio.timeout(self._timeout_seconds):
                return await self._security.judge(call, spec, context)
        except TimeoutError:
            return Denied(f"the policy gave no verdict within {self._timeout_seconds:g} s")
        except ToolError as error:
            return Denied(str(error))

    async def _decided(
        self, step: ToolStep, spec: ToolSpec, context: ToolContext, wait: Wait, answer: JsonObject
    ) -> Permitted | Observation:
        terms = {name: value for name, value in wait.request.items() if name not in _OURS}
        match ruling_in(wait, answer):
            case Approved():
                return Permitted(step.call, terms=terms)
            case Edited(arguments):
                _require_not_begun_otherwise(step, arguments)
                edited = replace(step.call, arguments=arguments)
                verdict = await self._verdict(edited, spec, context)
                return _denied(step, verdict) if isinstance(verdict, Denied) else Permitted(edited, True, terms)
            case Rejected(reason):
                why = f"was rejected by a person: {reason or 'no reason was given'}"
            case Expired():
                why = "was not made, because nobody approved it in time"
            case Responded(response):
                return Observation(as_text(response))
        return Observation(rejected(spec.name, why, begun=step.intent is not None), is_error=True, error=_REJECTED)


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
        # The call as the model made it: an answer to another call is refused.
        "fingerprint": step.fingerprint,
    }


def _approval(step: ToolStep, verdict: Verdict) -> Wait:
    message, terms = (verdict.message, verdict.terms) if isinstance(verdict, NeedsApproval) else ("", {})
    # The idempotency key of a call that was begun belongs to the arguments it was begun with.
    barred = "edit" if step.intent is not None else ""
    request = approval_request(
        step,
        reason="tool_call",
        arguments=step.call.arguments,
        message=message,
        allowed=tuple(one for one in terms.get("allowed", _ALLOWED) if one != barred),
        terms=terms,
    )
    return Wait(key=f"{step.key}/{WaitKind.approval}", kind=WaitKind.approval, request=request)


def _require_not_begun_otherwise(step: ToolStep, arguments: JsonObject) -> None:
    if step.intent is not None and step.intent.payload["arguments"] != arguments:
        raise WaitAnswerInvalid(f"the call of {step.key} was begun with other arguments than those of the decision")


def _denied(step: ToolStep, verdict: Denied) -> Observation:
    said = not_allowed(step.call.name, verdict.reason, begun=step.intent is not None)
    return Observation(said, is_error=True, error=_DENIED)
