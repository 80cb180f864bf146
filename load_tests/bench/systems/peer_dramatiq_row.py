"""Dramatiq as in `peer_dramatiq`, beside a status row in PostgreSQL: what a team writes that must know how it ended.

The row is written through psycopg's pool as its guide shows, one transaction for each of the three states. Two worker
processes of eight threads each, Dramatiq's default.
"""

from __future__ import annotations

import sys
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import dramatiq
import driver
import psycopg
from dramatiq.brokers.rabbitmq import RabbitmqBroker
from psycopg.types.json import Jsonb
from psycopg_pool import ConnectionPool

REQUIREMENTS = ["dramatiq[rabbitmq]>=2.2,<3", "psycopg[binary,pool]>=3.3,<4"]
KEEPS = "a row: status, three times, the result"
COUNT_DONE = "SELECT count(*) FROM task_row WHERE status = 'done'"
IS_DONE = "SELECT 1 FROM task_row WHERE id = %s::uuid AND status = 'done'"

# As many as the client has threads; a worker's eight threads take no more than eight.
pool = ConnectionPool(driver.DATABASE_URL, max_size=16, open=False)


class Pool(dramatiq.Middleware):
    """Opens the pool in each worker process, and closes it when the process ends."""

    def after_process_boot(self, broker: dramatiq.Broker) -> None:
        pool.open()

    def after_worker_shutdown(self, broker: dramatiq.Broker, worker: dramatiq.Worker) -> None:
        pool.close()


broker = RabbitmqBroker(url=driver.BROKER_URL, confirm_delivery=True)
broker.add_middleware(Pool())
dramatiq.set_broker(broker)


@dramatiq.actor
def noop(row: str) -> None:
    """Does nothing, and says in its row that it began and that it ended; a message that comes twice ends once."""
    with pool.connection() as connection:
        begun = connection.execute(
            "UPDATE task_row SET status = 'running', started_at = now() WHERE id = %s AND status <> 'done'", [row]
        )
    if not begun.rowcount:
        return
    with pool.connection() as connection:
        connection.execute(
            "UPDATE task_row SET status = 'done', result = %s, finished_at = now() WHERE id = %s", [Jsonb(0), row]
        )


def prepare() -> None:
    """Makes the queue and the table."""
    broker.declare_queue("default", ensure=True)
    with psycopg.connect(driver.DATABASE_URL) as connection:
        connection.execute(
            "CREATE TABLE IF NOT EXISTS task_row (id uuid PRIMARY KEY, status text NOT NULL, result jsonb,"
            " created_at timestamptz NOT NULL DEFAULT now(), started_at timestamptz, finished_at timestamptz)"
        )


def worker_commands() -> list[list[str]]:
    return [[sys.executable, "-m", "dramatiq", "peer_dramatiq_row", "--processes", "2"]]


@contextmanager
def client() -> Iterator[Callable[[], str]]:
    """Gives `submit`, which returns when the row is committed and the broker has confirmed the message."""

    def submit() -> str:
        row = str(uuid.uuid4())
        with pool.connection() as connection:
            connection.execute("INSERT INTO task_row (id, status) VALUES (%s, 'queued')", [row])
        noop.send(row)
        return row

    with pool:
        yield submit
    broker.close()
