"""The first minute: `ops-core up --demo` shows a real task, leaves the system up, and ends without a trace."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from ops_core.tests.journeys.system import Process, System, alive, until

ANSWER = "12.50 * 12 = 150"


@pytest.fixture
def system(tmp_path: Path) -> Iterator[System]:
    with System(tmp_path, log_level="warning") as system:
        yield system


def started(system: System, name: str, *options: str) -> Process:
    process = system.start(name, "up", *options)
    system.wait_ready(process)
    until(lambda: "Ctrl-C stops it" in process.output(), what="everything is said")
    return process


def test_the_demo_shows_its_steps_and_its_answer_and_leaves_the_system_up(system: System) -> None:
    process = started(system, "up", "--demo")
    said = process.output()
    for line in (
        f"API         {system.url}/api/v1",
        f"gRPC        127.0.0.1:{system.grpc_port}",
        "Agents      assistant",
    ):
        assert line in said
    steps = ["task.submitted", "task.started", "demo.read(", "calculator(", "task.completed"]
    places = [*(said.index(step) for step in steps), said.rindex(ANSWER)]
    assert places == sorted(places)
    # What C libraries have to say is nobody's business here.
    assert "fork_posix" not in said
    again = system.run("task", "run", "assistant", "What is 17 * 23?")
    assert (again.returncode, "391" in again.stdout) == (0, True)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_stopping_is_clean(system: System, number: signal.Signals) -> None:
    process = started(system, "up", "--demo")
    family = process.family()
    process.popen.send_signal(number)
    assert process.popen.wait(30) == 0
    assert "Traceback" not in process.output()
    assert "Error" not in process.output()
    assert [pid for pid in family if alive(pid)] == []


def test_stopping_in_the_middle_of_the_demo_is_clean_and_loses_nothing(system: System) -> None:
    system.environment["AGENTKIT_LLM_MODEL"] = "demo:slow"
    process = system.start("up", "up", "--demo")
    until(lambda: "task.started" in process.output(), what="the demo runs")
    family = process.family()
    process.popen.send_signal(signal.SIGINT)
    assert process.popen.wait(30) == 0
    assert "Traceback" not in process.output()
    assert [pid for pid in family if alive(pid)] == []
    system.wait_ready(system.start("again", "up"))
    [task_id] = system.run("task", "list", "-q").stdout.split()
    assert ANSWER in system.run("task", "wait", task_id).stdout


def test_the_same_store_is_used_again(system: System) -> None:
    codes = [system.run("up", "--demo", "--exit-after-demo") for _ in range(2)]
    assert [(done.returncode, ANSWER in done.stdout) for done in codes] == [(0, True)] * 2
    system.wait_ready(system.start("up", "up"))
    assert len(system.run("task", "list", "-q").stdout.splitlines()) == 2


def test_a_second_one_says_which_port_is_taken(system: System) -> None:
    started(system, "up")
    second = system.run("up", "--demo")
    assert second.returncode == 2
    assert f"port {system.port} on 127.0.0.1 is in use" in second.stderr
    assert "--port" in second.stderr
    assert "Traceback" not in second.stderr


def test_doctor_knows_the_server_that_holds_the_ports(system: System) -> None:
    started(system, "up")
    told = system.run("doctor")
    assert told.returncode == 0
    assert f"port {system.port} (HTTP): Opspawn Core " in told.stdout
