"""The Python client of the REST API, usable without the server's dependencies."""

from ops_core.client.answers import Agent, Event, Task
from ops_core.client.client import Client
from ops_core.client.errors import (
    AnswerNotUnderstood,
    ClientError,
    RequestRefused,
    RequestUnsendable,
    ServerUnreachable,
    WaitTimedOut,
)

__all__ = [
    "Agent",
    "AnswerNotUnderstood",
    "Client",
    "ClientError",
    "Event",
    "RequestRefused",
    "RequestUnsendable",
    "ServerUnreachable",
    "Task",
    "WaitTimedOut",
]
