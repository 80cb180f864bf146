"""A task service over ports in memory."""

from __future__ import annotations

from datetime import timedelta

import pytest

from ops_core.domain.agent import AgentDefinition
from ops_core.domain.caller import Caller
from ops_core.services.tasks import TaskLimits, TaskService
from ops_core.tests.fakes import FakeNudges, FakeRelay, FakeStore

CITY_SCHEMA = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "days": {"type": "integer", "maximum": 7}},
    "required": ["city"],
    "additionalProperties": False,
}


@pytest.fixture
def caller() -> Caller:
    return Caller()


@pytest.fixture
def nudges() -> FakeNudges:
    return FakeNudges()


@pytest.fixture
def relay() -> FakeRelay:
    return FakeRelay()


@pytest.fixture
async def store(nudges: FakeNudges) -> FakeStore:
    store = FakeStore(nudges=nudges)
    agents = [AgentDefinition(name="assistant"), AgentDefinition(name="weather", input_schema=CITY_SCHEMA)]
    await store.put_agents("default", agents)
    return store


@pytest.fixture
def clock_ahead() -> timedelta:
    """How far this machine's clock is ahead of the database's."""
    return timedelta()


@pytest.fixture
def service(store: FakeStore, relay: FakeRelay, nudges: FakeNudges, clock_ahead: timedelta) -> TaskService:
    return TaskService(
        tasks=store,
        agents=store,
        relay=relay,
        nudges=nudges,
        limits=TaskLimits(max_goal_chars=1_000, max_batch=10),
        model_check=lambda definition: "Set OPENAI_API_KEY." if definition.model.provider == "openai" else None,
        clock=lambda: store.now + clock_ahead,
    )
