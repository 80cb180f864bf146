"""What is particular to Gemini."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

import pytest

from agentkit.errors import LlmError, MalformedReply, RateLimited, Refused
from agentkit.llm.base import StopReason
from agentkit.llm.gemini import DEFAULT_API_VERSION, GeminiClient
from agentkit.tests.llm.http_server import Reply, event, json_reply
from agentkit.tests.llm.script import Call, Fail, Fault, Json
from agentkit.tests.llm.vendor_server import VendorServer
from agentkit.tools.base import ToolSpec
from agentkit.transcript import AssistantMessage, ToolCall, ToolMessage, ToolResult, UserMessage

NOW = ToolSpec("now", "Tell the time.", {"type": "object"})
Connect = Callable[..., GeminiClient]


@pytest.fixture
async def connect(server: VendorServer) -> AsyncIterator[Connect]:
    clients: list[GeminiClient] = []

    def make(model: str = "gemini-3-test", api_version: str = DEFAULT_API_VERSION) -> GeminiClient:
        base_url = server.base_url("gemini")
        clients.append(GeminiClient(model, api_key=server.key, base_url=base_url, api_version=api_version))
        return clients[-1]

    yield make
    for client in clients:
        await client.aclose()


async def test_a_signed_content_goes_back_as_it_came(connect: Connect, server: VendorServer) -> None:
    client = connect()
    server.then(Call((("now", {}), ("now", {})), signed=True))
    called = (await client.complete([UserMessage("Hi")], tools=[NOW], timeout_seconds=20)).message
    results = ToolMessage(tuple(ToolResult(call.id, "now", "noon") for call in called.tool_calls))

    await client.complete([UserMessage("Hi"), called, results], tools=[NOW], timeout_seconds=20)

    assert server.requests[-1].body["contents"][1]["parts"] == [
        {
            "functionCall": {"id": "fc_0", "name": "now", "args": {}},
            "thoughtSignature": "c2VhbGVk",
            "novelty": {"kept": True},
        },
        {"functionCall": {"id": "fc_1", "name": "now", "args": {}}},
    ]


@pytest.mark.parametrize(("model", "excused"), [("gemini-3-test", True), ("gemini-2.5-flash", False)])
async def test_a_call_of_another_model_is_excused_where_signatures_are_demanded(
    connect: Connect, server: VendorServer, model: str, excused: bool
) -> None:
    foreign = AssistantMessage("", (ToolCall("call_1", "now", {}),))

    await connect(model).complete(
        [UserMessage("Hi"), foreign, ToolMessage((ToolResult("call_1", "now", "noon"),))], timeout_seconds=20
    )

    sent = server.requests[0].body["contents"][1]["parts"][0]
    assert sent.get("thoughtSignature") == ("skip_thought_signature_validator" if excused else None)


async def test_results_and_errors_go_back_under_googles_keys(connect: Connect, server: VendorServer) -> None:
    calls = (ToolCall("1", "now", {}), ToolCall("2", "now", {}))
    results = (ToolResult("1", "now", "noon"), ToolResult("2", "now", "no clock", is_error=True))

    await connect().complete([UserMessage("Hi"), AssistantMessage("", calls), ToolMessage(results)], timeout_seconds=20)

    sent = [part["functionResponse"]["response"] for part in server.requests[0].body["contents"][-1]["parts"]]
    assert sent == [{"output": "noon"}, {"error": "no clock"}]


async def test_the_wait_said_in_the_body_is_read(connect: Connect, server: VendorServer) -> None:
    server.then(Fail(Fault.rate_limited, "quota", retry_delay_seconds=34.07))

    with pytest.raises(RateLimited) as caught:
        await connect().complete([UserMessage("Hi")], timeout_seconds=20)
    assert caught.value.retry_after_seconds == 34.07


@pytest.mark.parametrize("version", ["v1", "v1beta"])
async def test_the_api_version_can_be_chosen(connect: Connect, server: VendorServer, version: str) -> None:
    response = await connect(api_version=version).complete([UserMessage("Hi")], timeout_seconds=20)

    assert response.message.text == "Hello"


async def test_the_environment_does_not_send_the_key_to_vertex(
    connect: Connect, server: VendorServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GOOGLE_GENAI_USE_VERTEXAI", "true")
    monkeypatch.setenv("GOOGLE_GENAI_API_VERSION", "v1alpha")

    await connect().complete([UserMessage("Hi")], timeout_seconds=20)

    assert server.received == 1


@pytest.mark.parametrize("reason", ["MALFORMED_FUNCTION_CALL", "UNEXPECTED_TOOL_CALL", "TOO_MANY_TOOL_CALLS"])
async def test_a_bungled_call_is_not_an_answer_whatever_was_said_before_it(
    connect: Connect, server: VendorServer, reason: str
) -> None:
    content = {"parts": [{"text": "Let me look."}]}
    server.then(json_reply({"candidates": [{"content": content, "finishReason": reason, "finishMessage": "now("}]}))

    response = await connect().complete([UserMessage("Hi")], timeout_seconds=20)

    assert (response.stop, response.problem) == (StopReason.bungled_call, "now(")
    assert response.message == AssistantMessage("Let me look.")


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"promptFeedback": {"blockReason": "SAFETY"}}, Refused),
        ({"candidates": [{"finishReason": "PROHIBITED_CONTENT"}]}, Refused),
        ({"candidates": [{"content": {"parts": [{"text": "I"}]}, "finishReason": "RECITATION"}]}, Refused),
        ({"candidates": [{"content": {}, "finishReason": "OTHER"}]}, MalformedReply),
        ({"candidates": [{"content": {"parts": [{"text": 1}]}}]}, MalformedReply),
    ],
)
async def test_every_way_not_to_answer_has_its_error(
    connect: Connect, server: VendorServer, body: Json, expected: type[LlmError]
) -> None:
    server.then(json_reply(body))

    with pytest.raises(expected):
        await connect().complete([UserMessage("Hi")], timeout_seconds=20)


async def test_an_empty_candidate_is_an_empty_answer(connect: Connect, server: VendorServer) -> None:
    server.then(json_reply({"candidates": [{"content": {"role": "model"}, "finishReason": "STOP"}]}))

    response = await connect().complete([UserMessage("Hi")], timeout_seconds=20)

    assert (response.stop, response.message) == (StopReason.end, AssistantMessage(""))


async def test_thoughts_are_not_part_of_the_answer(connect: Connect, server: VendorServer) -> None:
    parts = [{"text": "hm", "thought": True}, {"text": "Yes", "thoughtSignature": "c2VhbGVk"}]
    server.then(json_reply({"candidates": [{"content": {"role": "model", "parts": parts}, "finishReason": "STOP"}]}))

    message = (await connect().complete([UserMessage("Hi")], timeout_seconds=20)).message

    assert message.text == "Yes"
    assert message.vendor == {"provider": "gcp.gemini", "content": {"role": "model", "parts": parts}}


async def test_streamed_text_becomes_one_part_and_a_signed_one_stays_as_it_came(
    connect: Connect, server: VendorServer
) -> None:
    parts: list[list[Json]] = [
        [{"text": "hm", "thought": True}],
        [{"text": "Ye"}],
        [{"text": "s"}],
        [{"text": "", "thoughtSignature": "c2VhbGVk"}],
        [],
    ]
    chunks = [{"candidates": [{"content": {"role": "model", "parts": each}}]} for each in parts]
    last = {"candidates": [{"finishReason": "STOP"}], "usageMetadata": {"promptTokenCount": 3}}
    server.then(Reply(content_type="text/event-stream", pieces=(*map(event, chunks), event(last))))
    told: list[str] = []

    response = await connect().stream([UserMessage("Hi")], timeout_seconds=20, on_text=told.append)

    assert (told, response.message.text, response.usage.input_tokens) == (["Ye", "s"], "Yes", 3)
    assert response.message.vendor is not None
    assert response.message.vendor["content"] == {
        "role": "model",
        "parts": [
            {"text": "hm", "thought": True},
            {"text": "Yes"},
            {"text": "", "thoughtSignature": "c2VhbGVk"},
        ],
    }


async def test_a_streamed_block_of_the_prompt_is_a_refusal(connect: Connect, server: VendorServer) -> None:
    blocked = event({"promptFeedback": {"blockReason": "SAFETY"}})
    server.then(Reply(content_type="text/event-stream", pieces=(blocked,)))

    with pytest.raises(Refused):
        await connect().stream([UserMessage("Hi")], timeout_seconds=20, on_text=lambda _: None)
