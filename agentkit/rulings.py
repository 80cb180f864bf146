"""What can be decided on a call that waits for somebody's word."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from agentkit.errors import WaitAnswerInvalid
from agentkit.transcript import JsonObject, JsonValue
from agentkit.waits import Wait


@dataclass(frozen=True, slots=True)
class Approved:
    """Make the call."""


@dataclass(frozen=True, slots=True)
class Edited:
    """Make the call with these arguments in place of the model's."""

    arguments: JsonObject


@dataclass(frozen=True, slots=True)
class Rejected:
    """Do not make it, and tell the model why."""

    #: Empty when nobody said.
    reason: str


@dataclass(frozen=True, slots=True)
class Expired:
    """Nobody decided in time: do not make it."""


@dataclass(frozen=True, slots=True)
class Responded:
    """Do not make it; this is its result."""

    response: JsonValue


Ruling: TypeAlias = Approved | Edited | Rejected | Expired | Responded


def ruling_in(wait: Wait, answer: JsonObject) -> Ruling:
    """What the answer to an approval says.

    Raises:
        StepMismatch: it was given to another call.
        WaitAnswerInvalid: it says nothing that can be decided.
    """
    wait.require_own(answer)
    match answer:
        case {"decision": "approve"}:
            return Approved()
        case {"decision": "edit", "arguments": dict(arguments)}:
            return Edited(arguments)
        case {"decision": "reject"}:
            return Rejected(str(answer.get("reason") or ""))
        case {"decision": "expire"}:
            return Expired()
        case {"decision": "respond", "response": response}:
            return Responded(response)
    raise WaitAnswerInvalid(
        f"the answer to {wait.key} needs a decision: approve, edit with arguments, reject, respond with a response, "
        f"or expire; it is {str(answer)[:200]}"
    )
