"""An agent alone: no server, no database, no queue."""

import asyncio

from agentkit import Agent, ReActPlanner, ToolRegistry, calculator, make_llm


async def main() -> None:
    agent = Agent(planner=ReActPlanner(make_llm("demo")), tools=ToolRegistry([calculator]))
    report = await agent.run("What is 17 * 23?")
    print(report.outcome)


asyncio.run(main())
