from __future__ import annotations

import asyncio

import pytest

from ops_core.domain.agent import Agent, AgentDefinition
from ops_core.domain.caller import Caller
from ops_core.errors import AgentNotFound
from ops_core.services.agents import AgentService, RecentAgents
from ops_core.tests.fakes import FakeStore


async def test_agents_are_listed_by_name(store: FakeStore, caller: Caller) -> None:
    await store.put_agents("default", [AgentDefinition(name="aaa")])
    assert [agent.name for agent in await AgentService(agents=store).list(caller)] == ["aaa", "assistant", "weather"]


async def test_an_unknown_agent_is_told_with_those_there_are(store: FakeStore, caller: Caller) -> None:
    with pytest.raises(AgentNotFound, match=r"did you mean 'weather'.*assistant, weather"):
        await AgentService(agents=store).get(caller, "wether")


async def test_where_there_is_no_agent_at_all_the_error_says_what_to_do(caller: Caller) -> None:
    with pytest.raises(AgentNotFound, match="none is registered"):
        await AgentService(agents=FakeStore()).get(caller, "assistant")


async def test_an_agent_is_read_again_once_it_is_no_longer_fresh(store: FakeStore) -> None:
    now = 0.0
    recent = RecentAgents(store, fresh_seconds=1.0, monotonic=lambda: now)
    store.reads = 0
    await recent.get("default", "assistant")
    await recent.get("default", "assistant")
    assert store.reads == 1
    now = 1.0
    await recent.get("default", "assistant")
    assert store.reads == 2


async def test_that_there_is_no_agent_is_not_remembered(store: FakeStore) -> None:
    recent = RecentAgents(store, monotonic=lambda: 0.0)
    assert await recent.get("default", "new") is None
    await store.put_agents("default", [AgentDefinition(name="new")])
    assert await recent.get("default", "new") is not None


class SlowAgents(FakeStore):
    """Answers when it is let, and counts how often it was asked."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = 0
        self.let_go = asyncio.Event()

    async def get_agent(self, namespace: str, name: str) -> Agent | None:
        self.asked += 1
        agent = await super().get_agent(namespace, name)
        await self.let_go.wait()
        return agent


async def test_a_burst_of_submits_reads_an_agent_once() -> None:
    store = SlowAgents()
    await store.put_agents("default", [AgentDefinition(name="assistant")])
    recent = RecentAgents(store, fresh_seconds=1.0)
    asking = [asyncio.create_task(recent.get("default", "assistant")) for _ in range(16)]
    await asyncio.sleep(0)
    asking[0].cancel()
    store.let_go.set()
    found = await asyncio.gather(*asking[1:])
    assert {agent.name for agent in found if agent is not None} == {"assistant"}
    assert (len(found), store.asked) == (15, 1)


async def test_an_agent_that_is_registered_while_it_is_looked_for_is_found_by_who_asks_after_that() -> None:
    store = SlowAgents()
    recent = RecentAgents(store, fresh_seconds=1.0)
    before = asyncio.create_task(recent.get("default", "new"))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    await store.put_agents("default", [AgentDefinition(name="new")])
    after = asyncio.create_task(recent.get("default", "new"))
    await asyncio.sleep(0)
    store.let_go.set()
    assert await before is None
    assert await after is not None


async def test_nobody_is_given_what_a_read_of_long_ago_found() -> None:
    store, now = SlowAgents(), 0.0
    await store.put_agents("default", [AgentDefinition(name="assistant", instructions="old")])
    recent = RecentAgents(store, fresh_seconds=0.2, monotonic=lambda: now)
    before = asyncio.create_task(recent.get("default", "assistant"))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    await store.put_agents("default", [AgentDefinition(name="assistant", instructions="new")])
    now = 0.7
    after = asyncio.create_task(recent.get("default", "assistant"))
    await asyncio.sleep(0)
    store.let_go.set()
    found = [await before, await after, await recent.get("default", "assistant")]
    assert [agent.definition.instructions for agent in found if agent is not None] == ["old", "new", "new"]
