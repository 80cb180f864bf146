"""What tests of agents need: models that say what they are told or what was recorded, tools that count their calls, and
suites that check a model, tool or memory of one's own.

Set AGENTKIT_FORBID_MODEL_CALLS=1 for tests that must never ask a real model: `make_llm` then makes none.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

from agentkit.errors import LlmError
from agentkit.llm.base import BaseLlmClient, LlmResponse, StopReason, Usage
from agentkit.llm.cassette import Redact
from agentkit.llm.recorded import RecordingLlm, ReplayingLlm
from agentkit.testing.memory_contract import MemoryContract
from agentkit.testing.model_contract import ModelContract
from agentkit.testing.tool_contract import ToolContract
from agentkit.tools.base import BaseToolManager, OnUnknown, ToolContext, ToolSpec
from agentkit.transcript import AssistantMessage, JsonObject, Message, ToolCall, ToolResult

__all__ = [
    "SCRIPTED_USAGE",
    "Asked",
    "CountingTool",
    "MemoryContract",
    "ModelContract",
    "RecordingLlm",
    "ReplayingLlm",
    "Reply",
    "ScriptedLlm",
    "ToolContract",
    "call_of",
    "replayed_or_recorded",
]

#: One answer of a scripted model: a text, tool calls, a whole response, or an error to raise.
Reply: TypeAlias = str | Sequence[ToolCall] | LlmResponse | BaseException

#: What each scripted answer is said to have cost.
SCRIPTED_USAGE = Usage(input_tokens=10, output_tokens=5)


@dataclass(frozen=True, slots=True)
class Asked:
    """What a scripted model was asked."""

    messages: tuple[Message, ...]
    tools: tuple[ToolSpec, ...]


class ScriptedLlm(BaseLlmClient):
    """Gives these replies one after the other, and keeps what it was asked in `asked`.

    Asked more often than it has replies, it raises an LlmError that says so. An agent that resumes from a journal
    asks only for the replies it has not had: give it a client with the rest of them, or keep the same one.
    """

    provider = "scripted"

    def __init__(self, replies: Iterable[Reply], *, native_tools: bool = True, delay_seconds: float = 0.0) -> None:
        self.model = "scripted"
        self.native_tools = native_tools
        self.asked: list[Asked] = []
        self._replies = list(replies)
        self._delay_seconds = delay_seconds

    async def complete(
        self,
        messages: Sequence[Message],
        *,
        tools: Sequence[ToolSpec] = (),
        output_schema: JsonObject | None = None,
        timeout_seconds: float,
    ) -> LlmResponse:
        self.asked.append(Asked(tuple(messages), tuple(tools)))
        await asyncio.sleep(self._delay_seconds)
        if not self._replies:
            raise LlmError(f"the script has no reply left for question {len(self.asked)}")
        reply = self._replies.pop(0)
        if isinstance(reply, BaseException):
            raise reply
        return reply if isinstance(reply, LlmResponse) else self._response(reply)

    def _response(self, reply: str | Sequence[ToolCall]) -> LlmResponse:
        if isinstance(reply, str):
            return LlmResponse(AssistantMessage(reply), StopReason.end, SCRIPTED_USAGE, self.provider, self.model)
        message = AssistantMessage("", tuple(reply))
        return LlmResponse(message, StopReason.tool_calls, SCRIPTED_USAGE, self.provider, self.model)


def replayed_or_recorded(
    path: str | Path, make: Callable[[], BaseLlmClient], *, redact: Redact | None = None
) -> BaseLlmClient:
    """The model of the recording at `path`; where there is none yet, a real one that is recorded there.

    So the first run of a test asks a model, and every later one repeats what it said. Where real models are forbidden
    a recording that is missing is an error, if `make` calls `make_llm`.

    Args:
        make: Makes the real model; not called when there is a recording.
        redact: Makes a text one that may be kept; see `RecordingLlm`.

    Raises:
        ConfigurationError: the file is not a recording, or as `make`.
    """
    if Path(path).exists():
        return ReplayingLlm(path, redact=redact)
    return RecordingLlm(make(), path, redact=redact)


def call_of(name: str, *, id: str | None = None, **arguments: object) -> ToolCall:
    """A tool call as a model makes it."""
    return ToolCall(id or f"call_{name}", name, dict(arguments))


@dataclass(slots=True)
class CountingTool(BaseToolManager):
    """One tool that counts its calls, answers with `answer`, and takes any arguments."""

    name: str = "count"
    answer: str = "done"
    side_effect: bool = False
    on_unknown: OnUnknown = OnUnknown.ask
    parameters: JsonObject = field(default_factory=lambda: {"type": "object"})
    #: The calls made, with their contexts.
    calls: list[tuple[ToolCall, ToolContext]] = field(default_factory=list)

    async def specs(self) -> Sequence[ToolSpec]:
        description = f"Answers {self.answer!r}."
        return (ToolSpec(self.name, description, self.parameters, self.side_effect, self.on_unknown),)

    async def call(self, call: ToolCall, context: ToolContext) -> ToolResult:
        self.calls.append((call, context))
        return ToolResult(call.id, call.name, self.answer)
