"""What all ways into our system have in common: its settings, its processes, its no-op task.

The no-op task is an agent that asks its model once, of which the answer is there at once. So it has four events, one of
them a journaled step, where a peer's no-op is a function that returns.
"""

from __future__ import annotations

import os
import subprocess
import sys

import driver

KEEPS = "task, every step, event log"
COUNT_DONE = "SELECT count(*) FROM tasks WHERE status = 'completed'"
IS_DONE = "SELECT 1 FROM tasks WHERE id = %s::uuid AND status = 'completed'"
# In the order of their starts the first is the warm-up.
MAKESPAN = """
SELECT extract(epoch FROM max(finished_at) - min(started_at))
FROM (SELECT started_at, finished_at FROM tasks ORDER BY started_at OFFSET 1) AS backlog
"""
AGENT = os.environ.get("BENCH_AGENT", "noop")
#: What the model of every agent is replaced by, in milliseconds; empty where a work plays the model itself.
_WAIT_MS = os.environ.get("BENCH_WAIT_MS", "0")

PORT = os.environ.get("BENCH_PORT", "18000")
GRPC_PORT = os.environ.get("BENCH_GRPC_PORT", "18001")
MODEL_URL = f"http://127.0.0.1:{os.environ.get('BENCH_MODEL_PORT', '18002')}/v1"
_AGENT_FILES = {
    "noop": "planner: one_call\nmodel: {provider: demo}\n",
    "steps": f"tools: [calculator]\nmodel: {{provider: openai-compatible, name: m, base_url: '{MODEL_URL}'}}\n",
}


def settings() -> dict[str, str]:
    return {
        "OPS_CORE_DATABASE_URL": driver.DATABASE_URL,
        "OPS_CORE_BROKER_URL": driver.BROKER_URL,
        "OPS_CORE_AGENTS_DIR": str(driver.FOLDER / "agents"),
        "OPS_CORE_PORT": PORT,
        "OPS_CORE_GRPC_PORT": GRPC_PORT,
        # A line a task and step is a load of its own, and the peers write none either.
        "OPS_CORE_LOG_LEVEL": "warning",
        **({"OPS_CORE_LOAD_TEST_MOCK_AGENT_DELAY_MS": _WAIT_MS} if _WAIT_MS else {}),
        # Agents at once in each worker process.
        "OPS_CORE_CONCURRENCY": str(driver.AT_ONCE),
    }


def prepare() -> None:
    folder = driver.FOLDER / "agents"
    folder.mkdir(exist_ok=True)
    (folder / f"{AGENT}.yaml").write_text(f"name: {AGENT}\n{_AGENT_FILES[AGENT]}")
    subprocess.run(command("db", "upgrade"), check=True, stdout=subprocess.DEVNULL)


def server_commands() -> list[list[str]]:
    return [command("housekeeper", "start")]


def worker_commands() -> list[list[str]]:
    return [command("worker", "start", "--processes", "2")]


def one_worker_commands() -> list[list[str]]:
    return [command("worker", "start")]


def command(*arguments: str) -> list[str]:
    given = [f"{name}={value}" for name, value in settings().items()]
    return ["env", *given, sys.executable, "-m", "ops_core.entrypoints.main", *arguments]
