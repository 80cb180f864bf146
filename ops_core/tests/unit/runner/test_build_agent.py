"""What a builder makes of a definition."""

from __future__ import annotations

import asyncio

import pytest

from agentkit.errors import ConfigurationError
from agentkit.journal import MemoryJournal
from agentkit.llm.demo import DemoLlm
from agentkit.memory.short_term import ShortTermMemory
from agentkit.planners.base import BasePlanner
from agentkit.planners.one_call import OneCallPlanner
from agentkit.planners.plan_execute import PlanExecutePlanner
from agentkit.planners.react import ReActPlanner
from agentkit.tools.base import ToolSpec
from agentkit.tools.builtin import calculator, clock
from agentkit.tools.registry import ToolRegistry
from agentkit.transcript import SystemMessage, UserMessage
from ops_core.domain.agent import AgentDefinition, AgentLimits, ModelChoice
from ops_core.runner.build_agent import AgentBuilder
from ops_core.runner.mcp_config import DEMO_SERVER

DEMO = ModelChoice(provider="demo")


def builder() -> AgentBuilder:
    return AgentBuilder(tools=[ToolRegistry([calculator, clock])], mcp_servers={})


async def test_an_agent_has_the_tools_it_names_and_no_other() -> None:
    definition = AgentDefinition(name="a", model=DEMO, tools=("calc*", "mcp_proxy_tool"))
    agent = await builder().build(definition, digest="d", journal=MemoryJournal())
    assert [spec.name for spec in await agent.tools.specs()] == ["calculator", "mcp_proxy_tool"]


async def test_limits_that_are_left_open_are_agentkits_own() -> None:
    definition = AgentDefinition(name="a", model=DEMO, limits=AgentLimits(steps=3))
    agent = await builder().build(definition, digest="d", journal=MemoryJournal())
    assert (agent.limits.steps, agent.limits.tokens) == (3, 500_000)


async def test_the_memory_shows_as_much_as_the_definition_says() -> None:
    definition = AgentDefinition(name="a", model=DEMO, limits=AgentLimits(memory_tokens=6000))
    agent = await builder().build(definition, digest="d", journal=MemoryJournal())
    assert isinstance(agent.memory, ShortTermMemory)
    assert agent.memory.token_budget == 6000


@pytest.mark.parametrize(("native_tools", "in_text"), [(False, True), (None, False), (True, False)])
async def test_a_model_without_tool_calling_is_asked_in_text(native_tools: bool | None, in_text: bool) -> None:
    definition = AgentDefinition(name="a", model=ModelChoice(provider="demo", native_tools=native_tools))
    agent = await builder().build(definition, digest="d", journal=MemoryJournal())
    prompt = agent.planner.prompt((UserMessage("go"),), (ToolSpec("now", "Tell the time.", {"type": "object"}),))
    assert isinstance(prompt.messages[0], SystemMessage) is in_text
    assert bool(prompt.tools) is not in_text


async def test_agents_of_one_model_share_its_client_also_when_built_at_once() -> None:
    shared = builder()
    definition = AgentDefinition(name="a", model=DEMO, planner="one_call")
    agents = await asyncio.gather(*(shared.build(definition, digest="d", journal=MemoryJournal()) for _ in range(5)))
    assert all(isinstance(agent.planner, OneCallPlanner) for agent in agents)
    assert len({id(agent.planner.llm) for agent in agents}) == 1
    assert isinstance(agents[0].planner.llm, DemoLlm)
    await shared.aclose()


@pytest.mark.parametrize(
    ("name", "planner"), [("react", ReActPlanner), ("plan_execute", PlanExecutePlanner), ("one_call", OneCallPlanner)]
)
async def test_the_planner_is_the_one_that_the_definition_names(name: str, planner: type[BasePlanner]) -> None:
    agent = await builder().build(
        AgentDefinition(name="a", model=DEMO, planner=name), digest="d", journal=MemoryJournal()
    )
    assert type(agent.planner) is planner


async def test_under_a_load_test_no_mcp_server_is_started() -> None:
    mocked = AgentBuilder(tools=[ToolRegistry([clock])], mcp_servers={"demo": DEMO_SERVER}, mock_delay_ms=0)
    definition = AgentDefinition(name="a", model=DEMO, tools=("clock",), mcp_servers=("demo",))
    agent = await mocked.build(definition, digest="d", journal=MemoryJournal())
    assert [spec.name for spec in await agent.tools.specs()] == ["clock"]
    await mocked.aclose()


async def test_what_is_not_to_be_had_here_is_a_configuration_error() -> None:
    with pytest.raises(ConfigurationError, match="names MCP servers that are not configured here: nowhere"):
        await builder().build(
            AgentDefinition(name="a", model=DEMO, mcp_servers=("nowhere",)), digest="d", journal=MemoryJournal()
        )
    with pytest.raises(ConfigurationError, match="no model provider 'nobody'"):
        await builder().build(
            AgentDefinition(name="a", model=ModelChoice(provider="nobody")), digest="d", journal=MemoryJournal()
        )


async def test_agents_of_one_builder_have_each_their_own_tools_limits_and_rules() -> None:
    building = builder()
    one = AgentDefinition(name="a", model=DEMO, tools=("calculator",), limits=AgentLimits(steps=3))
    other = AgentDefinition(name="b", model=DEMO, tools=("clock",), planner="one_call")
    for _ in range(2):
        built = [await building.build(one, digest="1", journal=MemoryJournal())]
        built.append(await building.build(other, digest="2", journal=MemoryJournal()))
        assert [[spec.name for spec in await agent.tools.specs()] for agent in built] == [["calculator"], ["clock"]]
        assert [agent.limits.steps for agent in built] == [3, 25]
        assert [type(agent.planner).__name__ for agent in built] == ["ReActPlanner", "OneCallPlanner"]


async def test_runs_of_one_definition_do_not_share_what_they_know_of_their_tools() -> None:
    """A server that is down when one of them asks for its tools is not gone for the other."""
    definition = AgentDefinition(name="a", model=DEMO, tools=("calculator", "mcp_proxy_tool"))
    building = builder()
    agents = [await building.build(definition, digest="d", journal=MemoryJournal()) for _ in range(2)]
    assert agents[0].tools is not agents[1].tools
