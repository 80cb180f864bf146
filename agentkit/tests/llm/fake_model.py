"""A model for tests of wrappers: it takes its time, speaks in pieces, breaks off, and keeps what it was asked."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from agentkit.errors import LlmError, LlmTimeout
from agentkit.llm.allowance import RateAllowance
from agentkit.llm.base import BaseLlmClient, LlmResponse, StopReason, Usage
from agentkit.tools.base import ToolSpec
from agentkit.transcript import AssistantMessage, JsonObject, Message, ToolCall, UserMessage

QUESTION = (UserMessage("Once?"),)


@dataclass(frozen=True)
class Turn:
    """What it does when it is asked: say the pieces, each after so many seconds, and then fail or not."""

    pieces: tuple[str, ...] = ("Hello",)
    error: LlmError | None = None
    piece_seconds: float = 0.0
    usage: Usage = Usage(10, 5)  # noqa: RUF009 - a value that never changes
    allowance: RateAllowance | None = None
    calls: tuple[ToolCall, ...] = ()
    stop: StopReason | None = None


@dataclass(frozen=True)
class Question:
    """What it was asked, and when."""

    messages: tuple[Message, ...]
    output_schema: JsonObject | None
    timeout_seconds: float
    at: float


class FakeModel(BaseLlmClient):
    """Takes these turns one after the other, and the last one again and again."""

    def __init__(
        self,
        *turns: Turn,
        provider: str = "fake",
        model: str = "fake-1",
        native_tools: bool = True,
        native_output: bool = True,
    ) -> None:
        self.provider, self.model = provider, model
        self.native_tools, self.native_output = native_tools, native_output
        self.questions: list[Question] = []
        self.closed = 0
        self.in_flight = 0
        self.most_in_flight = 0
        self._turns = list(turns) or [Turn()]

    async def complete(
        self,
        messages: Sequence[Message],
        *,
        tools: Sequence[ToolSpec] = (),
        output_schema: JsonObject | None = None,
        timeout_seconds: float,
    ) -> LlmResponse:
        return await self._take_turn(messages, output_schema, timeout_seconds, lambda _: None)

    async def stream(
        self,
        messages: Sequence[Message],
        *,
        tools: Sequence[ToolSpec] = (),
        output_schema: JsonObject | None = None,
        timeout_seconds: float,
        on_text: Callable[[str], None],
    ) -> LlmResponse:
        return await self._take_turn(messages, output_schema, timeout_seconds, on_text)

    async def aclose(self) -> None:
        self.closed += 1

    @property
    def asked_at(self) -> list[float]:
        return [question.at for question in self.questions]

    async def _take_turn(
        self,
        messages: Sequence[Message],
        output_schema: JsonObject | None,
        timeout_seconds: float,
        on_text: Callable[[str], None],
    ) -> LlmResponse:
        now = asyncio.get_running_loop().time()
        self.questions.append(Question(tuple(messages), output_schema, timeout_seconds, now))
        turn = self._turns.pop(0) if len(self._turns) > 1 else self._turns[0]
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            async with asyncio.timeout(timeout_seconds):
                await self._speak(turn, on_text)
        except TimeoutError as error:
            raise LlmTimeout(f"{self.model} did not answer within {timeout_seconds:g} s") from error
        finally:
            self.in_flight -= 1
        stop = turn.stop or (StopReason.tool_calls if turn.calls else StopReason.end)
        message = AssistantMessage("".join(turn.pieces), turn.calls)
        return LlmResponse(message, stop, turn.usage, self.provider, self.model, "", turn.allowance)

    async def _speak(self, turn: Turn, on_text: Callable[[str], None]) -> None:
        await asyncio.sleep(0)
        for piece in turn.pieces:
            await asyncio.sleep(turn.piece_seconds)
            on_text(piece)
        if turn.error is not None:
            raise turn.error


def failing(error: LlmError, *pieces: str, piece_seconds: float = 0.0) -> Turn:
    return Turn(pieces, error, piece_seconds)


async def ask(llm: BaseLlmClient, text: str = "Once?", *, seconds: float = 60.0) -> LlmResponse:
    return await llm.complete([UserMessage(text)], timeout_seconds=seconds)


async def stream(llm: BaseLlmClient, told: list[str], text: str = "Once?", *, seconds: float = 60.0) -> LlmResponse:
    return await llm.stream([UserMessage(text)], timeout_seconds=seconds, on_text=told.append)
