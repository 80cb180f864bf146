"""What is particular to Anthropic."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from agentkit.errors import MalformedReply, RateLimited, Refused
from agentkit.llm.anthropic_messages import AnthropicClient
from agentkit.llm.base import StopReason
from agentkit.tests.llm.http_server import Reply, event, json_reply
from agentkit.tests.llm.script import Call, Fail, Fault, Refuse, Say
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


def streamed(*events: dict[str, object]) -> Reply:
    begun: dict[str, object] = {"type": "message_start", "message": {"model": "m", "usage": {"input_tokens": 1}}}
    ended: dict[str, object] = {"type": "message_delta", "delta": {"stop_reason": "end_turn"}}
    stopped: dict[str, object] = {"type": "message_stop"}
    pieces = [event(each, str(each["type"])) for each in (begun, *events, ended, stopped)]
    return Reply(content_type="text/event-stream", pieces=tuple(pieces))


async def test_a_streamed_block_of_a_kind_not_known_yet_is_kept_with_all_that_it_grew(
    claude: AnthropicClient, server: VendorServer
) -> None:
    server.then(
        streamed(
            {"type": "content_block_start", "index": 0, "content_block": {"type": "novelty", "said": "a", "seen": [1]}},
            {"type": "content_block_delta", "index": 0, "delta": {"type": "novelty_delta", "said": "b", "seen": [2]}},
            {"type": "content_block_delta", "index": 0, "delta": {"type": "novelty_delta", "sealed": "c"}},
            {"type": "something_new", "index": 7},
            {"type": "content_block_start", "index": 1, "content_block": {"type": "text", "text": "Yes"}},
        )
    )

    response = await claude.stream([UserMessage("Hi")], timeout_seconds=20, on_text=lambda _: None)

    assert response.message.text == "Yes"
    assert response.message.vendor is not None
    assert response.message.vendor["content"][0] == {"type": "novelty", "said": "ab", "seen": [1, 2], "sealed": "c"}


async def test_thinking_that_is_streamed_is_put_together_and_not_told(
    claude: AnthropicClient, server: VendorServer
) -> None:
    server.then(Say("Six.", signed=True))
    told: list[str] = []

    response = await claude.stream([UserMessage("Hi")], timeout_seconds=20, on_text=told.append)

    assert told == ["Six."]
    assert response.message.vendor is not None
    assert response.message.vendor["content"][0] == {"type": "thinking", "thinking": "hm", "signature": "sealed"}


@pytest.mark.parametrize(
    "delta", [{"type": "text_delta", "text": 1}, {"type": "input_json_delta"}, {"type": "input_json_delta", "x": 1}]
)
async def test_a_delta_that_is_not_in_the_format_is_malformed(
    claude: AnthropicClient, server: VendorServer, delta: dict[str, object]
) -> None:
    block = {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}
    server.then(streamed(block, {"type": "content_block_delta", "index": 0, "delta": delta}))

    with pytest.raises(MalformedReply):
        await claude.stream([UserMessage("Hi")], timeout_seconds=20, on_text=lambda _: None)


async def test_a_delta_of_a_block_that_was_not_begun_is_malformed(
    claude: AnthropicClient, server: VendorServer
) -> None:
    server.then(streamed({"type": "content_block_delta", "index": 3, "delta": {"type": "text_delta", "text": "x"}}))

    with pytest.raises(MalformedReply):
        await claude.stream([UserMessage("Hi")], timeout_seconds=20, on_text=lambda _: None)


async def test_the_input_of_a_streamed_call_that_is_no_json_is_malformed(
    claude: AnthropicClient, server: VendorServer
) -> None:
    call = {"type": "tool_use", "id": "1", "name": "now", "input": {}}
    written = {"type": "input_json_delta", "partial_json": '{"a": '}
    server.then(
        streamed(
            {"type": "content_block_start", "index": 0, "content_block": call},
            {"type": "content_block_delta", "index": 0, "delta": written},
        )
    )

    with pytest.raises(MalformedReply):
        await claude.stream([UserMessage("Hi")], tools=[NOW], timeout_seconds=20, on_text=lambda _: None)
