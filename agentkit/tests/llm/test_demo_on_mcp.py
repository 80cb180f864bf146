"""The demo model against real MCP servers over stdio: our handbook, and the published time server."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator

import pytest

from agentkit import Agent, CombinedTools, DemoLlm, Finished, ReActPlanner, ToolRegistry, calculator
from agentkit.mcp import McpConnections, McpTools, StdioServer, mcp_proxy_tool


@pytest.fixture(scope="module")
async def connections() -> AsyncIterator[McpConnections]:
    modules = {"demo": "agentkit.mcp.demo_server", "time": "mcp_server_time"}
    servers = {
        name: StdioServer(name=name, command=sys.executable, args=("-m", module)) for name, module in modules.items()
    }
    connections = McpConnections(servers)
    yield connections
    await connections.aclose()


@pytest.mark.parametrize("native", [True, False], ids=["native", "text"])
@pytest.mark.parametrize(
    ("goal", "said", "tool_calls"),
    [
        ("Look up the refund policy", "30 days", 2),
        ("What does the handbook say about refunds?", "30 days", 2),
        ("Find the shipping policy in the handbook", "EUR", 2),
        ("What are the opening hours?", "Monday to Friday", 2),
        ("Who is on call?", "on call", 2),
        ("Look up the price of a widget in the handbook and multiply it by 12", " * 12 = ", 3),
        ("What time is it in Tokyo?", "(Asia/Tokyo)", 1),
        ("Convert 15:30 from Berlin to New York", "(America/New_York)", 1),
    ],
)
async def test_goals_are_answered_from_what_real_servers_say(
    connections: McpConnections, goal: str, said: str, tool_calls: int, native: bool
) -> None:
    tools = CombinedTools(ToolRegistry([calculator]), McpTools(connections))
    report = await Agent(planner=ReActPlanner(DemoLlm(native_tools=native)), tools=tools).run(goal)
    assert isinstance(report.outcome, Finished)
    assert said in report.outcome.answer
    assert report.tool_calls == tool_calls


async def test_the_handbook_is_reached_through_the_proxy_tool(connections: McpConnections) -> None:
    agent = Agent(planner=ReActPlanner(DemoLlm()), tools=mcp_proxy_tool(connections))
    outcome = (await agent.run("Look up the refund policy")).outcome
    assert isinstance(outcome, Finished)
    assert "30 days" in outcome.answer
