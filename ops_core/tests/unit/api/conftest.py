"""The HTTP door over ports in memory, driven without a network."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

import httpx2
import pytest
from fastapi import FastAPI

from ops_core.api.app import make_app
from ops_core.api.door import ApiConfig, ApiServices
from ops_core.domain.agent import AgentDefinition, ModelChoice
from ops_core.services.limits import TaskLimits
from ops_core.tests.fake_approvals import FakeApprovals
from ops_core.tests.fake_queues import FakeQueues
from ops_core.tests.fakes import FakeDoorbell, FakeNudges, FakeRelay, FakeStore
from ops_core.tests.in_memory import services_over

LIMITS = TaskLimits(max_goal_chars=1_000, max_batch=10, max_wait_seconds=5.0)

AppMaker = Callable[..., FastAPI]


@pytest.fixture
async def store() -> FakeStore:
    store = FakeStore(nudges=FakeNudges())
    weather = AgentDefinition(
        name="weather", input_schema={"properties": {"city": {"type": "string"}}, "required": ["city"]}
    )
    paid = AgentDefinition(name="paid", model=ModelChoice(provider="openai"))
    await store.put_agents("default", [AgentDefinition(name="assistant"), weather, paid])
    return store


@pytest.fixture
def doorbell() -> FakeDoorbell:
    return FakeDoorbell()


@pytest.fixture
def relay() -> FakeRelay:
    return FakeRelay()


@pytest.fixture
def approvals(store: FakeStore) -> FakeApprovals:
    return FakeApprovals(store)


@pytest.fixture
def queues(store: FakeStore) -> FakeQueues:
    return FakeQueues(store)


@pytest.fixture
def make(
    store: FakeStore, doorbell: FakeDoorbell, relay: FakeRelay, approvals: FakeApprovals, queues: FakeQueues
) -> AppMaker:
    over_memory = services_over(
        store,
        limits=LIMITS,
        relay=relay,
        approvals=approvals,
        queues=queues,
        model_check=lambda definition: "Set OPENAI_API_KEY." if definition.model.provider == "openai" else None,
        clock=lambda: store.now,
    )
    services = ApiServices(**over_memory, health=store, doorbell=doorbell)

    def make_with(**settings: object) -> FastAPI:
        config = {"limits": LIMITS, "max_body_bytes": 10_000, **settings}
        return make_app(services, ApiConfig(**config))  # type: ignore[arg-type] # settings by name

    return make_with


@pytest.fixture
def app(make: AppMaker) -> FastAPI:
    return make()


@pytest.fixture
async def client(app: FastAPI) -> AsyncIterator[httpx2.AsyncClient]:
    async with http(app) as client:
        yield client


def http(app: FastAPI) -> httpx2.AsyncClient:
    return httpx2.AsyncClient(transport=httpx2.ASGITransport(app=app), base_url="http://localhost")
