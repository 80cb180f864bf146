"""What becomes of a call that was begun and whose outcome was never recorded."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TypeAlias

from agentkit.approvals import approval_request
from agentkit.errors import OutcomeUnknown, WaitAnswerInvalid
from agentkit.journal import Journal, StepIntent
from agentkit.observations import Observation, as_text, unknown_outcome
from agentkit.rulings import Approved, Edited, Expired, Rejected, Responded, ruling_in
from agentkit.tool_steps import ToolStep
from agentkit.tools.base import OnUnknown
from agentkit.waits import Wait, WaitKind

#: `error` of a call that a person would not have made again.
_UNKNOWN = "tool_outcome_unknown"


@dataclass(frozen=True, slots=True)
class CallAgain:
    """The call may be made once more, with the same idempotency key."""

    #: Where to write that it is; a person's word is good for one try. None when the tool may repeat at will.
    intent_key: str | None


Settled: TypeAlias = CallAgain | Observation | Wait


def settle(step: ToolStep, intent: StepIntent, journal: Journal) -> Settled:
    """What the tool's own declaration says, or a person, or the wait for one.

    Raises:
        OutcomeUnknown: it must never be made again.
        StepMismatch, WaitAnswerInvalid: the decision is none on this call.
    """
    match OnUnknown(intent.payload["on_unknown"]):
        case OnUnknown.fail:
            raise OutcomeUnknown(intent.key, step.call.name)
        case OnUnknown.retry if step.spec is not None:
            return CallAgain(None)
        # Also `retry` of a tool that is out of reach now: "no such tool" would be a wrong answer to record.
        case OnUnknown.ask | OnUnknown.retry:
            return _asked(step, intent, journal)


def _asked(step: ToolStep, intent: StepIntent, journal: Journal) -> Settled:
    """Each try that dies, too, is asked about anew."""
    for number in itertools.count(1):
        wait = _wait(step, intent, number)
        answer = journal.answer(wait.key)
        if answer is None:
            return wait
        match ruling_in(wait, answer):
            case Approved():
                again = f"{step.key}/again/{number}"
                if journal.recall(again) is None:
                    return CallAgain(again)
            case Rejected(reason):
                return _left(step, f"A person decided that it is not made again: {reason or 'no reason was given'}.")
            case Expired():
                return _left(step, "It was not made again, because nobody decided in time.")
            case Responded(response):
                return Observation(as_text(response))
            case Edited():
                raise WaitAnswerInvalid(f"{wait.key} cannot be edited: the call was begun with its arguments")
    raise AssertionError("unreachable: the count never ends")


def _left(step: ToolStep, why: str) -> Observation:
    return Observation(f"{unknown_outcome(step.call.name)} {why}", is_error=True, error=_UNKNOWN)


def _wait(step: ToolStep, intent: StepIntent, number: int) -> Wait:
    message = (
        f"{unknown_outcome(step.call.name)} Its idempotency key is {intent.payload['idempotency_key']}. "
        "Approve to make it again with the same key, reject to leave it, or respond with what came of it."
    )
    request = approval_request(
        step,
        reason="outcome_unknown",
        arguments=intent.payload["arguments"],
        message=message,
        allowed=("approve", "reject", "respond"),
        terms=intent.payload.get("terms", {}),
    )
    key = f"{step.key}/outcome" + (f"/{number}" if number > 1 else "")
    return Wait(key=key, kind=WaitKind.approval, request=request)
