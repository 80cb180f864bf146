"""Workers that are told to stop, lose their supervisor, or lose a child: nothing is lost, nothing is left behind."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from functools import partial
from uuid import UUID

import pytest

from ops_core.tests.journeys.conftest import EffectServer, ModelServer
from ops_core.tests.journeys.system import Process, System, alive, descendants, until

pytestmark = pytest.mark.services

STEPS = 10
AGENT = f"charger-{STEPS}-200"
MODEL = f"react-{STEPS}-delay-200"
DRAIN_SECONDS = 5.0


class Workers:
    """The workers of one installation: one that a test has left running serves the next, as a start is slow."""

    def __init__(self, system: System) -> None:
        self._system = system
        self._running: list[tuple[Process, int]] = []
        self._started = 0

    def of(self, *children: int) -> list[Process]:
        """As many workers, each with so many child processes, and no others."""
        wanted, kept = list(children), []
        for process, size in self._running:
            if process.popen.poll() is None and size in wanted:
                wanted.remove(size)
                kept.append((process, size))
            else:
                process.kill()
        fresh = [(self._start(size), size) for size in wanted]
        for process, size in fresh:
            until(partial(has_started, process, times=size), seconds=60, what=f"{process.name} has started")
        self._running = kept + fresh
        return [process for process, _ in self._running]

    def _start(self, children: int) -> Process:
        self._started += 1
        return self._system.start_worker(f"worker-{self._started}", processes=children)


def has_started(worker: Process, *, times: int) -> bool:
    """Children of it have begun to take tickets so many times."""
    return worker.output().count('"door": "worker"') == times


@pytest.fixture(scope="module")
def system(new_production: Callable[[str], AbstractContextManager[System]]) -> Iterator[System]:
    """An API and a housekeeper."""
    with new_production("drained") as system:
        system.environment["OPS_CORE_DRAIN_SECONDS"] = str(DRAIN_SECONDS)
        system.start_housekeeper()
        system.start_api()
        yield system


@pytest.fixture(scope="module")
def workers(system: System) -> Workers:
    return Workers(system)


def submitted(system: System, agent: str, goal: str) -> UUID:
    with system.client() as client:
        return client.tasks.submit(agent, goal).id


def holder_of(system: System, task_id: UUID) -> int:
    """The process that holds the task, or held it last."""
    with system.client() as client:
        worker_id = client.tasks.get(task_id).worker_id
    assert worker_id is not None
    return int(worker_id.rsplit("-", 2)[1])


def test_a_worker_told_to_stop_hands_its_task_over_and_no_step_is_repeated(
    system: System, workers: Workers, model_server: ModelServer, effect_server: EffectServer
) -> None:
    both = workers.of(1, 1)
    calls = model_server.calls(MODEL)
    task_id = submitted(system, AGENT, "Charge for each step")
    until(lambda: len(effect_server.of(task_id)) >= 2, what="two steps are done")
    first = next(worker for worker in both if holder_of(system, task_id) in worker.family())
    [second] = [worker for worker in both if worker is not first]

    began = time.monotonic()
    assert first.stop() == 0
    assert time.monotonic() - began < DRAIN_SECONDS + 5

    with system.client() as client:
        task = client.tasks.wait(task_id, timeout_seconds=60)
        events = list(client.tasks.past_events(task_id))
    assert (task.status, task.attempt, task.crashes) == ("completed", 1, 0)
    types = [event.type for event in events]
    assert (types.count("task.handed_over"), types.count("task.lease_lost"), types.count("task.started")) == (1, 0, 2)
    assert holder_of(system, task_id) in second.family()
    assert effect_server.of(task_id) == [f"step {n}" for n in range(1, STEPS + 1)]
    # The answer that was under way may be thrown away at the bound; here it came in time.
    assert model_server.calls(MODEL) - calls == STEPS + 1


def test_a_task_handed_over_to_nobody_waits_for_the_next_worker(system: System, workers: Workers) -> None:
    [first] = workers.of(1)
    task_id = submitted(system, "charger-2-1500", "Charge for each step")
    with system.client() as client:
        until(lambda: client.tasks.get(task_id).status == "running", what="the task runs")
        assert first.stop() == 0
        assert client.tasks.get(task_id).status == "queued"
        workers.of(2)
        assert client.tasks.wait(task_id, timeout_seconds=60).status == "completed"


def test_a_child_that_dies_is_started_again_and_its_neighbour_goes_on(workers: Workers) -> None:
    [worker] = workers.of(2)
    started = worker.output().count('"door": "worker"')
    children = {pid for pid in descendants(worker.pid) if _parent(pid) == worker.pid}
    assert len(children) == 2
    victim, neighbour = sorted(children)
    os.kill(victim, signal.SIGKILL)
    until(partial(has_started, worker, times=started + 1), seconds=60, what="a new child has started")
    now = {pid for pid in descendants(worker.pid) if _parent(pid) == worker.pid}
    assert neighbour in now
    assert victim not in now
    assert len(now) == 2
    assert worker.output().count('"event": "child.died"') == 1


def test_no_child_and_no_mcp_server_outlives_a_supervisor_that_was_killed(system: System, workers: Workers) -> None:
    [worker] = workers.of(2)
    with system.client() as client:
        # Its tool is an MCP server over stdio, a child of the child.
        task_id = submitted(system, "assistant", "Look up the price of a widget in the handbook and multiply it by 12")
        assert client.tasks.wait(task_id, timeout_seconds=60).status == "completed"
    family = worker.family()
    assert len(family) >= 4
    os.kill(worker.pid, signal.SIGKILL)
    worker.popen.wait(5)
    until(lambda: not [pid for pid in family if alive(pid)], seconds=DRAIN_SECONDS + 10, what="the children are gone")


def _parent(pid: int) -> int:
    with open(f"/proc/{pid}/stat") as stat:
        return int(stat.read().rpartition(")")[2].split()[1])
