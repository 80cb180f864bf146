"""A task that kills whatever process it runs in, beside twenty that do nothing wrong."""

from __future__ import annotations

import os
import time

import pytest

from ops_core.tests.journeys import naughty_tools
from ops_core.tests.journeys.conftest import ModelServer
from ops_core.tests.journeys.system import System

pytestmark = [pytest.mark.services, pytest.mark.timeout(500)]

NEIGHBOURS = 20
#: Two crashes of everybody at a lease of two seconds each, then everybody alone, a few at a time.
BOUND_SECONDS = 300.0


def test_a_poison_task_is_quarantined_and_its_neighbours_are_not(production: System, model_server: ModelServer) -> None:
    naughty_tools.install(production.directory / "plugins")
    production.environment["PYTHONPATH"] = os.pathsep.join(
        filter(None, (str(production.directory / "plugins"), os.environ.get("PYTHONPATH")))
    )
    for name, tool, delay in (("poison", "segfault", 10), ("neighbour", "calculator", 1000)):
        model = f"{{provider: openai-compatible, name: react-1-delay-{delay}, base_url: '{model_server.url}'}}"
        agent = f"model: {model}\ntools: [{tool}]\n"
        (production.directory / "agents" / f"{name}.yaml").write_text(agent)
    production.start_worker("worker-1")
    production.start_worker("worker-2")
    production.start_housekeeper()
    production.start_api()
    with production.client() as client:
        began = time.monotonic()
        poison = client.tasks.submit("poison", "Do as you are told")
        neighbours = [client.tasks.submit("neighbour", f"Work {n}") for n in range(NEIGHBOURS)]
        left = [client.tasks.wait(task.id, timeout_seconds=BOUND_SECONDS) for task in neighbours]
        dead = client.tasks.wait(poison.id, timeout_seconds=BOUND_SECONDS)
        assert time.monotonic() - began < BOUND_SECONDS
        types = [event.type for event in client.tasks.past_events(poison.id)]
    assert [task.status for task in left] == ["completed"] * NEIGHBOURS
    assert dead.error is not None
    assert (dead.status, dead.error.code, dead.attempt) == ("failed", "poison", 3)
    assert "SIGSEGV" in dead.error.message
    # It took its workers along, which convicts nobody; then it was alone, and that was counted.
    assert dead.crashes >= 2
    assert [t for t in types if t in {"task.retrying", "task.failed"}] == [
        *("task.retrying", "task.retrying", "task.failed")
    ]
