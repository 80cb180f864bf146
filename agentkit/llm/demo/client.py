"""The built-in demo model: rules instead of a network, for first runs, examples and tests."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Awaitable, Callable, Sequence

from agentkit.errors import ConfigurationError, LlmTimeout
from agentkit.journal import fingerprint
from agentkit.llm.base import BaseLlmClient, LlmResponse, StopReason, Usage
from agentkit.llm.demo.conversation import Turn, next_turn, rounds_after_goal
from agentkit.llm.demo.form import in_form, output_schema_in
from agentkit.llm.demo.protocol import as_text, speaks_text, tools_in
from agentkit.llm.demo.tools import OfferedTools
from agentkit.memory.token_estimate import message_tokens, text_tokens
from agentkit.tools.base import ToolSpec
from agentkit.transcript import AssistantMessage, JsonObject, Message, ToolCall

#: Seconds per call of the model named `demo:slow`.
_SLOW_SECONDS = 1.0
_OPTIONS = ("slow", "text")


class DemoLlm(BaseLlmClient):
    """Works out a small set of goals by rules; it is no intelligence, and says so when a goal is beyond it.

    It follows the ReAct protocol for real: it reads the names and schemas of the tools it is offered, calls them,
    and answers from what it observed. The same conversation always gets the same answer. Tokens are estimated.
    """

    provider = "demo"

    def __init__(
        self,
        *,
        model: str = "demo",
        delay_seconds: float = 0.0,
        native_tools: bool = True,
    ) -> None:
        """
        Args:
            delay_seconds: How long each call takes; spread over the pieces when the text is streamed.
            native_tools: False makes planners speak the text protocol to it.
        """
        if delay_seconds < 0:
            raise ConfigurationError("delay_seconds must not be negative")
        self.model = model
        self.native_tools = native_tools
        self._delay_seconds = delay_seconds

    @classmethod
    def named(cls, model: str) -> DemoLlm:
        """The demo model by its name, which may carry options: `demo`, `demo:slow`, `demo:text`, `demo:slow,text`.

        Raises:
            ConfigurationError: the name or an option is unknown.
        """
        base, _, rest = model.partition(":")
        options = {option for option in rest.split(",") if option}
        if base != "demo" or not options <= {*_OPTIONS}:
            raise ConfigurationError(
                f"there is no demo model {model!r}; use demo, demo:slow, demo:text or demo:slow,text"
            )
        return cls(
            model=model,
            delay_seconds=_SLOW_SECONDS if "slow" in options else 0.0,
            native_tools="text" not in options,
        )

    async def complete(
        self,
        messages: Sequence[Message],
        *,
        tools: Sequence[ToolSpec] = (),
        output_schema: JsonObject | None = None,
        timeout_seconds: float,
    ) -> LlmResponse:
        response = _answer(self.model, messages, tools)
        # Also when there is no delay: a model call is a point where others may run.
        await self._within(timeout_seconds, asyncio.sleep(self._delay_seconds))
        return response

    async def stream(
        self,
        messages: Sequence[Message],
        *,
        tools: Sequence[ToolSpec] = (),
        output_schema: JsonObject | None = None,
        timeout_seconds: float,
        on_text: Callable[[str], None],
    ) -> LlmResponse:
        response = _answer(self.model, messages, tools)
        await self._within(timeout_seconds, self._say(response.message.text, on_text))
        return response

    async def _within(self, timeout_seconds: float, saying: Awaitable[None]) -> None:
        try:
            async with asyncio.timeout(timeout_seconds):
                await saying
        except TimeoutError as error:
            raise LlmTimeout(f"the demo model did not answer within {timeout_seconds:g} s") from error

    async def _say(self, text: str, on_text: Callable[[str], None]) -> None:
        """The text word by word, over the time one call takes."""
        pieces = re.findall(r"\s*\S+\s*", text) or [text]
        for piece in pieces:
            await asyncio.sleep(self._delay_seconds / len(pieces))
            if piece:
                on_text(piece)


def _answer(model: str, messages: Sequence[Message], tools: Sequence[ToolSpec]) -> LlmResponse:
    in_text = not tools and speaks_text(messages)
    offered = OfferedTools(tools_in(messages) if in_text else tools)
    goal, rounds = rounds_after_goal(messages, offered)
    turn = next_turn(goal, rounds, offered, calls_at_once=1 if in_text else None)
    if not turn.calls and (schema := output_schema_in(messages)):
        turn = Turn(in_form(turn.text, schema), ())
    message = as_text(turn) if in_text else _as_message(turn, goal, len(rounds))
    return LlmResponse(
        message,
        StopReason.tool_calls if message.tool_calls else StopReason.end,
        Usage(_tokens_read(messages, tools), message_tokens(message)),
        DemoLlm.provider,
        model,
    )


def _as_message(turn: Turn, goal: str, round_number: int) -> AssistantMessage:
    """Call ids come from the conversation, so the same conversation gets the same ones."""
    digest = fingerprint(goal)[:8]
    calls = enumerate(turn.calls, 1)
    return AssistantMessage(
        turn.text,
        tuple(ToolCall(f"demo_{digest}_{round_number + 1}_{i}", c.tool, c.arguments) for i, c in calls),
    )


def _tokens_read(messages: Sequence[Message], tools: Sequence[ToolSpec]) -> int:
    offered = [[spec.name, spec.description, spec.parameters] for spec in tools]
    return sum(map(message_tokens, messages)) + (text_tokens(json.dumps(offered)) if offered else 0)
