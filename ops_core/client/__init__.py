"""The Python client of the REST API, usable without the server's dependencies."""

from ops_core.client.answers import Agent, Approval, Event, Queue, Schedule, Signal, Task, TextDelta, Vote
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
    "Approval",
    "Client",
    "ClientError",
    "Event",
    "Queue",
    "RequestRefused",
    "RequestUnsendable",
    "Schedule",
    "ServerUnreachable",
    "Signal",
    "Task",
    "TextDelta",
    "Vote",
    "WaitTimedOut",
]
