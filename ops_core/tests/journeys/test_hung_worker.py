"""A tool stops the process it runs in, or tells it to end: the only worker goes on with the task all the same."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from ops_core.client.answers import Task
from ops_core.tests.journeys import naughty_tools
from ops_core.tests.journeys.conftest import ModelServer
from ops_core.tests.journeys.system import System, alive

pytestmark = pytest.mark.services


@pytest.fixture(scope="module")
def system(
    new_production: Callable[[str], AbstractContextManager[System]], model_server: ModelServer
) -> Iterator[System]:
    with new_production("hung") as system:
        naughty_tools.install(system.directory / "plugins")
        plugins = filter(None, (str(system.directory / "plugins"), os.environ.get("PYTHONPATH")))
        system.environment |= {
            "PYTHONPATH": os.pathsep.join(plugins),
            naughty_tools.CALLS_FILE: str(system.directory / "calls"),
        }
        model = f"model: {{provider: openai-compatible, name: react-1-delay-10, base_url: '{model_server.url}'}}\n"
        for tool in ("stand_still_once", "send_sigterm"):
            (system.directory / "agents" / f"{tool.replace('_', '-')}.yaml").write_text(f"{model}tools: [{tool}]\n")
        system.start_worker("worker", loop_stall_seconds=2)
        system.start_housekeeper()
        system.start_api()
        yield system


def run(system: System, agent: str) -> tuple[Task, int]:
    """The task, and the process its tool ran in last."""
    with system.client() as client:
        task = client.tasks.wait(client.tasks.submit(agent, "Do as you are told").id, timeout_seconds=90)
        [said] = [e.payload["content"] for e in client.tasks.past_events(task.id) if e.type == "tool.completed"]
    return task, int(str(said))


def events(system: System) -> str:
    [worker] = [process for process in system.processes if process.name == "worker"]
    return worker.output()


def test_a_worker_process_that_a_tool_has_stopped_is_killed_and_another_goes_on(system: System) -> None:
    task, ran_in = run(system, "stand-still-once")
    [stopped] = naughty_tools.calls_in(Path(system.environment[naughty_tools.CALLS_FILE]))
    assert (task.status, task.crashes) == ("completed", 1)
    assert not alive(int(stopped))
    assert ran_in != int(stopped)
    assert '"event": "child.stalled"' in events(system)


def test_a_worker_process_does_not_end_because_a_tool_tells_it_to(system: System) -> None:
    [worker] = [process for process in system.processes if process.name == "worker"]
    before = worker.family()
    task, ran_in = run(system, "send-sigterm")
    assert (task.status, task.crashes) == ("completed", 0)
    assert '"event": "stop.ignored"' in events(system)
    assert ran_in in before & worker.family()
    # The supervisor is heeded.
    assert worker.stop() == 0
