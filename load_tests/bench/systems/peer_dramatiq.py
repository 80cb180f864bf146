"""Dramatiq over RabbitMQ with publisher confirms, as its guide sets it up; it transports and keeps nothing."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import driver

REQUIREMENTS = ["dramatiq[rabbitmq]>=2.2,<3"]
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
        driver.executed()

    return broker, noop


broker, noop = _make()


def prepare() -> None:
    broker.declare_queue("default", ensure=True)


def worker_commands() -> list[list[str]]:
    return [[sys.executable, "-m", "dramatiq", "peer_dramatiq", "--processes", "2"]]


@contextmanager
def client() -> Iterator[Callable[[], str]]:
    yield lambda: noop.send().message_id
    broker.close()
