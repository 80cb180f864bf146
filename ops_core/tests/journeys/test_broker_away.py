"""RabbitMQ is away at a submit, at a start, in the middle of runs: nothing is lost and nothing is done twice."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from uuid import UUID

import httpx2
import pytest

from ops_core.client import Client
from ops_core.tests.journeys.conftest import EffectServer
from ops_core.tests.journeys.gate import Gate
from ops_core.tests.journeys.system import Process, System, until
from ops_core.tests.rabbitmq_node import RabbitmqNode

pytestmark = pytest.mark.services

STEPS = 10
AGENT = f"charger-{STEPS}-200"
ALL_STEPS = [f"step {n}" for n in range(1, STEPS + 1)]
#: How long a task is watched that nobody should ever run.
WATCHED_SECONDS = 3.0

NewProduction = Callable[[str], AbstractContextManager[System]]


@contextmanager
def away(node: RabbitmqNode) -> Iterator[None]:
    """While the block runs, RabbitMQ is away."""
    node.stop()
    try:
        yield
    finally:
        node.start()


def has_said(process: Process, event: str) -> bool:
    return f'"event": "{event}"' in process.output()


def finished(client: Client, task_id: UUID) -> None:
    task = client.tasks.wait(task_id, timeout_seconds=60)
    assert (task.status, task.attempt, task.crashes) == ("completed", 1, 0), task


def test_what_runs_and_what_is_submitted_while_rabbitmq_restarts_is_done_once(
    running_production: System, rabbitmq_node: RabbitmqNode, effect_server: EffectServer
) -> None:
    system = running_production
    with system.client() as client:
        running = [client.tasks.submit(AGENT, "Charge for each step").id for _ in range(5)]
        until(lambda: all(effect_server.of(task_id) for task_id in running), what="all of them have begun")
        with away(rabbitmq_node):
            # By a plain client, which tries nothing again.
            answers = [
                httpx2.post(f"{system.url}/api/v1/tasks", json={"agent": AGENT, "goal": "Charge"}, timeout=10)
                for _ in range(3)
            ]
            assert [answer.status_code for answer in answers] == [201] * 3
            assert httpx2.get(f"{system.url}/readyz?verbose", timeout=10).status_code == 200
            assert any(len(effect_server.of(task_id)) < STEPS for task_id in running), "no run was under way"
        submitted = [UUID(answer.json()["id"]) for answer in answers]
        for task_id in (*running, *submitted):
            finished(client, task_id)
    for task_id in (*running, *submitted):
        assert effect_server.of(task_id) == ALL_STEPS


def test_processes_start_without_rabbitmq_say_so_and_a_task_whose_api_died_before_it_rang_runs(
    new_production: NewProduction, rabbitmq_node: RabbitmqNode
) -> None:
    with new_production("broker-away") as system:
        with away(rabbitmq_node):
            housekeeper = system.start_housekeeper()
            worker = system.start_worker("worker")
            api = system.start_api()
            for process in (api, worker, housekeeper):
                until(partial(has_said, process, "broker.lost"), what=f"{process.name} says so")
                assert process.popen.poll() is None
            with system.client() as client:
                task = client.tasks.submit("assistant", "What is 6 * 7?")
                assert client.tasks.get(task.id).status == "queued"
            api.kill()
        again = system.start_api()
        with system.client() as client:
            finished(client, task.id)
            finished(client, client.tasks.submit("assistant", "What is 6 * 7?").id)
        assert has_said(worker, "broker.back")
        assert has_said(housekeeper, "housekeeper.rang")
        assert again.stop() == 0


def test_without_a_housekeeper_a_task_that_nobody_rang_for_stays_queued_until_its_api_reaches_rabbitmq(
    new_production: NewProduction, rabbitmq_node: RabbitmqNode
) -> None:
    """The negative control of the test above, whose task only a housekeeper could ring for; and what the relay does."""
    with new_production("unrung") as system, Gate(rabbitmq_node.port) as gate:
        worker = system.start_worker("worker")
        through_gate = system.environment["OPS_CORE_BROKER_URL"].replace(f":{rabbitmq_node.port}/", f":{gate.port}/")
        api = system.start("api", "api", "start", broker_url=through_gate)
        system.wait_ready(api)
        with system.client() as client:
            task = client.tasks.submit("assistant", "What is 6 * 7?")
            until(lambda: '"door": "worker"' in worker.output(), seconds=60, what="the worker takes tickets")
            assert client.tasks.wait(task.id, timeout_seconds=WATCHED_SECONDS).status == "queued"
            gate.open()
            finished(client, task.id)
        assert has_said(api, "broker.back")
