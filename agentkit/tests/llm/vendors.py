"""The vendors of the contract suite: how each client is made, and what is known to differ."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from agentkit.llm.anthropic_messages import AnthropicClient
from agentkit.llm.base import BaseLlmClient, LlmResponse
from agentkit.llm.gemini import GeminiClient
from agentkit.llm.openai_chat import OpenAiChatClient
from agentkit.llm.openai_responses import OpenAiResponsesClient
from agentkit.tests.llm.script import Fault
from agentkit.tests.llm.vendor_server import VendorServer
from agentkit.tools.base import ToolSpec
from agentkit.transcript import JsonObject, Message


@dataclass(frozen=True)
class Vendor:
    #: As in `VendorServer.base_url`.
    name: str
    #: As in `LlmResponse.provider`.
    provider: str
    #: The package of its SDK.
    package: str
    make: Callable[..., BaseLlmClient]
    options: dict[str, Any]
    #: In this vendor's own words.
    too_long: str
    #: False when the server wants no key.
    keyed: bool = True

    def __str__(self) -> str:
        return self.name

    def client(self, server: VendorServer, model: str = "test-model", **changed: Any) -> BaseLlmClient:
        options = {"api_key": server.key, "base_url": server.base_url(self.name)} | self.options | changed
        return self.make(model, **options)


class Streaming(BaseLlmClient):
    """Streams each answer of another client, and keeps the pieces: whatever holds of a whole answer holds here too."""

    def __init__(self, inner: BaseLlmClient) -> None:
        self.provider = inner.provider
        self.model = inner.model
        self.native_tools = inner.native_tools
        self.native_output = inner.native_output
        self.pieces: list[str] = []
        self._inner = inner

    def __repr__(self) -> str:
        return repr(self._inner)

    async def complete(
        self,
        messages: Sequence[Message],
        *,
        tools: Sequence[ToolSpec] = (),
        output_schema: JsonObject | None = None,
        timeout_seconds: float,
    ) -> LlmResponse:
        self.pieces.clear()
        response = await self._inner.stream(
            messages,
            tools=tools,
            output_schema=output_schema,
            timeout_seconds=timeout_seconds,
            on_text=self.pieces.append,
        )
        assert "".join(self.pieces) == response.message.text
        return response

    async def aclose(self) -> None:
        await self._inner.aclose()


VENDORS = (
    Vendor(
        "openai",
        "openai",
        "openai",
        OpenAiChatClient,
        {},
        "This model's maximum context length is 128000 tokens. However, your messages resulted in 130000 tokens.",
    ),
    Vendor(
        "openai-responses",
        "openai",
        "openai",
        OpenAiResponsesClient,
        {},
        "Your input exceeds the context window of this model. Please adjust your input and try again.",
    ),
    Vendor(
        "anthropic",
        "anthropic",
        "anthropic",
        AnthropicClient,
        {},
        "prompt is too long: 207791 tokens > 200000 maximum",
    ),
    Vendor(
        "gemini",
        "gcp.gemini",
        "google.genai",
        GeminiClient,
        {},
        "The input token count (314175) exceeds the maximum number of tokens allowed (131072).",
    ),
    Vendor(
        "openrouter",
        "openrouter",
        "openai",
        OpenAiChatClient,
        {"provider": "openrouter", "headers": {"X-Title": "test"}},
        "This endpoint's maximum context length is 8192 tokens.",
    ),
    Vendor(
        "compatible",
        "ollama",
        "openai",
        OpenAiChatClient,
        {"provider": "ollama", "api_key": None},
        "the request exceeds the available context size",
        keyed=False,
    ),
)

RETRYABLE_FAULTS = (Fault.server_error, Fault.unavailable, Fault.overloaded)
