"""Celery over RabbitMQ with results in PostgreSQL (SQLAlchemy), as its guides of brokers and result backends set it up.

To compare durable systems it acknowledges late, gives back what a lost process had, and publishes with confirms, which
are settings and not its defaults.
One node with a prefork pool of two, its default on two processors: two processes run tasks, a third feeds them.
Tasks that wait run in a gevent pool, as its guide of concurrency sets it up. Outside of prefork every result takes a
connection of its own, so many that PostgreSQL refuses some; they are tried again until it takes them.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import driver
from celery import Celery

REQUIREMENTS = ["celery[gevent]>=5.7,<6", "sqlalchemy>=2.1,<3", "psycopg[binary]>=3.3,<4"]
KEEPS = "a row at the end: status, result"
COUNT_DONE = "SELECT count(*) FROM celery_taskmeta WHERE status = 'SUCCESS'"
IS_DONE = "SELECT 1 FROM celery_taskmeta WHERE task_id = %s AND status = 'SUCCESS'"

_WORKER = [sys.executable, "-m", "celery", "--app", "peer_celery", "worker"]

app = Celery(
    "peer_celery",
    broker=driver.BROKER_URL,
    backend=driver.DATABASE_URL.replace("postgresql://", "db+postgresql+psycopg://", 1),
)
app.conf.update(
    task_acks_late=True,
    task_reject_on_worker_lost=True,
    broker_transport_options={"confirm_publish": True},
    # `prepare` makes the tables; else every thread that submits would look for them first.
    database_create_tables_at_setup=False,
)
if driver.WAIT_SECONDS:
    app.conf.result_backend_max_retries = 1_000


@app.task
def noop() -> int:
    driver.wait()
    return 0


def prepare() -> None:
    """Makes the tables; queues are made by who first uses them."""
    app.conf.database_create_tables_at_setup = True
    _ = app.backend


def worker_commands() -> list[list[str]]:
    return [[*_WORKER, "--concurrency", "2"]]


def one_worker_commands() -> list[list[str]]:
    return [[*_WORKER, "--pool", "gevent", "--concurrency", str(driver.AT_ONCE)]]


@contextmanager
def client() -> Iterator[Callable[[], str]]:
    """Gives `submit`, which returns when the broker has confirmed the message; connections come from Celery's pool."""
    yield lambda: noop.delay().id
    app.close()
