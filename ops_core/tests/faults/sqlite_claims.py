"""Eight processes claim from one SQLite file."""

from __future__ import annotations

import random
import sqlite3
from collections import Counter
from uuid import uuid4

from ops_core.storage.migrations import upgrade
from ops_core.tests.faults.lab import Lab
from ops_core.tests.faults.nursery import Forked
from ops_core.tests.faults.row import Row, Size
from ops_core.tests.faults.tally import Tally
from ops_core.tests.journeys.system import Process

PROCESSES = 8


def run(lab: Lab, size: Size, rng: random.Random, control: bool) -> Tally:
    folder = lab.directory / f"sqlite-{uuid4().hex[:6]}"
    folder.mkdir()
    url = f"sqlite:///{folder}/ops.db"
    upgrade(url)
    environment = {"PYTHONPATH": str(folder), "PATH": "/usr/bin:/bin"}

    def begin(name: str, *command: str) -> Forked:
        altered = "without:claim_check" if control and command[0] == "claim" else "-"
        return Forked(
            lab.nursery, name, alterations=altered, command=[*command, url], environment=environment, directory=folder
        )

    filler = begin("filler", "fill", str(size["tasks"]))
    assert filler.popen.wait(120) == 0, filler.output()
    claimers = [begin(f"claimer-{n}", "claim") for n in range(PROCESSES)]
    try:
        for claimer in claimers:
            status = claimer.popen.wait(size["at_most_seconds"])
            assert status == 0, f"{claimer.name} ended with {status}: {claimer.output()[-2000:]}"
    finally:
        for claimer in claimers:
            claimer.kill()
    return _judge(f"{folder}/ops.db", size["tasks"], [claimed_by(claimer) for claimer in claimers])


def claimed_by(claimer: Process) -> list[str]:
    return [line.removeprefix("claimed ") for line in claimer.output().splitlines() if line.startswith("claimed ")]


def _judge(file: str, tasks: int, held: list[list[str]]) -> Tally:
    """Each task was claimed by one process, once, and has one end; what each process held, it has written down."""
    tally = Tally(tasks=tasks, faults=PROCESSES)
    times = Counter(id for ids in held for id in ids)
    with sqlite3.connect(file) as database:
        statuses = dict(database.execute("SELECT id, status FROM tasks").fetchall())
        ends = dict(
            database.execute(
                "SELECT task_id, count(*) FROM task_events WHERE type = 'task.completed' GROUP BY task_id"
            ).fetchall()
        )
    database.close()
    tally.lost = tasks - len(statuses)
    tally.stuck = sum(status != "completed" for status in statuses.values())
    tally.claimed_twice = sum(count - 1 for count in times.values())
    tally.completed_twice = sum(count - 1 for count in ends.values())
    tally.own["claimed_by_nobody"] = sum(id not in times for id in statuses)
    tally.seen["processes_that_got_some"] = sum(bool(ids) for ids in held)
    return tally


ROW = Row(
    name="sqlite_claims",
    fault="SQLite: eight processes claim",
    remedy="a claim takes the file's write lock first, and only what is queued",
    short={"tasks": 300, "at_most_seconds": 60},
    full={"tasks": 5000, "at_most_seconds": 600},
    run=run,
)
