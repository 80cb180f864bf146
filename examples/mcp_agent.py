"""An agent with the tools of an MCP server: here the demo server, a child process that speaks over stdin and stdout."""

import asyncio
import os
import sys

from agentkit import Agent, CombinedTools, ReActPlanner, ToolRegistry, calculator, make_llm
from agentkit.mcp import McpConnections, McpTools, load_mcp_servers

#: As desktop clients write it. `${NAME}` in it would be taken from the environment.
CONFIG = {"mcpServers": {"demo": {"command": sys.executable, "args": ["-m", "agentkit.mcp.demo_server"]}}}


async def main() -> None:
    connections = McpConnections(load_mcp_servers(CONFIG, os.environ))
    try:
        tools = CombinedTools(ToolRegistry([calculator]), McpTools(connections))
        for spec in await tools.specs():
            print(f"{spec.name}: {spec.description.splitlines()[0]}")
        agent = Agent(planner=ReActPlanner(make_llm("demo")), tools=tools)
        report = await agent.run("Look up the price of a Widget Pro in the handbook and multiply it by 3")
        print(report.outcome)
    finally:
        # Ends the server.
        await connections.aclose()


asyncio.run(main())
