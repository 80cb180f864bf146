"""Dramatiq over RabbitMQ with publisher confirms, as its guide sets it up; it transports and keeps nothing.

Tasks that wait run in its gevent worker, as the help of its command line shows it: a task holds its thread for as
long as it waits, an async one too.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import driver

REQUIREMENTS = ["dramatiq[gevent,rabbitmq]>=2.2,<3"]
KEEPS = "nothing"
COUNT_DONE = None
IS_DONE = None


def _make():  # type: ignore[no-untyped-def]
    import dramatiq
    from dramatiq.brokers.rabbitmq import RabbitmqBroker

    broker = RabbitmqBroker(url=driver.BROKER_URL, confirm_delivery=True)
    dramatiq.set_broker(broker)

    @dramatiq.actor
    def noop() -> None:
        driver.wait()
        driver.executed()

    return broker, noop


broker, noop = _make()


def prepare() -> None:
    broker.declare_queue("default", ensure=True)


def worker_commands() -> list[list[str]]:
    return [[sys.executable, "-m", "dramatiq", "peer_dramatiq", "--processes", "2"]]


def one_worker_commands() -> list[list[str]]:
    worker = Path(sys.executable).with_name("dramatiq-gevent")
    return [[str(worker), "peer_dramatiq", "--processes", "1", "--threads", str(driver.AT_ONCE)]]


@contextmanager
def client() -> Iterator[Callable[[], str]]:
    yield lambda: noop.send().message_id
    broker.close()
