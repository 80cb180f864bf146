"""The broker and the doorbell that a URL asks for."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from dramatiq.broker import Broker

from ops_core.broker.inprocess import InProcessBroker, InProcessDoorbell
from ops_core.errors import ConfigurationInvalid
from ops_core.ports import Doorbell, TicketGate


class BrokerDoorbell(Doorbell, Protocol):
    """A doorbell that its owner can test and close."""

    async def ping(self) -> None:
        """Returns when the broker can be reached.

        Raises:
            BrokerUnavailable
        """

    async def aclose(self) -> None: ...


def is_in_process(url: str) -> bool:
    """Whether tickets stay within the process.

    Raises:
        ConfigurationInvalid: the URL is of no kind we know.
    """
    scheme = url.partition(":")[0]
    if scheme not in ("memory", "amqp", "amqps"):
        raise ConfigurationInvalid(
            "the broker URL must be `memory://` (one process) or `amqp://user:password@host:5672/vhost`"
        )
    return scheme == "memory"


def make_broker(url: str, *, gate: TicketGate | None = None) -> Broker:
    """What workers take tickets from, as far as `gate` (their host's slots) lets them in. Connects to nothing yet.

    Raises:
        ConfigurationInvalid: the URL cannot be used.
    """
    if is_in_process(url):
        return InProcessBroker(gate=gate)
    with _rabbitmq_extra():
        from ops_core.broker.rabbitmq import RabbitmqTicketBroker
    return RabbitmqTicketBroker(url, gate=gate)


def make_doorbell(url: str, *, broker: Broker | None = None) -> BrokerDoorbell:
    """What rings for workers; in process it rings in `broker`. Connects to nothing yet.

    Raises:
        ConfigurationInvalid: the URL cannot be used.
    """
    if is_in_process(url):
        if not isinstance(broker, InProcessBroker):
            raise ConfigurationInvalid(
                "`memory://` is for one process that also runs the agents (`ops-core up`);"
                " set OPS_CORE_BROKER_URL to an `amqp://` URL for processes of their own"
            )
        return InProcessDoorbell(broker)
    with _rabbitmq_extra():
        from ops_core.broker.publisher import RabbitmqDoorbell
    return RabbitmqDoorbell(url)


@contextmanager
def _rabbitmq_extra() -> Iterator[None]:
    try:
        yield
    except ImportError as error:
        raise ConfigurationInvalid("RabbitMQ needs the extra `rabbitmq`: pip install 'opspawn[rabbitmq]'") from error
