"""What every wrapper around a model builds on: one call, whole or streamed, put to the model inside.

Wrappers compose, the outermost first: what is counted and remembered stands outside of what is tried again, and closest
to the model stands what holds a call back.

    MeteredLlm(CachedLlm(FallbackLlm(RetryingLlm(RateLimitedLlm(client)), RetryingLlm(other))))
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TypedDict

from agentkit.llm.base import BaseLlmClient, LlmResponse
from agentkit.tools.base import ToolSpec
from agentkit.transcript import JsonObject, Message


class _HeldTo(TypedDict, total=False):
    """Of a client's `complete` and `stream`."""

    output_schema: JsonObject | None


@dataclass(frozen=True, slots=True)
class LlmCall:
    """One question to a model, with how its answer is wanted."""

    messages: tuple[Message, ...]
    tools: tuple[ToolSpec, ...]
    output_schema: JsonObject | None
    timeout_seconds: float
    #: Told the answer's text piece by piece; None when only the whole answer is wanted.
    on_text: Callable[[str], None] | None = None

    async def put_to(self, llm: BaseLlmClient) -> LlmResponse:
        """The model's answer.

        Raises:
            LlmError: as the model's.
        """
        # Not named to a client that does not know of it.
        held_to: _HeldTo = {} if self.output_schema is None else {"output_schema": self.output_schema}
        seconds = self.timeout_seconds
        if self.on_text is None:
            return await llm.complete(self.messages, tools=self.tools, timeout_seconds=seconds, **held_to)
        return await llm.stream(
            self.messages, tools=self.tools, timeout_seconds=seconds, on_text=self.on_text, **held_to
        )

    def within(self, seconds: float) -> LlmCall:
        """The same call with so much time."""
        return replace(self, timeout_seconds=seconds)

    def told_to(self, on_text: Callable[[str], None] | None) -> LlmCall:
        """The same call with another reader, if anybody reads at all."""
        return self if self.on_text is None else replace(self, on_text=on_text)

    def tell_whole(self, response: LlmResponse) -> None:
        """Tell the reader, if there is one, an answer that did not come in pieces."""
        if self.on_text is not None and response.message.text:
            self.on_text(response.message.text)


class LlmWrapper(BaseLlmClient):
    """A model that answers as the one inside; a subclass says in `_answer` what it does otherwise."""

    def __init__(self, inner: BaseLlmClient) -> None:
        self.provider = inner.provider
        self.model = inner.model
        self.native_tools = inner.native_tools
        self.native_output = inner.native_output
        self._inner = inner

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._inner!r})"

    async def complete(
        self,
        messages: Sequence[Message],
        *,
        tools: Sequence[ToolSpec] = (),
        output_schema: JsonObject | None = None,
        timeout_seconds: float,
    ) -> LlmResponse:
        return await self._answer(LlmCall(tuple(messages), tuple(tools), output_schema, timeout_seconds))

    async def stream(
        self,
        messages: Sequence[Message],
        *,
        tools: Sequence[ToolSpec] = (),
        output_schema: JsonObject | None = None,
        timeout_seconds: float,
        on_text: Callable[[str], None],
    ) -> LlmResponse:
        return await self._answer(LlmCall(tuple(messages), tuple(tools), output_schema, timeout_seconds, on_text))

    async def aclose(self) -> None:
        await self._inner.aclose()

    async def _answer(self, call: LlmCall) -> LlmResponse:
        return await call.put_to(self._inner)
