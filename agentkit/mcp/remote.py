"""The way to a remote server: streamable HTTP whose failures are the error of one call, not of the connection."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from agentkit.mcp.config import HttpServer

if TYPE_CHECKING:
    import httpx2

#: Longest answer a server may send.
_MAX_BODY_BYTES = 32 * 1024 * 1024
_CONNECT_SECONDS = 10.0
#: A server may hold a stream open and silent this long; each call has its own, shorter time.
_SILENT_STREAM_SECONDS = 300.0
#: JSON-RPC's code for "connection closed": whoever gets it opens a new connection.
_CONNECTION_CLOSED = -32000


@asynccontextmanager
async def http_transport(server: HttpServer, *, call_timeout_seconds: float) -> AsyncIterator[Any]:
    """The SDK's streamable HTTP transport with the server's headers, our limits and our errors."""
    import httpx2
    from mcp.client.streamable_http import streamable_http_client

    read_seconds = max(_SILENT_STREAM_SECONDS, call_timeout_seconds + _CONNECT_SECONDS)
    async with (
        _answering_client(
            server,
            headers=dict(server.headers),
            timeout=httpx2.Timeout(_CONNECT_SECONDS, read=read_seconds, pool=call_timeout_seconds),
            # As many calls at once as callers like: each one is bounded by its own time.
            limits=httpx2.Limits(max_connections=None, max_keepalive_connections=20),
        ) as http_client,
        streamable_http_client(server.url, http_client=http_client, max_sse_event_size=_MAX_BODY_BYTES) as streams,
    ):
        yield streams


def _answering_client(server: HttpServer, **options: Any) -> httpx2.AsyncClient:
    """A client for which a server out of reach, or an error page, is a JSON-RPC error that answers this one request.

    The SDK lets a network error end the whole connection, and with it the calls of all other agents. A subclass
    rather than a transport, since a client that is given a transport no longer heeds HTTPS_PROXY.
    """
    import httpx2

    class AnsweringClient(httpx2.AsyncClient):
        async def send(self, request: httpx2.Request, **options: Any) -> httpx2.Response:
            try:
                response = await super().send(request, **options)
            except httpx2.TransportError as error:
                return _answer(request, 503, f"cannot be reached: {error or type(error).__name__}")
            if _is_json(response.headers):
                assert isinstance(response.stream, httpx2.AsyncByteStream)
                response.stream = BoundedStream(response.stream)
            elif response.status_code in (401, 403, 429) or response.status_code >= 500:
                await response.aclose()
                hint = "; check its headers in the configuration" if response.status_code in (401, 403) else ""
                said = f"answered HTTP {response.status_code} {response.reason_phrase}{hint}"
                return _answer(request, response.status_code, said)
            return response

    class BoundedStream(httpx2.AsyncByteStream):
        """Raises the one error that the SDK takes for a bad answer: anything else ends the connection."""

        def __init__(self, stream: httpx2.AsyncByteStream) -> None:
            self._stream = stream

        async def __aiter__(self) -> AsyncIterator[bytes]:
            size = 0
            try:
                async for chunk in self._stream:
                    size += len(chunk)
                    if size > _MAX_BODY_BYTES:
                        raise httpx2.StreamError(f"the answer is longer than {_MAX_BODY_BYTES} bytes")
                    yield chunk
            except httpx2.TransportError as error:
                raise httpx2.StreamError(f"the answer broke off: {error or type(error).__name__}") from error

        async def aclose(self) -> None:
            await self._stream.aclose()

    def _answer(request: httpx2.Request, status: int, said: str) -> httpx2.Response:
        error = {"code": _CONNECTION_CLOSED, "message": f"{server.origin} {said}"}
        return httpx2.Response(status, json={"jsonrpc": "2.0", "id": None, "error": error}, request=request)

    return AnsweringClient(**options)


def _is_json(headers: Mapping[str, str]) -> bool:
    return headers.get("content-type", "").lower().startswith("application/json")
