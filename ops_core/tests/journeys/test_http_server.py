"""The HTTP door behind a real server and socket, over ports in memory."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import httpx2
import pytest
from fastapi import FastAPI

from ops_core.api.app import make_app
from ops_core.api.door import ApiConfig, ApiServices
from ops_core.api.serve import serving
from ops_core.domain.agent import AgentDefinition
from ops_core.services.tasks import TaskLimits
from ops_core.tests.fakes import FakeNudges, FakeStore
from ops_core.tests.in_memory import services_over

TASKS = "/api/v1/tasks"
STREAM = {"Accept": "text/event-stream"}
ASK = {"agent": "assistant", "goal": "What is 2 + 2?"}


@pytest.fixture
def nudges() -> FakeNudges:
    return FakeNudges()


@pytest.fixture
async def app(nudges: FakeNudges) -> FastAPI:
    store = FakeStore(nudges=nudges)
    await store.put_agents("default", [AgentDefinition(name="assistant")])
    limits = TaskLimits()
    services = ApiServices(**services_over(store, limits=limits), health=store)
    return make_app(services, ApiConfig(limits=limits))


@asynccontextmanager
async def connected(app: FastAPI) -> AsyncIterator[httpx2.AsyncClient]:
    async with (
        serving(app, host="127.0.0.1", port=0) as port,
        httpx2.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=30) as client,
    ):
        yield client


async def test_a_stop_ends_open_streams_and_waits_within_moments(app: FastAPI, nudges: FakeNudges) -> None:
    server = AsyncExitStack()
    port = await server.enter_async_context(serving(app, host="127.0.0.1", port=0))
    async with httpx2.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=30) as client:
        task = (await client.post(TASKS, json=ASK)).json()
        waiting = asyncio.create_task(client.get(f"{TASKS}/{task['id']}/wait?timeout=30"))
        async with client.stream("GET", f"{TASKS}/{task['id']}/events", headers=STREAM) as stream:
            lines = stream.aiter_lines()
            assert await anext(lines) == "retry: 1000"
            async with asyncio.timeout(5):
                while nudges.listeners == 0:
                    await asyncio.sleep(0.01)
            began = time.monotonic()
            stopping = asyncio.create_task(server.aclose())
            rest = [line async for line in lines]
        assert (await waiting).json()["status"] == "queued"
        await stopping
    assert time.monotonic() - began < 3
    assert "id: 1" in rest


async def test_a_wait_is_given_up_when_its_client_leaves(app: FastAPI, nudges: FakeNudges) -> None:
    async with connected(app) as client:
        task = (await client.post(TASKS, json=ASK)).json()
        with pytest.raises(httpx2.ReadTimeout):
            await client.get(f"{TASKS}/{task['id']}/wait?timeout=30", timeout=0.2)
        async with asyncio.timeout(5):
            while nudges.listeners:
                await asyncio.sleep(0.01)


async def test_a_stream_is_given_up_when_its_client_leaves(app: FastAPI, nudges: FakeNudges) -> None:
    async with connected(app) as client:
        task = (await client.post(TASKS, json=ASK)).json()
        url = f"{TASKS}/{task['id']}/events"
        async with client.stream("GET", url, headers=STREAM) as stream:
            await anext(stream.aiter_lines())
            async with asyncio.timeout(5):
                while nudges.listeners == 0:
                    await asyncio.sleep(0.01)
        async with asyncio.timeout(5):
            while nudges.listeners:
                await asyncio.sleep(0.01)


async def test_a_body_that_is_too_large_is_answered_over_a_socket_too(app: FastAPI) -> None:
    async with connected(app) as client:
        answer = await client.post(TASKS, content=b" " * 2_000_000, headers={"Content-Type": "application/json"})
        assert (answer.status_code, answer.json()["code"]) == (413, "payload_too_large")
