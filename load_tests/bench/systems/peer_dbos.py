"""DBOS, a durable queue in PostgreSQL, as the queue worker of its examples sets it up: workers, and a DBOSClient apart.

The queue is polled each second, its default; a poll takes all that the worker may run, so the interval bounds latency.
Two worker processes, each with an executor id of its own and a limit of workflows at once, as its guide of queues
recommends: without one the first to poll takes a whole backlog. A limit of 1,000 holds neither back.
Tasks that wait are workflows of its asyncio kind, which need no thread each.
"""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import driver
from dbos import DBOS, DBOSClient

REQUIREMENTS = ["dbos>=3.4,<4"]
KEEPS = "a row: status, times, executor, inputs, the result"
COUNT_DONE = "SELECT count(*) FROM dbos.workflow_status WHERE status = 'SUCCESS' AND name IN ('noop', 'wait')"
IS_DONE = "SELECT 1 FROM dbos.workflow_status WHERE workflow_uuid = %s AND status = 'SUCCESS'"

QUEUE = "noop-queue"
AT_ONCE = 1000


@DBOS.workflow(name="noop")
def noop() -> int:
    return 0


@DBOS.workflow(name="wait")
async def wait() -> int:
    await driver.wait_async()
    return 0


@contextmanager
def _launched(executor: str) -> Iterator[None]:
    """While it is entered this process takes workflows from the queue; at its end those that run have 5 s."""
    DBOS(
        config={
            "name": "peer-dbos",
            "application_version": "1",
            "executor_id": executor,
            "system_database_url": driver.DATABASE_URL,
        }
    )
    DBOS.launch()
    DBOS.register_queue(QUEUE, worker_concurrency=AT_ONCE)
    yield
    DBOS.destroy(workflow_completion_timeout_sec=5)


def prepare() -> None:
    """Makes the system's tables and the queue."""
    with _launched("prepare"):
        pass


def worker_commands() -> list[list[str]]:
    return [[sys.executable, "-m", "peer_dbos", executor] for executor in ("worker-1", "worker-2")]


def one_worker_commands() -> list[list[str]]:
    return worker_commands()[:1]


@contextmanager
def client() -> Iterator[Callable[[], str]]:
    """Gives `submit`, which returns when the workflow is committed as enqueued."""
    # The pool's default of five would be fewer than the submissions in flight.
    sender = DBOSClient(system_database_url=driver.DATABASE_URL, system_database_pool_size=16)
    workflow = "wait" if driver.WAIT_SECONDS else "noop"
    yield lambda: sender.enqueue({"queue_name": QUEUE, "workflow_name": workflow}).workflow_id
    sender.destroy()


if __name__ == "__main__":
    told_to_stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: told_to_stop.set())
    with _launched(sys.argv[1]):
        told_to_stop.wait()
