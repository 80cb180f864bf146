"""A model that only waits: what agents ask under load tests, so that the system and not a vendor is measured."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from agentkit.llm.base import BaseLlmClient, LlmResponse, StopReason, Usage
from agentkit.tools.base import ToolSpec
from agentkit.transcript import AssistantMessage, JsonObject, Message


class MockLlm(BaseLlmClient):
    """Answers every question with the same words after the same wait."""

    provider = "mock"
    model = "mock"

    def __init__(self, delay_ms: int) -> None:
        self._delay_seconds = delay_ms / 1000

    async def complete(
        self,
        messages: Sequence[Message],
        *,
        tools: Sequence[ToolSpec] = (),
        output_schema: JsonObject | None = None,
        timeout_seconds: float,
    ) -> LlmResponse:
        await asyncio.sleep(self._delay_seconds)
        return LlmResponse(
            message=AssistantMessage(f"mock answer after {self._delay_seconds:g} s"),
            stop=StopReason.end,
            usage=Usage(),
            provider=self.provider,
            model=self.model,
        )
