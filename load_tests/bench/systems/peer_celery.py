"""Celery over RabbitMQ with results in PostgreSQL (SQLAlchemy), as its guides of brokers and result backends set it up.

To compare durable systems it acknowledges late, gives back what a lost process had, and publishes with confirms, which
are settings and not its defaults.
One node with a prefork pool of two, its default on two processors: two processes run tasks, a third feeds them.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import driver
from celery import Celery

REQUIREMENTS = ["celery>=5.7,<6", "sqlalchemy>=2.1,<3", "psycopg[binary]>=3.3,<4"]
KEEPS = "a row at the end: status, result"
COUNT_DONE = "SELECT count(*) FROM celery_taskmeta WHERE status = 'SUCCESS'"
IS_DONE = "SELECT 1 FROM celery_taskmeta WHERE task_id = %s AND status = 'SUCCESS'"

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


@app.task
def noop() -> int:
    return 0


def prepare() -> None:
    """Makes the tables; queues are made by who first uses them."""
    app.conf.database_create_tables_at_setup = True
    _ = app.backend


def worker_commands() -> list[list[str]]:
    return [[sys.executable, "-m", "celery", "--app", "peer_celery", "worker", "--concurrency", "2"]]


@contextmanager
def client() -> Iterator[Callable[[], str]]:
    """Gives `submit`, which returns when the broker has confirmed the message; connections come from Celery's pool."""
    yield lambda: noop.delay().id
    app.close()
