"""The vendors themselves, asked for real: `pytest -m live`, with the keys of those to be asked in the environment.

A vendor whose key is missing is skipped by name. `<VENDOR>_LIVE_MODEL` chooses another model.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

import pytest

from agentkit.errors import BadCredentials, LlmRequestInvalid
from agentkit.llm.anthropic_messages import AnthropicClient
from agentkit.llm.base import BaseLlmClient, StopReason
from agentkit.llm.gemini import GeminiClient
from agentkit.llm.openai_chat import OpenAiChatClient
from agentkit.llm.select import OPENROUTER_BASE_URL
from agentkit.tools.base import ToolSpec
from agentkit.transcript import Message, SystemMessage, ToolMessage, ToolResult, UserMessage

pytestmark = pytest.mark.live

ADD = ToolSpec(
    "calc.add",
    "Add two integers. Always use this for additions.",
    {
        "type": "object",
        "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}},
        "required": ["a", "b"],
        "additionalProperties": False,
    },
)


@dataclass(frozen=True)
class LiveVendor:
    name: str
    keys: tuple[str, ...]
    model: str
    make: Callable[[str, str], BaseLlmClient]

    def __str__(self) -> str:
        return self.name

    def connect(self, *, model: str | None = None, key: str | None = None) -> BaseLlmClient:
        present = next((os.environ[name] for name in self.keys if os.environ.get(name)), None)
        if present is None:
            pytest.skip(f"{' or '.join(self.keys)} is not set")
        chosen = model or os.environ.get(f"{self.name.upper()}_LIVE_MODEL") or self.model
        return self.make(chosen, key or present)


LIVE_VENDORS = (
    LiveVendor("openai", ("OPENAI_API_KEY",), "gpt-5.4-mini", lambda m, k: OpenAiChatClient(m, api_key=k)),
    LiveVendor("anthropic", ("ANTHROPIC_API_KEY",), "claude-haiku-5-5", lambda m, k: AnthropicClient(m, api_key=k)),
    LiveVendor(
        "gemini", ("GEMINI_API_KEY", "GOOGLE_API_KEY"), "gemini-3.8-flash", lambda m, k: GeminiClient(m, api_key=k)
    ),
    LiveVendor(
        "openrouter",
        ("OPENROUTER_API_KEY",),
        "openai/gpt-5.4-mini",
        lambda m, k: OpenAiChatClient(m, api_key=k, base_url=OPENROUTER_BASE_URL, provider="openrouter"),
    ),
)


@pytest.fixture(params=LIVE_VENDORS, ids=str)
def vendor(request: pytest.FixtureRequest) -> LiveVendor:
    chosen: LiveVendor = request.param
    return chosen


@pytest.fixture
async def client(vendor: LiveVendor) -> AsyncIterator[BaseLlmClient]:
    client = vendor.connect()
    yield client
    await client.aclose()


async def test_it_answers_and_counts(client: BaseLlmClient) -> None:
    response = await client.complete(
        [SystemMessage("Answer with one word, in lower case."), UserMessage("The capital of France?")],
        timeout_seconds=90,
    )

    assert "paris" in response.message.text.lower()
    assert response.stop is StopReason.end
    assert response.usage.input_tokens > 5
    assert response.usage.output_tokens > 0


async def test_it_calls_tools_and_uses_their_results(client: BaseLlmClient) -> None:
    conversation: list[Message] = [
        UserMessage("Use the tool to add 40917 and 5123, and to add 7 and 8. Then tell me both sums.")
    ]
    for _ in range(6):
        response = await client.complete(conversation, tools=[ADD], timeout_seconds=90)
        if not response.message.tool_calls:
            break
        assert response.stop is StopReason.tool_calls
        results = tuple(
            ToolResult(call.id, call.name, str(call.arguments["a"] + call.arguments["b"]))
            for call in response.message.tool_calls
        )
        conversation += [response.message, ToolMessage(results)]

    assert len(conversation) >= 3
    assert "46040" in response.message.text.replace(",", "")
    assert "15" in response.message.text


async def test_a_failed_tool_is_understood(client: BaseLlmClient) -> None:
    conversation: list[Message] = [UserMessage("Use the tool to add 1 and 2. If it fails, say only: FAILED.")]
    response = await client.complete(conversation, tools=[ADD], timeout_seconds=90)
    results = tuple(
        ToolResult(call.id, call.name, "the calculator is broken", is_error=True)
        for call in response.message.tool_calls
    )
    conversation += [response.message, ToolMessage(results)]

    response = await client.complete(conversation, tools=[], timeout_seconds=90)

    assert "FAILED" in response.message.text.upper()


async def test_a_wrong_key_is_bad_credentials(vendor: LiveVendor) -> None:
    client = vendor.connect(key="sk-this-key-is-wrong")

    with pytest.raises(BadCredentials):
        await client.complete([UserMessage("Hi")], timeout_seconds=90)
    await client.aclose()


async def test_an_unknown_model_is_an_invalid_request(vendor: LiveVendor) -> None:
    client = vendor.connect(model="no-such-model-anywhere")

    with pytest.raises(LlmRequestInvalid):
        await client.complete([UserMessage("Hi")], timeout_seconds=90)
    await client.aclose()
