"""The client: one server, its tasks, agents, approvals, schedules and queues."""

from __future__ import annotations

import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

import httpx2

from ops_core.client.agents import Agents
from ops_core.client.approvals import Approvals
from ops_core.client.connection import Connection
from ops_core.client.queues import Queues
from ops_core.client.schedules import Schedules
from ops_core.client.tasks import Tasks
from ops_core.domain.task import JsonObject


class Client:
    """Talks to one server over REST. Close it, or use it in a `with`. Not for several threads at once.

    Requests that are harmless twice are tried again for a few seconds; `submit` is one of them, because it always
    carries an idempotency key.
    """

    def __init__(
        self,
        url: str = "http://127.0.0.1:8000",
        api_key: str | None = None,
        *,
        timeout_seconds: float = 30.0,
        transport: httpx2.BaseTransport | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._connection = Connection(
            url, api_key=api_key, timeout_seconds=timeout_seconds, transport=transport, sleep=sleep
        )
        self.url = self._connection.url
        self.tasks = Tasks(self._connection)
        self.agents = Agents(self._connection)
        self.approvals = Approvals(self._connection)
        self.schedules = Schedules(self._connection)
        self.queues = Queues(self._connection)

    def info(self) -> JsonObject:
        """Version, features and limits of the server."""
        body: JsonObject = self._connection.get("/api/v1/info")
        return body

    def close(self) -> None:
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()
