"""MCP tools as an agent sees them, against real servers over stdio."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator

import pytest

from agentkit.errors import BadToolArguments, ConfigurationError, ToolFailed, UnknownTool
from agentkit.mcp import McpConnections, McpTools, StdioServer, mcp_proxy_tool
from agentkit.tools.base import BaseToolManager, OnUnknown, ToolContext
from agentkit.transcript import JsonObject, ToolCall

CONTEXT = ToolContext(run_id="run", step_key="1/tool/1", idempotency_key="key", timeout_seconds=30.0)


@pytest.fixture(scope="module")
async def connections() -> AsyncIterator[McpConnections]:
    opened = McpConnections(
        {
            "handbook": StdioServer(name="handbook", command=sys.executable, args=("-m", "agentkit.mcp.demo_server")),
            "time": StdioServer(name="time", command=sys.executable, args=("-m", "mcp_server_time")),
        }
    )
    yield opened
    await opened.aclose()


async def answer(tools: BaseToolManager, name: str, arguments: JsonObject) -> str:
    result = await tools.call(ToolCall("call-1", name, arguments), CONTEXT)
    assert (result.call_id, result.name, result.is_error) == ("call-1", name, False)
    return result.content


async def test_the_tools_of_all_servers_are_offered_as_server_dot_tool(connections: McpConnections) -> None:
    names = [spec.name for spec in await McpTools(connections).specs()]
    assert names == ["handbook.read", "handbook.search", "time.convert_time", "time.get_current_time"]


async def test_only_the_named_servers_are_offered(connections: McpConnections) -> None:
    tools = McpTools(connections, ["time"])
    assert [spec.name for spec in await tools.specs()] == ["time.convert_time", "time.get_current_time"]
    with pytest.raises(UnknownTool):
        await answer(tools, "handbook.read", {"name": "on-call"})


def test_a_server_that_is_not_configured_is_refused(connections: McpConnections) -> None:
    with pytest.raises(ConfigurationError, match="'payroll' is not configured, or disabled; configured are: handbook"):
        McpTools(connections, ["time", "payroll"])


async def test_a_read_only_tool_has_no_side_effect_and_keeps_its_schema(connections: McpConnections) -> None:
    spec = (await McpTools(connections, ["handbook"]).specs())[0]
    assert (spec.side_effect, spec.on_unknown) == (False, OnUnknown.retry)
    assert spec.parameters["required"] == ["name"]
    assert spec.description.startswith("Read one document")


async def test_a_tool_answers_with_its_text(connections: McpConnections) -> None:
    assert "30 days" in await answer(McpTools(connections), "handbook.read", {"name": "refund-policy"})


async def test_the_published_time_server_converts_time(connections: McpConnections) -> None:
    arguments = {"source_timezone": "Europe/Berlin", "time": "12:00", "target_timezone": "Asia/Tokyo"}
    converted = await answer(McpTools(connections), "time.convert_time", arguments)
    assert '"time_difference": "+' in converted
    assert "Asia/Tokyo" in await answer(McpTools(connections), "time.get_current_time", {"timezone": "Asia/Tokyo"})


async def test_an_error_of_the_tool_is_told_in_its_own_words(connections: McpConnections) -> None:
    with pytest.raises(ToolFailed, match="the documents are: on-call, opening-hours"):
        await answer(McpTools(connections), "handbook.read", {"name": "salaries"})


async def test_an_unknown_tool_lists_those_there_are(connections: McpConnections) -> None:
    with pytest.raises(UnknownTool, match="its tools are: read, search"):
        await answer(McpTools(connections), "handbook.write", {})


async def test_the_proxy_tool_reaches_any_server(connections: McpConnections) -> None:
    proxy = mcp_proxy_tool(connections)
    (spec,) = await proxy.specs()
    assert (spec.name, spec.side_effect, spec.on_unknown) == ("mcp_proxy_tool", True, OnUnknown.ask)
    arguments = {"server": "handbook", "tool": "read", "arguments": {"name": "on-call"}}
    assert "Dana Okafor" in await answer(proxy, "mcp_proxy_tool", arguments)


async def test_the_proxy_tool_lists_the_servers_when_one_is_unknown(connections: McpConnections) -> None:
    with pytest.raises(UnknownTool, match="'payroll'; configured are: handbook, time"):
        await answer(mcp_proxy_tool(connections), "mcp_proxy_tool", {"server": "payroll", "tool": "read"})


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"server": "handbook"},
        {"server": "handbook", "tool": 1},
        {"server": "handbook", "tool": "read", "arguments": "on-call"},
        {"server": "handbook", "tool": "read", "name": "on-call"},
    ],
)
async def test_the_proxy_tool_refuses_arguments_of_another_shape(
    connections: McpConnections, arguments: JsonObject
) -> None:
    with pytest.raises(BadToolArguments):
        await answer(mcp_proxy_tool(connections), "mcp_proxy_tool", arguments)
