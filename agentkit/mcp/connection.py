"""One connection to one MCP server: an owner task that opens it, keeps it and closes it, and the calls through it."""

from __future__ import annotations

import asyncio
import contextvars
import importlib
import json
import logging
import time
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from agentkit.errors import BadToolArguments, ToolFailed, ToolTimeout
from agentkit.mcp.config import HttpServer, McpServer, StdioServer
from agentkit.mcp.content import render_result
from agentkit.mcp.listing import McpTool, list_tools
from agentkit.mcp.remote import http_transport
from agentkit.mcp.stdio import StdioTransport
from agentkit.transcript import JsonObject

if TYPE_CHECKING:
    from mcp import Client

logger = logging.getLogger(__name__)

#: A listing older than this is fetched again, for servers that change their tools and do not say so.
_TOOLS_FRESH_SECONDS = 300.0
#: A server that cannot list its tools in this time, asked again, answers nothing any more.
_LISTING_SECONDS = 10.0
_LISTING_RETRY_SECONDS = 30.0
#: How long a server may take to close before its connection is cut; a child's own grace is about half of it.
_CLOSE_SECONDS = 8.0
#: What the SDK says when a server no longer knows our session: after its restart, or after long silence.
_SESSION_ENDED = "Session terminated"
#: Where a call carries its idempotency key, for servers that look for one; others ignore it.
_IDEMPOTENCY_META = "agentkit/idempotency-key"


@dataclass(frozen=True, slots=True)
class McpResult:
    """What a tool answered, as text for a model."""

    text: str
    is_error: bool


class McpConnection:
    """Opens on construction; ends by itself when the server does. Never reopened: a new one takes its place."""

    def __init__(
        self,
        server: McpServer,
        *,
        connect_timeout_seconds: float,
        call_timeout_seconds: float,
        on_end: Callable[[McpConnection], None],
    ) -> None:
        self.server = server
        #: Why it ended; None while it is opening or open.
        self.end_reason: str | None = None
        #: Whether a call has ever been answered.
        self.has_served = False
        self._connect_timeout_seconds = connect_timeout_seconds
        self._call_timeout_seconds = call_timeout_seconds
        self._on_end = on_end
        self._client: Client | None = None
        self._stdio: StdioTransport | None = None
        self._tools: tuple[McpTool, ...] = ()
        self._tools_read_at = 0.0
        self._refreshing: asyncio.Task[None] | None = None
        self._in_flight = 0
        self._settled = asyncio.Event()
        self._leave = asyncio.Event()
        self._idle = asyncio.Event()
        # A client must be entered and left in the same task; calls may come from any. The context is empty, so that
        # the trace of the first caller does not collect the spans of all others.
        self._owner = asyncio.create_task(self._own(), name=f"mcp-server-{server.name}", context=contextvars.Context())

    @property
    def is_open(self) -> bool:
        return self._client is not None and self.end_reason is None

    @property
    def is_usable(self) -> bool:
        """Open, or still opening."""
        return self.end_reason is None

    @property
    def tools(self) -> tuple[McpTool, ...]:
        """The server's tools by name, as last read."""
        return self._tools

    @property
    def pid(self) -> int | None:
        """The child process of a stdio server."""
        return self._stdio.pid if self._stdio is not None and self._client is not None else None

    async def settled(self) -> None:
        """Wait until it is open or has ended."""
        await self._settled.wait()

    async def call(
        self, tool: str, arguments: JsonObject, *, timeout_seconds: float, idempotency_key: str | None
    ) -> McpResult:
        """The tool's answer. Cancelling the caller cancels the tool on the server, and nothing else.

        Raises:
            BadToolArguments: the arguments are not JSON.
            ToolTimeout: no answer in time.
            ToolFailed: the connection ended, or the answer breaks the protocol.
        """
        _require_json([tool, arguments])
        meta: Any = {_IDEMPOTENCY_META: idempotency_key} if idempotency_key else None
        client = self._begin()
        try:
            async with asyncio.timeout(timeout_seconds):
                result = await client.call_tool(tool, arguments, meta=meta)
            self.has_served = True
            return McpResult(render_result(result), is_error=result.is_error)
        except TimeoutError:
            # Slow, or stuck for good? Reading its tools again, before the next call, tells.
            self._tools_read_at = float("-inf")
            raise ToolTimeout(
                f"{self._named()} gave no answer within {timeout_seconds:.3g} s{self._strays()}"
            ) from None
        except Exception as error:  # a door: whatever the SDK makes of a foreign server's answer; logged there
            raise self._failed_call(error) from error
        finally:
            self._finish()

    async def current_tools(self) -> tuple[McpTool, ...]:
        """The server's tools by name, read again when the server said that they changed or the listing is old."""
        if time.monotonic() - self._tools_read_at > _TOOLS_FRESH_SECONDS:
            if self._refreshing is None or self._refreshing.done():
                self._refreshing = asyncio.create_task(self._refresh_tools())
            # All who wait share it; one of them giving up must not end it for the others.
            await asyncio.shield(self._refreshing)
        return self._tools

    def retire(self, reason: str) -> None:
        """Take no new calls, let those under way finish, then close."""
        if self._end(reason):
            self._on_end(self)

    def _end(self, reason: str) -> bool:
        if self.end_reason is not None:
            return False
        self.end_reason = reason
        self._settled.set()
        self._leave.set()
        return True

    def when_finished(self, callback: Callable[[McpConnection], object]) -> None:
        """Call back once everything the connection held is released."""
        self._owner.add_done_callback(lambda _: callback(self))

    async def aclose(self) -> None:
        """Close now; calls under way fail. Returns when the child process is gone. Harmless when called twice."""
        self._end("was closed")
        self._idle.set()
        if self._client is None:
            self._owner.cancel()  # still opening: nobody will come for it any more
        _, late = await asyncio.wait([self._owner], timeout=_CLOSE_SECONDS)
        if late:
            self._owner.cancel()
            await asyncio.wait([self._owner], timeout=_CLOSE_SECONDS)

    async def _own(self) -> None:
        try:
            async with AsyncExitStack() as stack:
                # Not anyio's time-out: its scope may not be left while the client's is still open.
                async with asyncio.timeout(self._connect_timeout_seconds):
                    # The first import of the SDK takes most of a second, in which other agents want to go on.
                    await asyncio.to_thread(importlib.import_module, "mcp")
                    client = await stack.enter_async_context(self._new_client())
                    self._tools = await list_tools(client, self.server.name)
                self._tools_read_at = time.monotonic()
                self._client = client
                self._settled.set()
                await self._leave.wait()
                await self._calls_finished()
        except TimeoutError:
            self.retire(f"gave no answer to initialize within {self._connect_timeout_seconds:g} s{self._strays()}")
        except Exception as error:  # the loop driver: how this connection ended is recorded, not raised
            self.retire(_reason(error))
            logger.debug("mcp server %s: the connection ended", self.server.name, exc_info=error)
        finally:
            self._end("was closed")
            self._client = None

    def _new_client(self) -> Client:
        from mcp import Client

        return Client(self._transport(), message_handler=self._on_message, cache=None)

    def _transport(self) -> AbstractAsyncContextManager[Any]:
        match self.server:
            case StdioServer():
                self._stdio = StdioTransport(self.server, on_end=self.retire)
                return self._stdio
            case HttpServer():
                return http_transport(self.server, call_timeout_seconds=self._call_timeout_seconds)

    async def _on_message(self, message: object) -> None:
        if getattr(message, "method", None) == "notifications/tools/list_changed":
            self._tools_read_at = float("-inf")

    async def _calls_finished(self) -> None:
        if self._in_flight:
            await asyncio.wait_for(self._idle.wait(), self._call_timeout_seconds)

    async def _refresh_tools(self) -> None:
        try:
            client = self._begin()
        except ToolFailed:
            return
        try:
            async with asyncio.timeout(min(_LISTING_SECONDS, self._connect_timeout_seconds)):
                self._tools = await list_tools(client, self.server.name)
            self._tools_read_at = time.monotonic()
        except TimeoutError:
            self.retire("stopped answering")
        except Exception as error:  # noqa: BLE001 - a door: the listing we have is still the best there is
            logger.warning("mcp server %s: its tools could not be read again: %s", self.server.name, _reason(error))
            self._tools_read_at = time.monotonic() - _TOOLS_FRESH_SECONDS + _LISTING_RETRY_SECONDS
        finally:
            self._finish()

    def _begin(self) -> Client:
        if self._client is None or self.end_reason is not None:
            raise ToolFailed(f"{self._named()} is not available: {self.end_reason or 'still starting'}")
        self._in_flight += 1
        return self._client

    def _finish(self) -> None:
        self._in_flight -= 1
        if self._in_flight == 0 and self.end_reason is not None:
            self._idle.set()

    def _failed_call(self, error: Exception) -> ToolFailed:
        from mcp import MCPError
        from mcp.types import CONNECTION_CLOSED

        if not isinstance(error, MCPError):
            logger.debug("mcp server %s: a call failed", self.server.name, exc_info=error)
        elif error.code == CONNECTION_CLOSED or error.message == _SESSION_ENDED:
            self.retire(_reason(error))
            return ToolFailed(f"{self._named()} failed during the call: {self.end_reason}")
        return ToolFailed(f"{self._named()} failed the call: {_reason(error)}")

    def _named(self) -> str:
        return f"the MCP server {self.server.name!r}"

    def _strays(self) -> str:
        count = self._stdio.stray_lines if self._stdio else 0
        return f" (it printed {count} lines on stdout that are no MCP messages)" if count else ""


def _require_json(sent: object) -> None:
    """Checked here, since the transport would take what it cannot encode for the end of the connection."""
    try:
        json.dumps(sent, ensure_ascii=False, allow_nan=False).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise BadToolArguments(f"the arguments cannot be written as JSON: {error}") from error


def _reason(error: BaseException) -> str:
    """What went wrong in one line, from inside the groups in which the SDK's tasks wrap it."""
    from pydantic import ValidationError

    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    if isinstance(error, ValidationError):
        first = error.errors(include_url=False, include_input=False)[0]
        return f"sent an answer that is not MCP: {'.'.join(map(str, first['loc']))}: {first['msg']}"
    return " ".join(str(error).split())[:500] or type(error).__name__
