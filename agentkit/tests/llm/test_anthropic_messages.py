"""What is particular to Anthropic."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from agentkit.errors import RateLimited, Refused
from agentkit.llm.anthropic_messages import AnthropicClient
from agentkit.llm.base import StopReason
from agentkit.tests.llm.http_server import json_reply
from agentkit.tests.llm.script import Call, Fail, Fault, Refuse
from agentkit.tests.llm.vendor_server import VendorServer
from agentkit.tools.base import ToolSpec
from agentkit.transcript import SystemMessage, ToolMessage, ToolResult, UserMessage

NOW = ToolSpec("now", "Tell the time.", {"type": "object"})


@pytest.fixture
async def claude(server: VendorServer) -> AsyncIterator[AnthropicClient]:
    client = AnthropicClient("claude-test", api_key=server.key, base_url=server.base_url("anthropic"))
    yield client
    await client.aclose()


async def test_thinking_goes_back_in_its_place(claude: AnthropicClient, server: VendorServer) -> None:
    server.then(Call((("now", {}),), text="Let me look.", signed=True))
    called = (await claude.complete([UserMessage("Hi")], tools=[NOW], timeout_seconds=20)).message
    assert called.text == "Let me look."

    result = ToolMessage((ToolResult(called.tool_calls[0].id, "now", "noon"),))
    await claude.complete([UserMessage("Hi"), called, result], tools=[NOW], timeout_seconds=20)

    kinds = [block["type"] for block in server.requests[-1].body["messages"][1]["content"]]
    assert kinds == ["thinking", "text", "tool_use"]


async def test_results_come_before_what_the_user_adds(claude: AnthropicClient, server: VendorServer) -> None:
    server.then(Call((("now", {}),)))
    called = (await claude.complete([UserMessage("Hi")], tools=[NOW], timeout_seconds=20)).message
    result = ToolMessage((ToolResult(called.tool_calls[0].id, "now", "", is_error=True),))

    await claude.complete([UserMessage("Hi"), called, result, UserMessage("Hurry.")], timeout_seconds=20)

    sent = server.requests[-1].body["messages"][-1]["content"]
    assert [block["type"] for block in sent] == ["tool_result", "text"]
    assert sent[0]["is_error"] is True


async def test_blank_instructions_are_left_out(claude: AnthropicClient, server: VendorServer) -> None:
    await claude.complete([SystemMessage(" "), UserMessage("Hi")], timeout_seconds=20)

    assert "system" not in server.requests[0].body


async def test_a_refusal_says_why(claude: AnthropicClient, server: VendorServer) -> None:
    server.then(Refuse())

    with pytest.raises(Refused, match="I will not"):
        await claude.complete([UserMessage("Hi")], timeout_seconds=20)


@pytest.mark.parametrize("reason", ["max_tokens", "model_context_window_exceeded", "pause_turn"])
async def test_every_way_to_be_cut_short_is_one(claude: AnthropicClient, server: VendorServer, reason: str) -> None:
    server.then(json_reply({"content": [{"type": "text", "text": "Once"}], "stop_reason": reason}))

    response = await claude.complete([UserMessage("Hi")], timeout_seconds=20)

    assert (response.stop, response.message.text) == (StopReason.length, "Once")


async def test_a_block_of_a_kind_not_known_yet_is_kept_and_not_read(
    claude: AnthropicClient, server: VendorServer
) -> None:
    content = [{"type": "text", "text": "A"}, {"type": "novelty", "data": 1}, {"type": "text", "text": "B"}]
    server.then(json_reply({"content": content, "stop_reason": "end_turn"}))

    message = (await claude.complete([UserMessage("Hi")], timeout_seconds=20)).message

    assert message.text == "AB"
    assert message.vendor == {"provider": "anthropic", "content": content}


async def test_the_old_way_to_say_no_credit_is_known(claude: AnthropicClient, server: VendorServer) -> None:
    server.then(Fail(Fault.bad_request, "Your credit balance is too low to access the Anthropic API."))

    with pytest.raises(Exception, match="cannot pay"):
        await claude.complete([UserMessage("Hi")], timeout_seconds=20)


async def test_a_rate_limit_keeps_its_words(claude: AnthropicClient, server: VendorServer) -> None:
    server.then(Fail(Fault.rate_limited, "40,000 input tokens per minute", {"retry-after": "12"}))

    with pytest.raises(RateLimited, match="40,000 input tokens per minute") as caught:
        await claude.complete([UserMessage("Hi")], timeout_seconds=20)
    assert caught.value.retry_after_seconds == 12
