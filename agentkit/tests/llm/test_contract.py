"""What every vendor's client promises when the vendor answers, through the real SDK against a real port."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys

import pytest

from agentkit.errors import LlmRequestInvalid
from agentkit.llm.base import BaseLlmClient, LlmResponse, StopReason, Usage
from agentkit.tests.llm.script import Call, Say
from agentkit.tests.llm.vendor_server import VendorServer
from agentkit.tests.llm.vendors import VENDORS, Vendor
from agentkit.tools.base import ToolSpec
from agentkit.transcript import (
    AssistantMessage,
    Message,
    SystemMessage,
    ToolCall,
    ToolMessage,
    ToolResult,
    UserMessage,
    message_from_json,
    message_to_json,
)

ADD = ToolSpec(
    "calc.add",
    "Add two numbers.",
    {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}},
        "required": ["a", "b"],
    },
)
NOW = ToolSpec("now", "Tell the time.", {"type": "object"})
ARGUMENTS_AS_TEXT = [vendor for vendor in VENDORS if vendor.package == "openai"]
ALL_CALLS_HAVE_IDS = ("anthropic", "openai-responses")
ASK = (SystemMessage("Be brief."), UserMessage("What is 1 + 2?"))


async def ask(
    client: BaseLlmClient, messages: tuple[Message, ...] = ASK, tools: tuple[ToolSpec, ...] = ()
) -> LlmResponse:
    return await client.complete(messages, tools=tools, timeout_seconds=20)


async def test_text_comes_back_with_who_said_it(client: BaseLlmClient, vendor: Vendor) -> None:
    response = await ask(client)

    assert response.message == AssistantMessage("Hello")
    assert response.stop is StopReason.end
    assert response.provider == client.provider == vendor.provider
    assert response.model.startswith("test-model")


async def test_usage_counts_cached_tokens_as_input_and_reasoning_as_output(client: BaseLlmClient) -> None:
    response = await ask(client)

    assert response.usage == Usage(input_tokens=100, output_tokens=20, cached_input_tokens=40, reasoning_tokens=7)


async def test_instructions_and_text_in_any_script_arrive_as_they_are(
    client: BaseLlmClient, server: VendorServer
) -> None:
    server.then(Say("Zażółć 👩‍🚀 日本\u2028\x00"))

    response = await ask(client, (SystemMessage("être bref"), UserMessage("¿qué? 🏳️‍🌈")))

    sent = json.dumps(server.requests[0].body, ensure_ascii=False)
    assert "être bref" in sent
    assert "¿qué? 🏳️‍🌈" in sent
    assert response.message.text == "Zażółć 👩‍🚀 日本\u2028\x00"


async def test_a_tool_call_comes_back_under_our_name_for_the_tool(client: BaseLlmClient, server: VendorServer) -> None:
    server.then(Call((("calc__add", {"a": 1, "b": 2}),), text="Let me see."))

    response = await ask(client, tools=(ADD, NOW))

    assert response.stop is StopReason.tool_calls
    assert response.message.text == "Let me see."
    assert [(call.name, call.arguments) for call in response.message.tool_calls] == [("calc.add", {"a": 1, "b": 2})]
    assert server.requests[0].tools["calc__add"]["required"] == ["a", "b"]


async def test_several_tool_calls_at_once_keep_their_order_and_have_ids_of_their_own(
    client: BaseLlmClient, server: VendorServer
) -> None:
    server.then(Call((("calc__add", {"a": 1, "b": 2}), ("now", {}), ("calc__add", {"a": 3, "b": 4}))))

    calls = (await ask(client, tools=(ADD, NOW))).message.tool_calls

    assert [call.name for call in calls] == ["calc.add", "now", "calc.add"]
    assert [call.arguments for call in calls] == [{"a": 1, "b": 2}, {}, {"a": 3, "b": 4}]
    assert len({call.id for call in calls}) == 3


@pytest.mark.parametrize("signed", [False, True])
async def test_results_go_back_to_their_calls_and_the_model_answers(
    client: BaseLlmClient, server: VendorServer, signed: bool
) -> None:
    server.then(
        Call((("calc__add", {"a": 1, "b": 2}), ("now", {})), signed=signed),
        Call((("calc__add", {"a": 3, "b": 3}),), signed=signed),
        Say("It is 6.", signed=signed),
        Say("You are welcome."),
    )
    conversation: list[Message] = list(ASK)

    while (response := await ask(client, tuple(conversation), (ADD, NOW))).message.tool_calls:
        conversation.append(as_journaled(response.message))
        conversation.append(
            ToolMessage(tuple(ToolResult(c.id, c.name, f"did {c.name}") for c in response.message.tool_calls))
        )
    assert response.message.text == "It is 6."
    assert server.requests[-1].results == ("did calc.add", "did now", "did calc.add")

    conversation += [as_journaled(response.message), UserMessage("Thanks.")]
    assert (await ask(client, tuple(conversation), (ADD, NOW))).message.text == "You are welcome."


async def test_a_failed_tool_is_told_as_a_failure(client: BaseLlmClient, server: VendorServer) -> None:
    call = ToolCall("call_1", "calc.add", {"a": 1})
    result = ToolResult("call_1", "calc.add", "b is missing", is_error=True)

    await ask(client, (*ASK, AssistantMessage("", (call,)), ToolMessage((result,))), (ADD,))

    sent = json.dumps(server.requests[0].body)
    assert "b is missing" in sent
    assert "error" in sent.lower()


@pytest.mark.parametrize("vendor", [v for v in VENDORS if v.name not in ALL_CALLS_HAVE_IDS], ids=str)
async def test_a_call_without_an_id_gets_one_that_its_result_can_name(vendor: Vendor, server: VendorServer) -> None:
    server.then(Call((("now", {}), ("now", {})), without_ids=True, signed=True), Say("Noon."))
    client = vendor.client(server)

    called = (await ask(client, tools=(NOW,))).message
    first, second = called.tool_calls
    results = ToolMessage((ToolResult(first.id, "now", "12:00"), ToolResult(second.id, "now", "12:01")))
    response = await ask(client, (*ASK, as_journaled(called), results), (NOW,))

    assert first.id != second.id
    assert response.message.text == "Noon."
    await client.aclose()


async def test_ids_and_names_made_by_another_vendor_are_accepted(client: BaseLlmClient, server: VendorServer) -> None:
    call_id = "functions.calc/add:0-" + "x" * 60
    foreign = AssistantMessage("", (ToolCall(call_id, "gone.away", {}),), {"provider": "other", "content": 1})

    response = await ask(client, (*ASK, foreign, ToolMessage((ToolResult(call_id, "gone.away", "ok"),))))

    assert response.message.text == "Hello"
    assert server.requests[0].results[-1].endswith("ok")


async def test_a_tool_the_model_made_up_keeps_the_name_it_gave(client: BaseLlmClient, server: VendorServer) -> None:
    server.then(Call((("no_such_tool", {}),)))

    assert (await ask(client, tools=(ADD,))).message.tool_calls[0].name == "no_such_tool"


async def test_tools_whose_names_would_meet_are_told_apart(client: BaseLlmClient, server: VendorServer) -> None:
    one, other = (ToolSpec(name, name, {"type": "object"}) for name in ("a.b", "a__b"))
    await ask(client, tools=(one, other))
    on_the_wire = list(server.requests[0].tools)
    server.then(Call(tuple((name, {}) for name in on_the_wire)))

    calls = (await ask(client, tools=(one, other))).message.tool_calls

    assert [call.name for call in calls] == ["a.b", "a__b"]


async def test_a_schema_that_a_vendor_would_refuse_at_its_top_is_accepted(
    client: BaseLlmClient, server: VendorServer
) -> None:
    either = {"type": "object", "properties": {"a": {}, "b": {}}, "anyOf": [{"required": ["a"]}, {"required": ["b"]}]}

    await ask(client, tools=(ToolSpec("either", "One of the two.", either),))

    assert server.requests[0].tools["either"]["properties"] == {"a": {}, "b": {}}


async def test_neighbours_of_one_role_and_empty_answers_are_no_obstacle(
    client: BaseLlmClient, vendor: Vendor, server: VendorServer
) -> None:
    conversation = (
        UserMessage("One."),
        UserMessage("Two."),
        AssistantMessage(""),
        AssistantMessage("Yes."),
        AssistantMessage("Go on."),
        UserMessage("Three."),
    )

    await ask(client, conversation)

    body = server.requests[0].body
    turns = body.get("contents") or body.get("messages") or body["input"]
    roles = [turn["role"] for turn in turns]
    if vendor.name == "openai-responses":  # which wants no turns that alternate
        assert roles == ["user", "user", "assistant", "assistant", "user"]
    else:
        assert roles in (["user", "assistant", "user"], ["user", "model", "user"])


async def test_a_conversation_without_a_user_is_refused_before_it_is_sent(
    client: BaseLlmClient, server: VendorServer
) -> None:
    with pytest.raises(LlmRequestInvalid, match="no user message"):
        await ask(client, (SystemMessage("Be brief."),))
    assert server.received == 0


async def test_an_answer_cut_short_says_so(client: BaseLlmClient, server: VendorServer) -> None:
    server.then(Say("Once upon a", cut_short=True))

    response = await ask(client)

    assert (response.stop, response.message.text) == (StopReason.length, "Once upon a")


async def test_calls_of_an_answer_cut_short_are_not_made(client: BaseLlmClient, server: VendorServer) -> None:
    server.then(Call((("now", {}),), text="First", cut_short=True, signed=True))

    response = await ask(client, tools=(NOW,))

    assert response.stop is StopReason.length
    assert response.message == AssistantMessage("First")


async def test_an_empty_answer_is_an_answer(client: BaseLlmClient, server: VendorServer) -> None:
    server.then(Say(""))

    response = await ask(client)

    assert (response.stop, response.message.text) == (StopReason.end, "")


async def test_the_limit_on_output_tokens_is_passed_on(vendor: Vendor, server: VendorServer) -> None:
    client = vendor.client(server, max_output_tokens=77)

    await ask(client)

    assert "77" in json.dumps(server.requests[0].body)
    await client.aclose()


@pytest.mark.parametrize("vendor", ARGUMENTS_AS_TEXT, ids=str)
@pytest.mark.parametrize("arguments", ['{"a": 1', "[1]", "1", "nonsense", '{"a": NaN}', '{"a": "\\ud800"}'])
async def test_arguments_that_are_not_an_object_are_a_bungled_call_that_names_the_tool(
    vendor: Vendor, server: VendorServer, arguments: str
) -> None:
    server.then(Call((("calc__add", {}),), raw_arguments=arguments))
    client = vendor.client(server)

    response = await ask(client, tools=(ADD,))

    assert (response.stop, response.message.tool_calls) == (StopReason.bungled_call, ())
    assert "'calc.add' are not a JSON object" in response.problem
    assert response.usage.total_tokens > 0
    await client.aclose()


@pytest.mark.parametrize("vendor", ARGUMENTS_AS_TEXT, ids=str)
@pytest.mark.parametrize("arguments", ["", "  ", "null", "{}"])
async def test_no_arguments_may_be_said_in_many_ways(vendor: Vendor, server: VendorServer, arguments: str) -> None:
    server.then(Call((("now", {}),), raw_arguments=arguments))
    client = vendor.client(server)

    assert (await ask(client, tools=(NOW,))).message.tool_calls[0].arguments == {}
    await client.aclose()


async def test_many_conversations_share_one_client(vendor: Vendor, server: VendorServer) -> None:
    client = vendor.client(server, model="react-2-delay-50")

    async def converse(number: int) -> str:
        conversation: list[Message] = [UserMessage(f"Task {number}")]
        while (message := (await ask(client, tuple(conversation), (ADD,))).message).tool_calls:
            results = tuple(ToolResult(c.id, c.name, f"{number}:{c.arguments['a']}") for c in message.tool_calls)
            conversation += [message, ToolMessage(results)]
        return message.text

    answers = await asyncio.gather(*(converse(number) for number in range(20)))

    assert answers == [f"Done after 2 steps: {number}:2" for number in range(20)]
    assert server.calls == {"react-2-delay-50": 60}
    assert server.most_in_flight > 1
    await client.aclose()


async def test_closing_twice_is_harmless(client: BaseLlmClient) -> None:
    await ask(client)
    await client.aclose()
    await client.aclose()


async def test_closing_unused_is_harmless(client: BaseLlmClient) -> None:
    await client.aclose()


@pytest.mark.parametrize("module", ["openai_chat", "anthropic_messages", "gemini"])
def test_importing_a_client_does_not_import_its_sdk(module: str) -> None:
    code = (
        f"import sys, agentkit.llm.{module}; "
        "print([name for name in ('openai', 'anthropic', 'google.genai', 'httpx2') if name in sys.modules])"
    )
    assert subprocess.check_output([sys.executable, "-c", code], text=True, timeout=60).strip() == "[]"


def as_journaled(message: AssistantMessage) -> Message:
    """The message after a trip through the journal's JSON."""
    return message_from_json(json.loads(json.dumps(message_to_json(message))))
