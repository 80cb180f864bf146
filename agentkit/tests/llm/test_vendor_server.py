"""The fake vendors themselves, as other tests rely on them."""

from __future__ import annotations

import asyncio
import sys

import httpx2
import pytest

from agentkit.errors import LlmRequestInvalid
from agentkit.llm.openai_chat import OpenAiChatClient
from agentkit.tests.llm.script import Json, sample_arguments
from agentkit.tests.llm.vendor_server import VendorServer
from agentkit.transcript import AssistantMessage, ToolCall, UserMessage


async def test_a_request_the_vendor_would_refuse_is_refused_and_not_counted(server: VendorServer) -> None:
    client = OpenAiChatClient("m", api_key=server.key, base_url=server.base_url("openai"))
    unanswered = AssistantMessage("", (ToolCall("1", "now", {}),))

    with pytest.raises(LlmRequestInvalid, match="tool_call_id"):
        await client.complete([UserMessage("Hi"), unanswered], timeout_seconds=20)

    assert (server.received, server.calls.total()) == (1, 0)
    await client.aclose()


@pytest.mark.parametrize(
    ("schema", "arguments"),
    [
        ({}, {}),
        ({"properties": {"a": {"type": "string"}}}, {}),
        (
            {"properties": {"a": {"type": "string"}, "n": {"type": "integer"}}, "required": ["a", "n"]},
            {"a": "step 2", "n": 2},
        ),
        ({"properties": {"e": {"enum": ["x"]}, "d": {"default": 5}}, "required": ["e", "d"]}, {"e": "x", "d": 5}),
    ],
)
def test_made_up_arguments_fit_the_schema(schema: Json, arguments: Json) -> None:
    assert sample_arguments(schema, 2) == arguments


async def test_it_runs_as_a_process_of_its_own() -> None:
    command = (sys.executable, "-m", "agentkit.tests.llm.vendor_server", "--port", "0")
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    assert process.stdout is not None
    try:
        line = (await asyncio.wait_for(process.stdout.readline(), 30)).decode()
        url = line.removeprefix("openai: ").strip()
        client = OpenAiChatClient("react-0", api_key=VendorServer.key, base_url=url)
        assert (await client.complete([UserMessage("Hi")], timeout_seconds=20)).message.text == "Done after 0 steps"
        await client.aclose()
        async with httpx2.AsyncClient() as http:
            stats = (await http.get(url.removesuffix("/openai/v1") + "/stats")).json()
        assert stats["calls"] == {"react-0": 1}
    finally:
        process.terminate()
        await process.wait()
