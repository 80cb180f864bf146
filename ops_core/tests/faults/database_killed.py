"""PostgreSQL is killed under load, and all its connections are cut again and again."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable

import psycopg

from ops_core.tests.faults import oracle
from ops_core.tests.faults.crew import workers
from ops_core.tests.faults.lab import LEASE_SECONDS, FaultSystem, Lab, quiet_seconds
from ops_core.tests.faults.ledger import Submitter
from ops_core.tests.faults.row import Row, Size
from ops_core.tests.faults.tally import Tally

AGENT = "retry-10-50"


def run(lab: Lab, size: Size, rng: random.Random, control: bool) -> Tally:
    without = ("take_back",) if control else ()
    with lab.installation(without=without) as system, lab.new_ledger("database") as ledger:
        queue = lab.new_queue()
        with workers(system, queue, 2), Submitter(system.url, ledger, queue=queue) as client:
            for _ in range(size["kills"]):
                under_load(client, size, lambda: kill_database(lab, size, rng))
            for _ in range(size["cuts"]):
                under_load(client, size, lambda: cut_connections(system, rng))
            oracle.settle(system.database_url, ledger, quiet_seconds=quiet_seconds(control), at_most_seconds=300)
        return oracle.judge(system, ledger, lab.outside, faults=size["kills"] + size["cuts"])


def under_load(client: Submitter, size: Size, strike: Callable[[], None]) -> None:
    submitting = threading.Thread(target=client.submit_many, args=([AGENT] * size["tasks_a_fault"],))
    submitting.start()
    strike()
    submitting.join()


def kill_database(lab: Lab, size: Size, rng: random.Random) -> None:
    """As a power cut: nothing is finished, and what was committed is found again by recovery."""
    time.sleep(rng.uniform(0.1, 0.6))
    lab.cluster.kill()
    # Some of the outages outlast the leases.
    time.sleep(rng.choice(size["away_leases"]) * LEASE_SECONDS)
    lab.cluster.start()


def cut_connections(system: FaultSystem, rng: random.Random) -> None:
    time.sleep(rng.uniform(1.0, 2.0))
    with psycopg.connect(system.database_url, autocommit=True) as admin:
        admin.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )


ROW = Row(
    name="database_killed",
    fault="database killed under load; all its connections terminated every 2 s",
    remedy="what a worker could not keep is taken back when its lease is over",
    short={"kills": 1, "cuts": 1, "tasks_a_fault": 10, "away_leases": [1.2]},
    full={
        "kills": 30,
        "cuts": 30,
        "tasks_a_fault": 30,
        "away_leases": [0.0, 0.3, 0.7, 1.2, 2.0],
    },
    control={"kills": 1, "cuts": 0, "tasks_a_fault": 10, "away_leases": [1.2]},
    run=run,
)
