"""A worker stands still for longer than its lease, another finishes the task, and the first one wakes up."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from uuid import UUID

import pytest

from ops_core.tests.journeys.conftest import EffectServer, ModelServer
from ops_core.tests.journeys.system import Process, System, until

pytestmark = pytest.mark.services

STEPS = 10
AGENT = f"charger-{STEPS}-200"
MODEL = f"react-{STEPS}-delay-200"


@pytest.fixture(scope="module")
def system(new_production: Callable[[str], AbstractContextManager[System]]) -> Iterator[System]:
    with new_production("stopped") as system:
        system.start_worker("worker-1")
        system.start_worker("worker-2")
        system.start_housekeeper()
        system.start_api()
        yield system


def worker_of(system: System, task_id: UUID) -> tuple[Process, int]:
    """The worker that holds the task, and the process of it that does."""
    with system.client() as client:
        worker_id = client.tasks.get(task_id).worker_id
    assert worker_id is not None
    pid = int(worker_id.rsplit("-", 2)[1])
    return next(p for p in system.processes if p.name.startswith("worker") and pid in p.family()), pid


def recorded(system: System, task_id: UUID) -> int:
    with system.client() as client:
        return sum(event.type == "tool.completed" for event in client.tasks.past_events(task_id))


def submit_and_stop_the_worker(system: System, model_server: ModelServer) -> tuple[UUID, Process, int]:
    """SIGSTOP while the model is asked: one that is about to ask when it is stopped does so when it goes on, which
    nobody can prevent (see the late call among the guarantees)."""
    with system.client() as client:
        task_id = client.tasks.submit(AGENT, "Charge for each step").id
    until(lambda: recorded(system, task_id) >= 3, what="three charges are recorded")
    worker, pid = worker_of(system, task_id)
    asked = model_server.calls(MODEL)
    until(lambda: model_server.calls(MODEL) > asked, what="the model is asked once more")
    os.kill(pid, signal.SIGSTOP)
    return task_id, worker, pid


def test_a_worker_that_wakes_up_after_its_lease_does_nothing_more(
    system: System, model_server: ModelServer, effect_server: EffectServer
) -> None:
    task_id, worker, pid = submit_and_stop_the_worker(system, model_server)
    with system.client() as client:
        task = client.tasks.wait(task_id, timeout_seconds=60)
    assert (task.status, task.crashes) == ("completed", 1)
    effects, calls = effect_server.keys_of(task_id), model_server.calls(MODEL)
    assert len(effects) == len(set(effects)) == STEPS

    os.kill(pid, signal.SIGCONT)
    until(lambda: str(task_id) in lines_with(worker, "run.lost"), what="the worker notices that its run is over")
    with system.client() as client:
        # It is as good as new: the same process takes the next tasks.
        others = [client.tasks.submit("charger-3-10", "Charge for each step").id for _ in range(10)]
        assert all(client.tasks.wait(other, timeout_seconds=60).status == "completed" for other in others)
        events = [event.type for event in client.tasks.past_events(task_id)]
    assert effect_server.keys_of(task_id) == effects
    assert model_server.calls(MODEL) == calls
    assert (events.count("task.lease_lost"), events.count("task.completed")) == (1, 1)
    assert events.count("tool.completed") == STEPS


def test_a_worker_that_wakes_up_in_time_goes_on(
    system: System, model_server: ModelServer, effect_server: EffectServer
) -> None:
    """The control: what the test above does not see after the waking, it would have seen."""
    task_id, _, pid = submit_and_stop_the_worker(system, model_server)
    effects = effect_server.keys_of(task_id)
    os.kill(pid, signal.SIGCONT)
    with system.client() as client:
        task = client.tasks.wait(task_id, timeout_seconds=60)
    assert (task.status, task.crashes) == ("completed", 0)
    assert len(effects) < len(effect_server.keys_of(task_id)) == STEPS


def lines_with(worker: Process, event: str) -> str:
    return "\n".join(line for line in worker.output().splitlines() if f'"event": "{event}"' in line)
