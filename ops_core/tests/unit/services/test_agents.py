from __future__ import annotations

import pytest

from ops_core.domain.agent import AgentDefinition
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
