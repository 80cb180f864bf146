"""What a tool is, what a set of tools is, and what a call may know about the run it serves."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from agentkit.journal import MemoryJournal
from agentkit.tools.waits import Waits
from agentkit.transcript import JsonObject, ToolCall, ToolResult


class OnUnknown(StrEnum):
    """What to do when a call was begun and its outcome never recorded (the process died in between)."""

    #: The tool is idempotent: call it again with the same idempotency key.
    retry = "retry"
    #: A human must look and decide.
    ask = "ask"
    #: Never call it again.
    fail = "fail"


@dataclass(frozen=True, slots=True)
class ToolSpec:
    """What a model, a policy and the journal need to know of a tool."""

    name: str
    description: str
    #: JSON Schema of the arguments; always of type object.
    parameters: JsonObject
    #: True when calling it changes something outside; such a call is journaled before it is made.
    side_effect: bool = True
    #: Read only when `side_effect` is true: a tool without one is simply called again.
    on_unknown: OnUnknown = OnUnknown.ask


def _no_waits() -> Waits:
    return Waits("", MemoryJournal(), refusal="This call was not made by a run, so it cannot wait.")


@dataclass(frozen=True, slots=True)
class ToolContext:
    """What a call may know of the run it serves."""

    run_id: str
    step_key: str
    #: The same for every try of this call; give it to the outside system so that it can tell a repeat.
    idempotency_key: str
    #: How long the call may take.
    timeout_seconds: float
    #: How the call waits for a person, a signal, a time or another agent.
    waits: Waits = field(default_factory=_no_waits, compare=False, repr=False)


class BaseToolManager(ABC):
    """A set of tools. `ToolRegistry`, MCP servers and wrappers (allowed, prefixed, …) are such sets."""

    @abstractmethod
    async def specs(self) -> Sequence[ToolSpec]:
        """The tools there are, in a stable order. A source that is down contributes none and never raises."""

    @abstractmethod
    async def call(self, call: ToolCall, context: ToolContext) -> ToolResult:
        """Validate the arguments and run the tool, at most `context.timeout_seconds` long.

        Raises:
            ToolError: the model is told and may try otherwise.
        """

    async def aclose(self) -> None:
        """Release what the tools hold. Harmless when called twice."""
        return
