"""A walk through an approval, with the example's own files: the agent asks, everything is restarted, a person changes
an argument and approves from the terminal, the agent goes on, and the effect happens once, as the person wants it."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from ops_core.client import Client
from ops_core.tests.docs.pages import EXAMPLES
from ops_core.tests.journeys.system import Process, System

#: A walk starts up to six processes and three commands, each a Python of its own.
pytestmark = pytest.mark.timeout(300)

ASKED_FOR = "Refund 80 EUR to Ada"


def refunds(system: System) -> list[dict[str, Any]]:
    """What the till's book holds."""
    book = system.directory / "refunds.jsonl"
    return [json.loads(line) for line in book.read_text().splitlines()] if book.exists() else []


@contextmanager
def example(folder: Path, **settings: object) -> Iterator[System]:
    shutil.copytree(EXAMPLES / "approvals", folder, dirs_exist_ok=True)
    with System(folder, **settings) as system:
        system.environment["PYTHON"] = sys.executable
        yield system


def start_embedded(system: System) -> list[Process]:
    process = system.start("up", "up")
    system.wait_ready(process)
    return [process]


def start_production(system: System) -> list[Process]:
    return [system.start_housekeeper(), system.start_worker("worker"), system.start_api()]


def walk(system: System, start: Callable[[System], list[Process]], end: Callable[[Process], object]) -> None:
    started = start(system)
    with system.client() as client:
        task = client.tasks.submit("cashier", ASKED_FOR)
        waiting(client, task.id)
    assert refunds(system) == [], "nothing is done before a person has said yes"

    for process in started:
        end(process)
    start(system)

    (asked,) = approvals(system, "--task", str(task.id))
    assert asked["message"] == "Refund 80 EUR to Ada."
    assert asked["arguments"] == {"amount": 80, "currency": "EUR", "customer": "Ada"}
    changed = json.dumps({**asked["arguments"], "amount": 60})
    decided = system.run("approval", "edit", asked["id"], "--arguments", changed, "--reason", "20 is a fee")
    assert decided.returncode == 0, decided.stderr

    with system.client() as client:
        done = client.tasks.wait(task.id, timeout_seconds=60)
    assert done.status == "completed", done.error
    (refund,) = refunds(system)
    assert (refund["amount"], refund["customer"]) == (60, "Ada")
    assert refund["key"] == f"{task.id}/1:1/tool/1"
    again = system.run("approval", "approve", asked["id"])
    assert again.returncode != 0
    assert "decided" in again.stderr
    assert len(refunds(system)) == 1


def waiting(client: Client, task_id: Any) -> None:
    for event in client.tasks.events(task_id):
        if event.type == "task.waiting":
            return
    raise AssertionError("the task ended without asking")


def approvals(system: System, *options: str) -> list[dict[str, Any]]:
    listed = system.run("approval", "list", *options, "-o", "json")
    assert listed.returncode == 0, listed.stderr
    found: list[dict[str, Any]] = json.loads(listed.stdout)
    return found


def test_a_walk_in_one_process(tmp_path: Path) -> None:
    with example(tmp_path, database_url=f"sqlite:///{tmp_path}/ops.db") as system:
        walk(system, start_embedded, Process.stop)


@pytest.mark.services
def test_a_walk_in_production_whose_processes_are_killed(tmp_path: Path, postgres_url: str, rabbitmq_url: str) -> None:
    settings = {"lease_seconds": 2.0, "housekeeper_interval_seconds": 0.2, "ring_again_seconds": 1.0}
    with example(tmp_path, database_url=postgres_url, broker_url=rabbitmq_url, **settings) as system:
        walk(system, start_production, Process.kill)


def test_a_refund_below_the_rules_bound_asks_nobody(tmp_path: Path) -> None:
    """The negative control: it is the rule that holds the others up."""
    with example(tmp_path, database_url=f"sqlite:///{tmp_path}/ops.db") as system:
        start_embedded(system)
        with system.client() as client:
            done = client.tasks.wait(client.tasks.submit("cashier", "Refund 40 EUR to Ada").id, timeout_seconds=60)
        assert done.status == "completed", done.error
        assert [refund["amount"] for refund in refunds(system)] == [40]
