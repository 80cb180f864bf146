"""Queues, as a client sees them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final
from urllib.parse import quote

from ops_core.client.answers import Queue, parsed
from ops_core.client.connection import Connection
from ops_core.client.pages import items_page_by_page

_PATH: Final = "/api/v1/queues"


class Queues:
    """The queues of one server."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def list(self, *, limit: int | None = None) -> Iterator[Queue]:
        """Queues that have something ready or running, or a worker; by name, up to the limit. Pages are asked for as
        they are needed."""
        for item in items_page_by_page(self._connection, _PATH, {}, limit=limit):
            yield parsed(Queue, item)

    def get(self, name: str) -> Queue:
        """One that nobody has heard of has nothing in it.

        Raises:
            RequestRefused: invalid_input, no queue can be called so.
        """
        return parsed(Queue, self._connection.get(f"{_PATH}/{quote(name, safe='', errors='replace')}"))
