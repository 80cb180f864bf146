"""Whole installations, once for all journeys: embedded, and PostgreSQL + RabbitMQ with two workers."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, TypeVar

import pytest

from agentkit.tests.llm.vendor_server import VendorServer
from ops_core.tests.conftest import new_database
from ops_core.tests.free_port import free_port
from ops_core.tests.journeys.effect_server import effects_in
from ops_core.tests.journeys.system import Process, System, is_listening, until
from ops_core.tests.rabbitmq_node import RabbitmqNode

T = TypeVar("T")

LEASE_SECONDS = 2.0
EFFECT_SERVER = "ops_core.tests.journeys.effect_server"


class ModelServer:
    """A model vendor's server in a thread of its own, so that tests may block."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self.vendors = self._run(VendorServer().__aenter__())

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(30)

    @property
    def url(self) -> str:
        return self.vendors.base_url("compatible")

    def calls(self, model: str) -> int:
        """Requests that were accepted for this model."""
        return self.vendors.calls[model]

    def close(self) -> None:
        self._run(self.vendors.__aexit__(None, None, None))
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(30)
        self._loop.close()


class EffectServer:
    """The effect server as a process, and what it was told to do."""

    def __init__(self, directory: Path) -> None:
        self.file = directory / "effects.jsonl"
        self.port = free_port()
        self.process = Process(
            "effects",
            [sys.executable, "-m", EFFECT_SERVER, "--port", str(self.port), "--file", str(self.file)],
            environment=os.environ,
            directory=directory,
        )
        until(lambda: is_listening(self.port), what="the effect server listens")

    def of(self, task_id: object) -> list[str]:
        """The steps charged for by this task, in order."""
        return [effect["step"] for effect in effects_in(self.file) if str(effect["key"]).startswith(str(task_id))]

    def keys_of(self, task_id: object) -> list[str]:
        return [effect["key"] for effect in effects_in(self.file) if str(effect["key"]).startswith(str(task_id))]


@pytest.fixture(scope="session")
def model_server() -> Iterator[ModelServer]:
    server = ModelServer()
    yield server
    server.close()


@pytest.fixture(scope="session")
def effect_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EffectServer]:
    server = EffectServer(tmp_path_factory.mktemp("effects"))
    yield server
    server.process.kill()


def write_agents(directory: Path, model_server: ModelServer, effect_server: EffectServer) -> None:
    """Agents for journeys: `charger-<n>-<ms>` makes n charges, its model taking that long for each answer; `writer`
    says 150 words, one every 20 ms."""
    agents = directory / "agents"
    agents.mkdir()
    for steps, delay in ((3, 10), (10, 200), (2, 1500)):
        model = f"{{provider: openai-compatible, name: react-{steps}-delay-{delay}, base_url: '{model_server.url}'}}"
        (agents / f"charger-{steps}-{delay}.yaml").write_text(f"model: {model}\nmcp_servers: [effects]\n")
    writer = f"{{provider: openai-compatible, name: react-0-words-150-piece-20, base_url: '{model_server.url}'}}"
    (agents / "writer.yaml").write_text(f"model: {writer}\n")
    (agents / "mcp.json").write_text(
        json.dumps({"mcpServers": {"effects": {"type": "http", "url": f"http://127.0.0.1:{effect_server.port}/mcp"}}})
    )


@pytest.fixture(scope="session")
def embedded(
    tmp_path_factory: pytest.TempPathFactory, model_server: ModelServer, effect_server: EffectServer
) -> Iterator[System]:
    """`ops-core up`: SQLite, the in-process queue, one process."""
    directory = tmp_path_factory.mktemp("embedded")
    write_agents(directory, model_server, effect_server)
    with System(directory, database_url=f"sqlite:///{directory}/ops.db") as system:
        system.environment["AGENTKIT_LLM_API_KEY"] = model_server.vendors.key
        system.wait_ready(system.start("up", "up"))
        yield system


@contextmanager
def production_system(
    directory: Path, *, database_url: str, broker_url: str, model_server: ModelServer, effect_server: EffectServer
) -> Iterator[System]:
    """An installation on PostgreSQL and RabbitMQ with no process started yet; the database may want its schema."""
    write_agents(directory, model_server, effect_server)
    with System(
        directory,
        database_url=database_url,
        broker_url=broker_url,
        lease_seconds=LEASE_SECONDS,
        housekeeper_interval_seconds=0.2,
        ring_again_seconds=1.0,
    ) as system:
        system.environment["AGENTKIT_LLM_API_KEY"] = model_server.vendors.key
        yield system


@pytest.fixture
def production(
    tmp_path: Path, postgres_url: str, rabbitmq_url: str, model_server: ModelServer, effect_server: EffectServer
) -> Iterator[System]:
    """PostgreSQL and RabbitMQ of the test's own; it starts the processes it wants."""
    with production_system(
        tmp_path,
        database_url=postgres_url,
        broker_url=rabbitmq_url,
        model_server=model_server,
        effect_server=effect_server,
    ) as system:
        yield system


@pytest.fixture(scope="session")
def new_production(
    tmp_path_factory: pytest.TempPathFactory,
    postgres_server: str,
    postgres_template: str,
    rabbitmq_node: RabbitmqNode,
    model_server: ModelServer,
    effect_server: EffectServer,
) -> Callable[[str], AbstractContextManager[System]]:
    """Makes installations on PostgreSQL and RabbitMQ for tests that share one; no process is started yet."""

    @contextmanager
    def new(name: str) -> Iterator[System]:
        with (
            new_database(postgres_server, template=postgres_template) as database_url,
            production_system(
                tmp_path_factory.mktemp(name),
                database_url=database_url,
                broker_url=rabbitmq_node.new_vhost(),
                model_server=model_server,
                effect_server=effect_server,
            ) as system,
        ):
            yield system

    return new


@pytest.fixture(scope="session")
def running_production(new_production: Callable[[str], AbstractContextManager[System]]) -> Iterator[System]:
    """PostgreSQL, RabbitMQ and every process, with two workers; for tests that leave it as they found it."""
    with new_production("production") as system:
        system.start_worker("worker-1")
        system.start_worker("worker-2")
        system.start_housekeeper()
        system.start_rpc()
        system.start_api()
        yield system
