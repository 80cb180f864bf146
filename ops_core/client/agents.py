"""Agents, as a client sees them."""

from __future__ import annotations

from typing import Final
from urllib.parse import quote

from ops_core.client.answers import Agent, items_of, parsed
from ops_core.client.connection import Connection

_PATH: Final = "/api/v1/agents"


class Agents:
    """The agents of one server."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def list(self) -> list[Agent]:
        """All of them, by name."""
        return [parsed(Agent, item) for item in items_of(self._connection.get(_PATH))]

    def get(self, name: str) -> Agent:
        """Raises:
        RequestRefused: agent_not_found.
        """
        return parsed(Agent, self._connection.get(f"{_PATH}/{quote(name, safe='', errors='replace')}"))
