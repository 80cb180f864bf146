"""The MCP servers of this process: one connection each, shared by all agents, opened when first used or lost."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass

from agentkit.errors import ToolFailed, ToolTimeout, UnknownTool
from agentkit.mcp.config import McpServer
from agentkit.mcp.connection import McpConnection, McpResult
from agentkit.mcp.listing import McpTool
from agentkit.transcript import JsonObject

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class McpStatus:
    """How one server is, for a health check."""

    name: str
    connected: bool
    #: How many tools it has; None when it is not connected.
    tools: int | None
    #: Why it last could not be used; None when it is connected or was never needed.
    last_error: str | None
    #: The child process of a connected stdio server.
    pid: int | None = None


class McpConnections:
    """Calls tools of the configured servers. Belongs to one event loop.

    A server that is down, slow or broken is the error of the call that needed it. The next call opens a new
    connection; after a failure only once a delay has passed, which doubles with each further one.
    """

    def __init__(
        self,
        servers: Mapping[str, McpServer],
        *,
        connect_timeout_seconds: float = 20.0,
        call_timeout_seconds: float = 60.0,
        first_retry_seconds: float = 0.5,
        longest_retry_seconds: float = 30.0,
    ) -> None:
        self._slots = {name: _Slot(server) for name, server in servers.items()}
        self._connect_timeout_seconds = connect_timeout_seconds
        self._call_timeout_seconds = call_timeout_seconds
        self._first_retry_seconds = first_retry_seconds
        self._longest_retry_seconds = longest_retry_seconds
        #: Every connection whose owner has not finished, those that still drain included.
        self._unfinished: set[McpConnection] = set()
        self._closed = False

    @property
    def server_names(self) -> tuple[str, ...]:
        """The configured servers, in the order of the configuration."""
        return tuple(self._slots)

    def status(self) -> tuple[McpStatus, ...]:
        """How each server is now; opens nothing."""
        return tuple(_status(name, slot) for name, slot in self._slots.items())

    async def tools(self, server: str) -> tuple[McpTool, ...]:
        """The tools of a server, sorted by name.

        Raises:
            UnknownTool: no such server; lists those there are.
            ToolFailed: the server cannot be used now.
        """
        connection = await self._open_connection(server)
        tools = await connection.current_tools()
        # Reading them may have found out that the server is stuck; a new connection has read its own.
        return tools if connection.is_open else (await self._open_connection(server)).tools

    async def call(
        self,
        server: str,
        tool: str,
        arguments: JsonObject,
        *,
        timeout_seconds: float | None = None,
        idempotency_key: str | None = None,
    ) -> McpResult:
        """What the tool answered, errors that the tool itself reports included.

        Raises:
            UnknownTool: no such server; lists those there are.
            BadToolArguments: the arguments are not JSON.
            ToolTimeout: no answer in time, opening the connection included.
            ToolFailed: the server cannot be used now, or failed during the call.
        """
        allowed = self._slot(server).server.timeout_seconds or self._call_timeout_seconds
        seconds = min(allowed, timeout_seconds) if timeout_seconds is not None else allowed
        deadline = time.monotonic() + seconds
        try:
            async with asyncio.timeout(seconds):
                connection = await self._open_connection(server)
        except TimeoutError:
            raise ToolTimeout(f"the MCP server {server!r} was not ready within {seconds:.3g} s") from None
        return await connection.call(
            tool,
            arguments,
            timeout_seconds=max(deadline - time.monotonic(), 0.0),
            idempotency_key=idempotency_key,
        )

    async def aclose(self) -> None:
        """Close every connection and end every child process. Harmless when called twice; calls fail from now on."""
        self._closed = True
        await asyncio.gather(*(connection.aclose() for connection in tuple(self._unfinished)))

    async def _open_connection(self, server: str) -> McpConnection:
        slot = self._slot(server)
        if self._closed:
            raise ToolFailed(f"the MCP server {server!r} is not available: this process is shutting down")
        if slot.connection is None or not slot.connection.is_usable:
            self._require_retry_is_due(slot)
            slot.connection = self._connect(slot)
        connection = slot.connection
        await connection.settled()
        if not connection.is_open:
            raise ToolFailed(f"the MCP server {server!r} is not available: {connection.end_reason}")
        self._note_open(slot)
        return connection

    def _slot(self, server: str) -> _Slot:
        slot = self._slots.get(server)
        if slot is None:
            known = ", ".join(self._slots) or "none"
            raise UnknownTool(f"there is no MCP server {server[:100]!r}; configured are: {known}")
        return slot

    def _require_retry_is_due(self, slot: _Slot) -> None:
        wait_seconds = slot.retry_at - time.monotonic()
        if wait_seconds > 0:
            raise ToolFailed(
                f"the MCP server {slot.server.name!r} is not available: {slot.last_error}; "
                f"it is tried again in {wait_seconds:.1f} s"
            )

    def _connect(self, slot: _Slot) -> McpConnection:
        connection = McpConnection(
            slot.server,
            connect_timeout_seconds=self._connect_timeout_seconds,
            call_timeout_seconds=self._call_timeout_seconds,
            on_end=lambda ended: self._note_end(slot, ended),
        )
        self._unfinished.add(connection)
        connection.when_finished(self._unfinished.discard)
        return connection

    def _note_open(self, slot: _Slot) -> None:
        if slot.last_error is not None:
            logger.info("mcp server %s is available again", slot.server.name)
            slot.last_error = None

    def _note_end(self, slot: _Slot, connection: McpConnection) -> None:
        if self._closed:
            return
        # One that has answered calls is reopened at once; one that only ever fails is tried less and less often.
        slot.failures = 0 if connection.has_served else slot.failures + 1
        if slot.failures:
            delay = self._first_retry_seconds * 2 ** min(slot.failures - 1, 16)
            slot.retry_at = time.monotonic() + min(delay, self._longest_retry_seconds)
        is_new_outage = slot.last_error is None
        slot.last_error = connection.end_reason
        level = logging.WARNING if is_new_outage else logging.DEBUG
        logger.log(level, "mcp server %s is not available: %s", slot.server.name, slot.last_error)


@dataclass(slots=True)
class _Slot:
    """What is remembered of one server between its connections."""

    server: McpServer
    connection: McpConnection | None = None
    #: Failures in a row, since a call was last answered.
    failures: int = 0
    #: Before this moment (monotonic) no new connection is tried.
    retry_at: float = 0.0
    last_error: str | None = None


def _status(name: str, slot: _Slot) -> McpStatus:
    connection = slot.connection
    if connection is not None and connection.is_open:
        return McpStatus(name, connected=True, tools=len(connection.tools), last_error=None, pid=connection.pid)
    return McpStatus(name, connected=False, tools=None, last_error=slot.last_error)
