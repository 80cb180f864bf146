"""What is particular to chat completions and those who speak them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

import pytest

from agentkit.errors import BadCredentials, ConfigurationError, LlmError, LlmUnavailable, MalformedReply, Refused
from agentkit.llm.openai_chat import OpenAiChatClient
from agentkit.tests.llm.http_server import Reply, event, json_reply
from agentkit.tests.llm.script import Call, Json, Say
from agentkit.tests.llm.vendor_server import VendorServer
from agentkit.tools.base import ToolSpec
from agentkit.transcript import AssistantMessage, Message, SystemMessage, ToolMessage, ToolResult, UserMessage

NOW = ToolSpec("now", "Tell the time.", {"type": "object"})
Connect = Callable[[str, str | None], OpenAiChatClient]


@pytest.fixture
async def connect(server: VendorServer) -> AsyncIterator[Connect]:
    clients: list[OpenAiChatClient] = []

    def make(provider: str, api_key: str | None = server.key) -> OpenAiChatClient:
        vendor = provider if provider in ("openai", "openrouter") else "compatible"
        base_url = server.base_url(vendor)
        clients.append(OpenAiChatClient("m", api_key=api_key, base_url=base_url, provider=provider))
        return clients[-1]

    yield make
    for client in clients:
        await client.aclose()


def said(message: Json, **choice: object) -> Reply:
    return json_reply({"model": "m", "choices": [{"index": 0, "message": message} | choice]})


async def ask(client: OpenAiChatClient, *messages: Message) -> AssistantMessage:
    response = await client.complete(messages or (UserMessage("Hi"),), tools=(NOW,), timeout_seconds=20)
    return response.message


async def error_of(client: OpenAiChatClient) -> LlmError:
    with pytest.raises(LlmError) as caught:
        await ask(client)
    return caught.value


async def test_instructions_come_first_wherever_they_stood(connect: Connect, server: VendorServer) -> None:
    await ask(connect("openai", server.key), SystemMessage("One."), UserMessage("Hi"), SystemMessage("Two."))

    assert server.requests[0].body["messages"] == [
        {"role": "system", "content": "One.\n\nTwo."},
        {"role": "user", "content": "Hi"},
    ]


async def test_reasoning_and_signatures_go_back_unchanged(connect: Connect, server: VendorServer) -> None:
    client = connect("openrouter", server.key)
    server.then(Call((("now", {}),), signed=True))
    called = await ask(client)

    await ask(client, UserMessage("Hi"), called, ToolMessage((ToolResult(called.tool_calls[0].id, "now", "noon"),)))

    sent = server.requests[-1].body["messages"][1]
    assert sent["reasoning_details"] == [{"type": "reasoning.encrypted", "data": "sealed"}]
    assert sent["tool_calls"][0]["extra_content"] == {"google": {"thought_signature": "sealed 0"}}


async def test_reasoning_goes_back_to_no_other_vendor(connect: Connect, server: VendorServer) -> None:
    server.then(Call((("now", {}),), signed=True))
    called = await ask(connect("openrouter", server.key))

    result = ToolMessage((ToolResult(called.tool_calls[0].id, "now", "noon"),))
    await ask(connect("openai", server.key), UserMessage("Hi"), called, result)

    assert server.requests[-1].body["messages"][1].keys() == {"role", "content", "tool_calls"}


async def test_an_answer_in_parts_is_joined(connect: Connect, server: VendorServer) -> None:
    parts = [{"type": "thinking", "thinking": []}, {"type": "text", "text": "He"}, {"type": "text", "text": "llo"}]
    server.then(said({"role": "assistant", "content": parts}))

    assert (await ask(connect("mistral", None))).text == "Hello"


async def test_arguments_that_are_an_object_already_are_taken(connect: Connect, server: VendorServer) -> None:
    call = {"function": {"name": "now", "arguments": {"zone": "UTC"}}}
    server.then(said({"content": None, "tool_calls": [call]}, finish_reason="stop"))

    assert (await ask(connect("ollama", None))).tool_calls[0].arguments == {"zone": "UTC"}


async def test_a_server_that_counts_nothing_is_no_error(connect: Connect, server: VendorServer) -> None:
    server.then(said({"content": "Hello"}))

    response = await connect("ollama", None).complete([UserMessage("Hi")], timeout_seconds=20)

    assert response.usage.total_tokens == 0


async def test_a_filter_that_cuts_in_is_a_refusal(connect: Connect, server: VendorServer) -> None:
    server.then(said({"content": "I"}, finish_reason="content_filter"))

    assert type(await error_of(connect("openai", server.key))) is Refused


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        (json_reply({"error": {"code": 502, "message": "upstream"}}), LlmUnavailable),
        (json_reply({"error": {"code": "server_error", "message": "upstream"}}), LlmUnavailable),
        (said({"content": ""}, finish_reason="error", error={"code": 429, "message": "busy"}), LlmError),
        (said({"content": "Once upon"}, finish_reason="error"), LlmUnavailable),
        (json_reply({"error": {"code": 403, "message": "x", "metadata": {"reasons": ["violence"]}}}, 403), Refused),
        (json_reply({"error": {"code": 402, "message": "Insufficient credits"}}, 402), BadCredentials),
    ],
)
async def test_openrouters_ways_to_fail_are_known(
    connect: Connect, server: VendorServer, reply: Reply, expected: type[LlmError]
) -> None:
    server.then(reply)

    assert isinstance(await error_of(connect("openrouter", server.key)), expected)


async def test_a_choice_without_a_message_is_malformed(connect: Connect, server: VendorServer) -> None:
    server.then(json_reply({"choices": [{"index": 0}]}))

    assert type(await error_of(connect("ollama", None))) is MalformedReply


@pytest.mark.parametrize(
    "body", [{"error": "model 'm' not found"}, {"detail": "Not Found"}, {"message": "no", "code": 404}]
)
async def test_errors_of_local_servers_keep_their_words(connect: Connect, server: VendorServer, body: Json) -> None:
    server.then(json_reply(body, 404))

    error = await error_of(connect("ollama", None))

    assert str(next(iter(body.values()))) in str(error)


async def test_openais_settings_in_the_environment_go_to_openai_only(
    server: VendorServer, monkeypatch: pytest.MonkeyPatch, connect: Connect
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret-of-openai")
    monkeypatch.setenv("OPENAI_ORG_ID", "org-secret")
    monkeypatch.setenv("OPENAI_PROJECT_ID", "proj-secret")

    await ask(connect("ollama", None))
    await ask(connect("openrouter", server.key))

    assert not any("secret" in value for request in server.requests for value in request.headers.values())


async def test_extra_headers_are_sent(server: VendorServer) -> None:
    client = OpenAiChatClient(
        "m", api_key=None, base_url=server.base_url("compatible"), provider="x", headers={"X-Title": "Opspawn"}
    )
    await client.complete([UserMessage("Hi")], timeout_seconds=20)

    assert server.requests[0].headers["x-title"] == "Opspawn"
    await client.aclose()


def test_no_key_and_no_url_is_a_configuration_error() -> None:
    with pytest.raises(ConfigurationError, match="needs an API key"):
        OpenAiChatClient("m", api_key=None)


async def test_a_server_that_refuses_stream_options_is_asked_without_from_then_on(
    connect: Connect, server: VendorServer
) -> None:
    client = connect("mistral", None)
    refusal = {"detail": [{"type": "extra_forbidden", "loc": ["body", "stream_options"], "msg": "not permitted"}]}
    server.then(json_reply(refusal, 422), Say("One."), Say("Two."))
    told: list[str] = []

    for _ in range(2):
        await client.stream([UserMessage("Hi")], timeout_seconds=20, on_text=told.append)

    assert "".join(told) == "One.Two."
    assert ["stream_options" in asked.body for asked in server.requests] == [True, False, False]


def streamed(*deltas: Json, finish_reason: str = "stop") -> Reply:
    chunks = [{"model": "m", "choices": [{"index": 0, "delta": delta}]} for delta in deltas]
    last = {"choices": [{"index": 0, "delta": {}, "finish_reason": finish_reason}]}
    return Reply(content_type="text/event-stream", pieces=(*map(event, chunks), event(last), event("[DONE]")))


async def streamed_answer(client: OpenAiChatClient) -> AssistantMessage:
    response = await client.stream([UserMessage("Hi")], tools=(NOW,), timeout_seconds=20, on_text=lambda _: None)
    return response.message


def called(name: str | None, arguments: object, **more: object) -> Json:
    return {"tool_calls": [{"function": {"name": name, "arguments": arguments}} | more]}


@pytest.mark.parametrize(
    "deltas",
    [
        (called("now", '{"a": 1}', index=0, id="1"), called("now", '{"a": 2}', index=1, id="2")),
        (called("now", '{"a"', index=0, id="1"), called(None, ": 1}", index=0), called("now", '{"a": 2}', index=1)),
        (called("now", '{"a": 1}', index=0, id="1"), called("now", '{"a": 2}', index=0, id="2")),
        (called("now", '{"a": 1}'), called("now", '{"a": 2}')),
        (called("now", {"a": 1}, id="1"), called("now", {"a": 2}, id="2")),
        (called("now", '{"a": ', id="1"), called(None, "1}"), called("now", '{"a": 2}', id="2")),
        (
            called("", "", index=0, id="1"),
            called("now", '{"a": 1}', index=0, id="1"),
            called("now", '{"a": 2}', id="2"),
        ),
    ],
    ids=["plain", "halves", "all-number-0", "no-ids", "objects", "no-numbers", "late-name"],
)
async def test_the_ways_of_servers_to_stream_two_calls_are_known(
    connect: Connect, server: VendorServer, deltas: tuple[Json, ...]
) -> None:
    server.then(streamed(*deltas, finish_reason="tool_calls"))

    calls = (await streamed_answer(connect("ollama", None))).tool_calls

    assert [call.arguments for call in calls] == [{"a": 1}, {"a": 2}]
    assert len({call.id for call in calls}) == 2


async def test_reasoning_that_is_streamed_goes_back_in_whole(connect: Connect, server: VendorServer) -> None:
    details = [
        {"type": "reasoning.text", "text": "Let me ", "index": 0, "signature": None},
        {"type": "reasoning.text", "text": "think.", "index": 0},
        {"type": "reasoning.text", "text": "", "index": 0, "signature": "sealed"},
        {"type": "reasoning.encrypted", "data": "x", "index": 1},
        {"type": "reasoning.encrypted", "data": "y", "index": 2},
    ]
    server.then(streamed(*({"content": "a", "reasoning_details": [detail]} for detail in details)))

    message = await streamed_answer(connect("openrouter", server.key))

    assert message.text == "aaaaa"
    assert message.vendor == {
        "provider": "openrouter",
        "reasoning_details": [
            {"type": "reasoning.text", "text": "Let me think.", "index": 0, "signature": "sealed"},
            *details[3:],
        ],
    }


async def test_a_refusal_that_is_streamed_is_a_refusal(connect: Connect, server: VendorServer) -> None:
    server.then(streamed({"content": "I"}, finish_reason="content_filter"))

    with pytest.raises(Refused):
        await streamed_answer(connect("openai", server.key))


async def test_an_error_in_plain_words_in_a_stream_keeps_them(connect: Connect, server: VendorServer) -> None:
    server.then(Reply(content_type="text/event-stream", pieces=(event({"error": "model runner has crashed"}),)))

    with pytest.raises(LlmUnavailable, match="model runner has crashed"):
        await streamed_answer(connect("ollama", None))


async def test_an_end_mark_without_a_reason_to_stop_ends_no_answer(connect: Connect, server: VendorServer) -> None:
    begun = {"model": "m", "choices": [{"index": 0, "delta": {"content": "Once upon"}, "finish_reason": None}]}
    server.then(Reply(content_type="text/event-stream", pieces=(event(begun), event("[DONE]"))))

    with pytest.raises(LlmUnavailable, match="broke off"):
        await streamed_answer(connect("openai", server.key))
