"""A thousand agents that wait for their model, in one worker process, on PostgreSQL and RabbitMQ."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import httpx2
import psycopg
import pytest

from ops_core.tests.journeys.system import System, until

pytestmark = pytest.mark.services

TASKS = 1000
DELAY_MS = 2000
#: A process that holds a thousand agents stays below this: threads or processes for each would not.
MOST_MEGABYTES = 500


def high_water_megabytes(pid: int) -> float:
    """The most memory this process has had resident."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM:"))


def test_a_thousand_waiting_agents_are_in_flight_at_once_in_one_process(
    new_production: Callable[[str], AbstractContextManager[System]],
) -> None:
    with (
        new_production("thousand") as system,
        psycopg.connect(system.environment["OPS_CORE_DATABASE_URL"], autocommit=True) as database,
    ):
        system.environment |= {
            "OPS_CORE_LOAD_TEST_MOCK_AGENT_DELAY_MS": str(DELAY_MS),
            "OPS_CORE_LOG_LEVEL": "warning",
            # The default; that of the other journeys is too short to measure the system by.
            "OPS_CORE_LEASE_SECONDS": "30",
        }
        system.start_api()
        for _ in range(2):
            body = {"tasks": [{"agent": "assistant", "goal": "wait"}] * (TASKS // 2)}
            assert httpx2.post(f"{system.url}/api/v1/tasks/batch", json=body, timeout=60).status_code == 201
        # By its flag, as an operator would.
        worker = system.start("worker", "worker", "start", "--concurrency", str(TASKS))

        def count(status: str) -> int:
            row = database.execute("SELECT count(*) FROM tasks WHERE status = %s", [status]).fetchone()
            return int(row[0]) if row else 0

        def all_in_flight_or_done() -> bool:
            peaks.append(count("running"))
            return max(peaks) == TASKS or count("completed") == TASKS

        peaks = [0]
        until(all_in_flight_or_done, seconds=60, what="a thousand are in flight")
        until(lambda: count("completed") == TASKS, seconds=60, what="all are done")
        row = database.execute(
            "SELECT extract(epoch FROM max(finished_at) - min(started_at)), max(attempt), max(crashes),"
            " count(DISTINCT worker_id) FROM tasks"
        ).fetchone()
        assert row is not None
        makespan, attempts, crashes, workers = row
        memory = max(high_water_megabytes(pid) for pid in worker.family())
        began = time.monotonic()
        assert worker.stop() == 0
        stopped = time.monotonic() - began
    print(
        f"\n{TASKS} agents of {DELAY_MS} ms: peak {max(peaks)} in flight, makespan {makespan:.2f} s, "
        f"{memory:.0f} MB, stopped in {stopped:.1f} s"
    )
    assert max(peaks) == TASKS
    assert (attempts, crashes, workers) == (1, 0, 1)
    assert memory < MOST_MEGABYTES
