"""PostgreSQL is away at the start and in the middle of runs: processes wait, say so, and go on by themselves."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import httpx2
import pytest

from ops_core.tests.conftest import new_database, service_missing
from ops_core.tests.journeys.conftest import EffectServer, ModelServer, production_system
from ops_core.tests.journeys.system import Process, System, alive, until
from ops_core.tests.postgres_cluster import PostgresCluster, PostgresMissing
from ops_core.tests.rabbitmq_node import RabbitmqNode

pytestmark = pytest.mark.services

STEPS = 10
AGENT = f"charger-{STEPS}-200"
ALL_STEPS = [f"step {n}" for n in range(1, STEPS + 1)]
SHORT_LEASE_SECONDS, LONG_LEASE_SECONDS = 2.0, 60.0
#: A request is answered within this when the database is away: the store gives up after 5 s.
ANSWER_SECONDS = 8.0
DOORS = ("api", "rpc", "worker", "housekeeper")


@pytest.fixture(scope="module")
def cluster() -> Iterator[PostgresCluster]:
    """A PostgreSQL of these tests' own: the others' stays up. Tests leave it running."""
    try:
        cluster = PostgresCluster()
    except PostgresMissing as missing:
        service_missing(str(missing))
    yield cluster
    cluster.close()


@pytest.fixture(scope="module")
def system(
    tmp_path_factory: pytest.TempPathFactory,
    cluster: PostgresCluster,
    rabbitmq_node: RabbitmqNode,
    model_server: ModelServer,
    effect_server: EffectServer,
) -> Iterator[System]:
    """An installation on that PostgreSQL, of which nothing has been started."""
    with production_system(
        tmp_path_factory.mktemp("database-away"),
        database_url=cluster.url,
        broker_url=rabbitmq_node.new_vhost(),
        model_server=model_server,
        effect_server=effect_server,
    ) as system:
        system.upgrade()
        yield system


def logged(process: Process, event: str) -> list[dict[str, object]]:
    lines = (json.loads(line) for line in process.output().splitlines() if line.startswith("{"))
    return [line for line in lines if line.get("event") == event]


def has_waited(process: Process) -> bool:
    """It has looked for the database more than once."""
    return len(logged(process, "store.waiting")) >= 2


def test_processes_started_without_the_database_wait_say_so_and_work_once_it_is_there(
    system: System, cluster: PostgresCluster
) -> None:
    cluster.stop()
    try:
        processes = [
            system.start("api", "api", "start"),
            system.start("rpc", "rpc", "start"),
            system.start_worker("patient", queues="patient", lease_seconds=LONG_LEASE_SECONDS),
            system.start_worker("hasty", queues="hasty", lease_seconds=SHORT_LEASE_SECONDS),
            system.start_housekeeper(),
        ]
        for process in processes:
            until(partial(has_waited, process), what=f"{process.name} waits and says so")
    finally:
        cluster.start()
    system.wait_ready(processes[0])
    with system.client() as client:
        for queue in ("patient", "hasty"):
            task = client.tasks.submit("assistant", "What is 6 * 7?", queue=queue)
            assert client.tasks.wait(task.id, timeout_seconds=60).status == "completed"
    assert [process.popen.poll() for process in processes] == [None] * len(processes)


def test_an_outage_in_the_middle_of_runs_loses_and_repeats_no_step(
    system: System, cluster: PostgresCluster, effect_server: EffectServer
) -> None:
    """Of the test before it needs the processes, which it leaves as it found them."""
    [api] = [process for process in system.processes if process.name == "api"]
    with system.client() as client, httpx2.Client(base_url=system.url, timeout=30) as http:
        tasks = {queue: client.tasks.submit(AGENT, "Charge", queue=queue).id for queue in ("patient", "hasty")}
        until(lambda: all(len(effect_server.of(t)) >= 2 for t in tasks.values()), what="two steps each are done")
        [hasty] = [process for process in system.processes if process.name == "hasty"]
        cluster.stop()
        try:
            assert http.get("/livez").status_code == 200
            assert http.get("/readyz").status_code == 503
            task = {"agent": "assistant", "goal": "What is 6 * 7?"}
            for method, path in (("POST", ""), ("GET", ""), ("GET", f"/{tasks['patient']}")):
                began = time.monotonic()
                answer = http.request(method, f"/api/v1/tasks{path}", json=task if method == "POST" else None)
                assert time.monotonic() - began < ANSWER_SECONDS
                assert (answer.status_code, answer.json()["code"]) == (503, "store_unavailable")
                assert answer.headers["content-type"] == "application/problem+json"
                assert int(answer.headers["retry-after"]) > 0
                assert "socket" not in answer.text
            until(lambda: logged(hasty, "run.lost"), what="the run with the short lease is given up")
        finally:
            cluster.start()
        until(lambda: http.get("/readyz").status_code == 200, what="the API is ready again by itself")
        done = {queue: client.tasks.wait(task_id, timeout_seconds=60) for queue, task_id in tasks.items()}
        events = {queue: list(client.tasks.past_events(task_id)) for queue, task_id in tasks.items()}
    assert api.popen.poll() is None
    # Its lease outlived the outage, so what it had done was written after it, by the same run.
    assert (done["patient"].status, done["patient"].crashes, done["patient"].attempt) == ("completed", 0, 1)
    assert effect_server.of(tasks["patient"]) == ALL_STEPS
    # The other was given up and claimed again: what was not recorded may be sent again, under the same key.
    assert (done["hasty"].status, done["hasty"].crashes, done["hasty"].attempt) == ("completed", 1, 1)
    assert len(set(effect_server.keys_of(tasks["hasty"]))) == STEPS
    assert len(effect_server.of(tasks["hasty"])) <= STEPS + 1
    for queue in tasks:
        assert [event.seq for event in events[queue]] == list(range(1, len(events[queue]) + 1))
        assert [event.type for event in events[queue]].count("tool.completed") == STEPS


@contextmanager
def all_doors(directory: Path, database_url: str, **settings: object) -> Iterator[list[Process]]:
    """One process of each kind, started at the same time; none of them gets as far as RabbitMQ."""
    with System(directory, database_url=database_url, broker_url="amqp://127.0.0.1:1/", **settings) as system:
        yield [system.start(door, door, "start") for door in DOORS]


def told(process: Process) -> str:
    """The one line that is no log line, before the advice."""
    line, *advice = [line for line in process.output().splitlines() if line and not line.startswith("{")]
    assert [word.split(":")[0] for word in advice] == ["try"], process.output()
    return line


def test_who_waits_for_the_database_in_vain_gives_up_with_one_clear_line(tmp_path: Path) -> None:
    nowhere = f"postgresql://nobody@/ops?host={tmp_path}"
    with all_doors(tmp_path, nowhere, start_timeout_seconds=1.0) as processes:
        for process in processes:
            assert process.popen.wait(60) == 1
            assert told(process).startswith("error: no answer from postgresql://")
            assert "within 1 s" in told(process)


def test_who_finds_no_schema_says_how_to_make_one(tmp_path: Path, cluster: PostgresCluster) -> None:
    with new_database(cluster.url, template="template1") as url, all_doors(tmp_path, url) as processes:
        for process in processes:
            assert process.popen.wait(60) == 2
            assert "run `ops-core db upgrade`" in told(process)


def test_a_signal_ends_the_wait_for_the_database(tmp_path: Path) -> None:
    with all_doors(tmp_path, f"postgresql://nobody@/ops?host={tmp_path}") as processes:
        for process in processes:
            until(partial(logged, process, "store.waiting"), what=f"{process.name} waits")
            family = process.family()
            assert process.stop() == 0
            assert [pid for pid in family if alive(pid)] == []
            assert "Traceback" not in process.output()
