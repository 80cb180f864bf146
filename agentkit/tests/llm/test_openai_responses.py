"""What the Responses API has beyond the contract: sealed reasoning, failures under status 200, nothing kept there."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import AsyncIterator

import pytest

from agentkit.errors import ContextTooLong, LlmError, LlmUnavailable, MalformedReply, RateLimited, Refused
from agentkit.llm.base import BaseLlmClient
from agentkit.llm.openai_chat import OpenAiChatClient
from agentkit.llm.openai_responses import OpenAiResponsesClient
from agentkit.llm.select import make_llm
from agentkit.tests.llm.http_server import json_reply
from agentkit.tests.llm.script import Call, Json, Say
from agentkit.tests.llm.vendor_server import VendorServer
from agentkit.tools.base import ToolSpec
from agentkit.transcript import AssistantMessage, SystemMessage, ToolMessage, ToolResult, UserMessage

NOW = ToolSpec("now", "Tell the time.", {"type": "object"})
ASK = (SystemMessage("Be brief."), UserMessage("What time is it?"))


@pytest.fixture
async def client(server: VendorServer) -> AsyncIterator[OpenAiResponsesClient]:
    made = OpenAiResponsesClient("m", api_key=server.key, base_url=server.base_url("openai-responses"))
    yield made
    await made.aclose()


async def ask(client: BaseLlmClient, *messages: AssistantMessage | ToolMessage) -> AssistantMessage:
    return (await client.complete((*ASK, *messages), tools=(NOW,), timeout_seconds=20)).message


async def spoiled(client: BaseLlmClient, server: VendorServer, changed: Json) -> AssistantMessage:
    """What comes of a proper answer with these fields changed."""
    await ask(client)
    body = json.loads(server.rendered(Say("Noon."), server.requests[-1]).body)
    server.then(json_reply(body | changed))
    return await ask(client)


async def test_reasoning_goes_back_sealed_and_before_the_call_it_led_to(
    client: OpenAiResponsesClient, server: VendorServer
) -> None:
    server.then(Call((("now", {}),), signed=True), Say("Noon."))

    called = await ask(client)
    result = ToolMessage((ToolResult(called.tool_calls[0].id, "now", "12:00"),))
    await ask(client, called, result)

    kinds = [item.get("type", item.get("role")) for item in server.requests[1].body["input"]]
    assert kinds == ["user", "reasoning", "function_call", "function_call_output"]


async def test_nothing_is_kept_at_the_vendors(client: OpenAiResponsesClient, server: VendorServer) -> None:
    await ask(client)

    body = server.requests[0].body
    assert (body["store"], body["include"]) == (False, ["reasoning.encrypted_content"])


async def test_a_plain_answer_is_kept_in_our_own_words_alone(
    client: OpenAiResponsesClient, server: VendorServer
) -> None:
    server.then(Call((("now", {}),), text="Let me look."))

    assert (await ask(client)).vendor is None


async def test_what_the_other_client_of_the_same_vendor_kept_is_passed_over(
    client: OpenAiResponsesClient, server: VendorServer
) -> None:
    chat = OpenAiChatClient("m", api_key=server.key, base_url=server.base_url("openai"))
    server.then(Call((("now", {}),), signed=True))
    called = await ask(chat)
    assert called.vendor is not None

    await ask(client, called, ToolMessage((ToolResult(called.tool_calls[0].id, "now", "12:00"),)))

    kinds = [item.get("type", item.get("role")) for item in server.requests[-1].body["input"]]
    assert kinds == ["user", "function_call", "function_call_output"]
    await chat.aclose()


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({"status": "failed", "error": {"code": "server_error", "message": "on fire"}}, LlmUnavailable),
        ({"status": "failed", "error": {"code": "rate_limit_exceeded", "message": "slow"}}, RateLimited),
        ({"status": "failed", "error": {"code": "context_length_exceeded", "message": "long"}}, ContextTooLong),
        ({"status": "failed", "error": None}, LlmUnavailable),
        ({"status": "incomplete", "incomplete_details": {"reason": "content_filter"}}, Refused),
        ({"status": "in_progress"}, LlmUnavailable),
        ({"output": []}, MalformedReply),
        ({"output": [{"type": "message", "content": "Noon."}]}, MalformedReply),
        ({"output": [{"type": "message", "content": [{"type": "output_text"}]}]}, MalformedReply),
        ({"output": [{"type": "function_call", "name": "now"}]}, MalformedReply),
        ({"output": "Noon."}, MalformedReply),
    ],
    ids=lambda value: json.dumps(value) if isinstance(value, dict) else value.__name__,
)
async def test_an_answer_that_failed_under_status_200_is_an_error(
    client: OpenAiResponsesClient, server: VendorServer, changed: Json, expected: type[LlmError]
) -> None:
    with pytest.raises(LlmError) as raised:
        await spoiled(client, server, changed)

    assert type(raised.value) is expected


async def test_a_stream_that_ends_before_its_last_event_is_no_answer(
    client: OpenAiResponsesClient, server: VendorServer
) -> None:
    await client.stream(ASK, timeout_seconds=20, on_text=lambda _: None)
    whole = server.rendered(Say("Noon."), server.requests[-1])
    server.then(dataclasses.replace(whole, pieces=whole.pieces[:-1]))

    with pytest.raises(LlmUnavailable, match="broke off"):
        await client.stream(ASK, timeout_seconds=20, on_text=lambda _: None)


async def test_the_limit_on_output_is_sent(server: VendorServer) -> None:
    client = make_llm(
        "openai-responses",
        "m",
        api_key=server.key,
        base_url=server.base_url("openai-responses"),
        max_output_tokens=77,
    )

    await client.complete(ASK, timeout_seconds=20)

    assert server.requests[0].body["max_output_tokens"] == 77
    await client.aclose()
