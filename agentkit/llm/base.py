"""What an LLM client is: it completes one conversation, once, within a time limit."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from agentkit.llm.allowance import RateAllowance
from agentkit.tools.base import ToolSpec
from agentkit.transcript import AssistantMessage, JsonObject, Message


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of one or more model calls, by kind."""

    #: All tokens read, cached ones included.
    input_tokens: int = 0
    #: All tokens written, reasoning included.
    output_tokens: int = 0
    #: The part of `input_tokens` that the provider had cached.
    cached_input_tokens: int = 0
    #: The part of `output_tokens` spent on reasoning.
    reasoning_tokens: int = 0

    @property
    def total_tokens(self) -> int:
        return self.input_tokens + self.output_tokens

    def __add__(self, other: Usage) -> Usage:
        return Usage(
            self.input_tokens + other.input_tokens,
            self.output_tokens + other.output_tokens,
            self.cached_input_tokens + other.cached_input_tokens,
            self.reasoning_tokens + other.reasoning_tokens,
        )


class StopReason(StrEnum):
    """Why the model stopped."""

    #: It had said what it wanted to say.
    end = "end"
    #: It waits for the results of its tool calls.
    tool_calls = "tool_calls"
    #: It ran into the limit on output tokens; the text is cut short.
    length = "length"
    #: It bungled a tool call, so that nobody can tell what it wanted; `LlmResponse.problem` says how.
    bungled_call = "bungled_call"


@dataclass(frozen=True, slots=True)
class LlmResponse:
    """One answer of a model."""

    message: AssistantMessage
    stop: StopReason
    usage: Usage
    #: As in `gen_ai.provider.name`: openai, anthropic, gcp.gemini, openrouter, demo, …
    provider: str
    #: The model that answered, which may be more exact than the one asked.
    model: str
    #: What is wrong with the answer, in words for the model; empty unless it bungled a call.
    problem: str = ""
    #: What the provider says it will still take, where it says so. Of the moment: it is not journaled.
    allowance: RateAllowance | None = field(default=None, compare=False, repr=False)
    #: True when nobody was asked for it, and its usage is therefore nothing. Not journaled.
    from_cache: bool = field(default=False, compare=False)


class BaseLlmClient(ABC):
    """Asks one model of one provider. Safe to use from many coroutines of one event loop."""

    #: As in `LlmResponse.provider`.
    provider: str
    model: str
    #: False when the model has no native tool calling: planners then speak the text protocol.
    native_tools: bool = True
    #: True when the model's answers can be held to a JSON Schema: only then is it given one.
    native_output: bool = False

    @abstractmethod
    async def complete(
        self,
        messages: Sequence[Message],
        *,
        tools: Sequence[ToolSpec] = (),
        output_schema: JsonObject | None = None,
        timeout_seconds: float,
    ) -> LlmResponse:
        """Ask once; no retries.

        Args:
            output_schema: What the text of an answer without tool calls should fit. A help to the model and no
                promise: the answer is to be checked.

        Raises:
            LlmError: the subclass says what went wrong and whether trying again can help.
        """

    async def stream(
        self,
        messages: Sequence[Message],
        *,
        tools: Sequence[ToolSpec] = (),
        output_schema: JsonObject | None = None,
        timeout_seconds: float,
        on_text: Callable[[str], None],
    ) -> LlmResponse:
        """Ask once, as `complete`, and call `on_text` with each piece of the answer's text as it comes.

        The answer is the same as from `complete`. Pieces that were told are no promise: an error may follow them. A
        client that cannot stream tells the whole text once.

        Raises:
            LlmError: as `complete`; an answer that breaks off is LlmUnavailable, never a short answer.
        """
        response = await self.complete(
            messages, tools=tools, output_schema=output_schema, timeout_seconds=timeout_seconds
        )
        if response.message.text:
            on_text(response.message.text)
        return response

    async def aclose(self) -> None:
        """Release connections. Harmless when called twice."""
        return
