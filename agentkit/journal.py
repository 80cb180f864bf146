"""The journal port: what makes a run durable, and what a run without one uses.

A step has a key that is the same on every replay (`3/llm`, `3/tool/1`), and a fingerprint of what it does. A step
with a side effect writes its *intent* before it acts and its *result* after; other steps write only the result. A
result that is there is used, and the step is not executed again.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol, TypeAlias

from agentkit.errors import WaitAnswerInvalid
from agentkit.transcript import JsonObject

#: The fingerprint of a result taken over from another run, whose instructions, model or tools may have been others.
ADOPTED = "*"


class StepKind(StrEnum):
    """What a step does."""

    llm = "llm"
    tool = "tool"


@dataclass(frozen=True, slots=True, kw_only=True)
class StepIntent:
    """A step with a side effect is about to act."""

    key: str
    kind: StepKind
    fingerprint: str
    #: What is about to be done (tool, arguments, idempotency key).
    payload: JsonObject

    def fits(self, fingerprint: str) -> bool:
        """Whether this is the intent of a step with that fingerprint."""
        return self.fingerprint == fingerprint


@dataclass(frozen=True, slots=True, kw_only=True)
class StepResult:
    """A step is done; this is what the run saw of it, tool errors included."""

    key: str
    kind: StepKind
    fingerprint: str
    payload: JsonObject
    #: Active time the step took.
    seconds: float

    def fits(self, fingerprint: str) -> bool:
        """Whether this is the result of a step with that fingerprint; an adopted one fits any."""
        return self.fingerprint in (fingerprint, ADOPTED)


Recalled: TypeAlias = StepResult | StepIntent | None


class Journal(Protocol):
    """Where steps are kept. What is awaited is durable when the call returns."""

    def recall(self, key: str) -> Recalled:
        """What is known of this step: its result, else its intent, else nothing."""

    async def intend(self, intent: StepIntent) -> None:
        """Write that a step is about to act.

        Raises:
            RunRevoked: this run may not write any more; nothing was written.
        """

    async def record(self, result: StepResult) -> None:
        """Write what came of a step.

        Raises:
            RunRevoked: this run may not write any more; nothing was written.
        """

    def conclude(self, result: StepResult) -> None:
        """Keep what came of the step that ends the run. Nothing more is done before whoever called the agent has its
        report: it may be written together with what he writes of the end.
        """

    def answer(self, key: str) -> JsonObject | None:
        """The answer to the wait of this key; None while there is none."""

    def check(self) -> None:
        """Called before every model call, and once before the tool calls of one answer.

        Raises:
            RunRevoked: this run must stop here, before it begins the step.
        """

    def check_begun(self) -> None:
        """Called right before each tool call, after its intent. A run that is only asked to stop finishes what it has
        begun here: an intent without a result would leave a human to find out what happened.

        Raises:
            RunRevoked: somebody else may be running this by now; the call must not be made.
        """


class MemoryJournal:
    """The journal of a run that need not survive its process; also the fake for tests."""

    def __init__(self) -> None:
        self.results: dict[str, StepResult] = {}
        self.intents: dict[str, StepIntent] = {}
        self.answers: dict[str, JsonObject] = {}

    def recall(self, key: str) -> Recalled:
        return self.results.get(key) or self.intents.get(key)

    async def intend(self, intent: StepIntent) -> None:
        self.intents[intent.key] = intent

    async def record(self, result: StepResult) -> None:
        self.results[result.key] = result

    def conclude(self, result: StepResult) -> None:
        self.results[result.key] = result

    def answer(self, key: str) -> JsonObject | None:
        return self.answers.get(key)

    def resolve(self, key: str, answer: JsonObject) -> None:
        """Answer the wait of this key; the run finds the answer when it is run again.

        Raises:
            WaitAnswerInvalid: it has been answered before; the first answer stays.
        """
        if key in self.answers:
            raise WaitAnswerInvalid(f"the wait {key} has been answered before")
        self.answers[key] = answer

    def check(self) -> None:
        return

    def check_begun(self) -> None:
        return


def fingerprint(*parts: object) -> str:
    """A short, stable hash of JSON-able parts: the same on every machine and Python version."""
    text = json.dumps(parts, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:32]
