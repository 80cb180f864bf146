"""How we connect to RabbitMQ: what the URL says, and what it leaves open."""

from __future__ import annotations

from urllib.parse import parse_qs, urlsplit

import pika
import pika.exceptions
from pika.adapters.utils.connection_workflow import (
    AMQPConnectionWorkflowFailed,
    AMQPConnectorException,
    AMQPConnectorPhaseErrorBase,
)

from ops_core.errors import ConfigurationInvalid

#: A peer that has vanished without a word is noticed within two of these.
_HEARTBEAT_SECONDS = 20
#: A broker short of memory or disk stops reading; then we would rather know than wait.
_BLOCKED_SECONDS = 20.0

#: What pika raises when RabbitMQ cannot be reached, refuses, or goes away. It asserts where a connection ends midway.
CONNECTION_ERRORS = (pika.exceptions.AMQPError, AMQPConnectorException, OSError, AssertionError)


def connection_parameters(url: str, *, connect_seconds: float = 10.0) -> list[pika.URLParameters]:
    """One for each address of the URL (several are separated by `;`), each to be reached within this time.

    Raises:
        ConfigurationInvalid: it cannot be read.
    """
    return [_one(part, connect_seconds) for part in url.split(";")]


def _one(url: str, connect_seconds: float) -> pika.URLParameters:
    try:
        parameters = pika.URLParameters(url)
        asked = parse_qs(urlsplit(url).query)
    except Exception as error:
        # The text may hold a password, and so may the message of whatever was raised.
        raise ConfigurationInvalid(
            "the broker URL cannot be read; it should look like amqp://user:password@host:5672/vhost"
        ) from error
    if "heartbeat" not in asked:
        parameters.heartbeat = _HEARTBEAT_SECONDS
    if "blocked_connection_timeout" not in asked:
        parameters.blocked_connection_timeout = _BLOCKED_SECONDS
    parameters.socket_timeout = parameters.stack_timeout = connect_seconds
    return parameters


def reason_of(error: BaseException) -> str:
    """What went wrong, out of the layers that pika wraps it in."""
    while True:
        if isinstance(error, AMQPConnectionWorkflowFailed) and error.exceptions:
            error = error.exceptions[-1]
        elif isinstance(error, AMQPConnectorPhaseErrorBase):
            error = error.exception
        else:
            return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__


def addresses(parameters: list[pika.URLParameters]) -> str:
    """Where we connect to, without credentials."""
    return ", ".join(f"{one.host}:{one.port}" for one in parameters)
