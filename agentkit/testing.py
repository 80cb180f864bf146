"""What tests of agents need: a model that says what it is told to, and tools that count their calls."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from agentkit.errors import LlmError
from agentkit.llm.base import BaseLlmClient, LlmResponse, StopReason, Usage
from agentkit.tools.base import BaseToolManager, OnUnknown, ToolContext, ToolSpec
from agentkit.transcript import AssistantMessage, JsonObject, Message, ToolCall, ToolResult

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
