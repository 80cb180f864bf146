"""What a run waits for outside of itself: a person's word, a signal, a time, another agent.

A wait is a step like any other: its key is the same on every replay, and its answer is in the journal. A run that finds
no answer stops with `RunSuspended`, holds nothing, and reaches the same place when it is run again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from agentkit.errors import AgentkitError, StepMismatch, WaitAnswerInvalid
from agentkit.journal import fingerprint
from agentkit.transcript import JsonObject


class WaitKind(StrEnum):
    """What is waited for."""

    #: Somebody's decision on a call: request `reason`, `tool`, `arguments`, …; answer `decision`, ….
    approval = "approval"
    #: A person's answer to a question.
    input = "input"
    #: A named event from outside, with a payload.
    signal = "signal"
    #: That time passes.
    timer = "timer"
    #: What another agent makes of a goal.
    child = "child"


#: The parts of a request that an answer is given to. Seconds are not among them: they may be counted from the clock.
_BINDING = {
    WaitKind.input: ("question", "schema"),
    WaitKind.signal: ("name",),
    WaitKind.timer: (),
    WaitKind.child: ("agent", "input"),
}

#: What an answer holds that is neither late nor declined.
_ANSWERED_WITH = {
    WaitKind.approval: ("decision",),
    WaitKind.input: ("response",),
    WaitKind.signal: ("payload",),
    WaitKind.timer: (),
    WaitKind.child: ("status",),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Wait:
    """Something outside that a run waits for."""

    #: The same on every replay: that of the tool step, the kind, and a number where there can be several.
    key: str
    kind: WaitKind
    #: What is asked for, for whoever answers it.
    request: JsonObject

    @property
    def fingerprint(self) -> str:
        """What an answer is bound to: an approval to the call, another wait to what it asks for."""
        if self.kind is WaitKind.approval:
            return str(self.request["fingerprint"])
        return fingerprint(self.kind.value, *(self.request[name] for name in _BINDING[self.kind]))

    def require_own(self, answer: JsonObject) -> None:
        """Refuse an answer that is none to this request.

        Raises:
            StepMismatch: it was given to another request. Only an approval's must say what it was given to.
            WaitAnswerInvalid: something is missing.
        """
        given = answer.get("fingerprint", None if self.kind is WaitKind.approval else self.fingerprint)
        if given != self.fingerprint:
            raise StepMismatch(
                self.key, journaled=f"the answer to {str(given)[:8]}", now=f"a wait for {self.fingerprint[:8]}"
            )
        missing = [name for name in _ANSWERED_WITH[self.kind] if name not in answer]
        if missing and not answer.get("expired") and not answer.get("declined"):
            raise WaitAnswerInvalid(f"the answer to {self.key} has no {missing[0]!r}")


class RunSuspended(AgentkitError):
    """The run waits for something outside; run it again once there is an answer. Not a failure."""

    code = "run_suspended"

    def __init__(self, waits: Sequence[Wait]) -> None:
        super().__init__(f"the run waits for {', '.join(f'{wait.kind} ({wait.key})' for wait in waits)}")
        self.waits = tuple(waits)
