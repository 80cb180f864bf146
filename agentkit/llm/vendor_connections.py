"""The HTTP connections under a vendor's SDK: enough of them for thousands of calls at once, each reply bounded."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Callable
from functools import cache
from typing import Any

import httpx2

from agentkit.errors import MalformedReply

#: No model writes this much; an endpoint that does would fill the memory of the process.
LARGEST_REPLY_BYTES = 32 * 1024 * 1024
#: Of a streamed reply most is wrapping, which is not kept: some hundred bytes around each word.
LARGEST_STREAM_BYTES = 8 * LARGEST_REPLY_BYTES
#: A pool looks at each of its connections before and after each request. With a thousand in flight that took three
#: quarters of a call's cost; in pools of this size it is not felt.
_CALLS_PER_POOL = 64
#: The bound on calls in flight is the number of agents a process holds; this only stops what has run away.
_MOST_POOLS = 256


def bounded_http_client() -> httpx2.AsyncClient:
    """A client for an SDK: the bytes of a reply are bounded, and no redirect is followed.

    A model endpoint that redirects is a base URL mistyped: the POST would arrive as a GET, without its key.
    """
    return _PooledClient()


@cache
def _certificates() -> ssl.SSLContext:
    """Read once: that is most of the cost of a client."""
    return httpx2.create_ssl_context()


class _PooledClient(httpx2.AsyncClient):
    """Sends each request through the first of its pools that has room, and adds pools as calls pile up."""

    def __init__(self) -> None:
        self._options: dict[str, Any] = {
            "verify": _certificates(),
            "follow_redirects": False,
        }
        super().__init__(**self._options)
        self._pools: list[_Pool] = []

    async def send(self, request: httpx2.Request, *, stream: bool = False, **options: Any) -> httpx2.Response:
        pool = self._pool_with_room()
        pool.in_flight += 1
        try:
            response = await pool.client.send(request, stream=stream, **options)
        except BaseException:
            pool.in_flight -= 1
            raise
        if stream:
            # In flight until its body is closed.
            assert isinstance(response.stream, _BoundedStream)
            response.stream.on_close = pool.leave
        else:
            pool.in_flight -= 1
        return response

    async def aclose(self) -> None:
        for pool in self._pools:
            await pool.client.aclose()
        await super().aclose()

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    def _pool_with_room(self) -> _Pool:
        for pool in self._pools:
            if pool.in_flight < _CALLS_PER_POOL:
                return pool
        if len(self._pools) < _MOST_POOLS:
            self._pools.append(_Pool(self._options))
            return self._pools[-1]
        return min(self._pools, key=lambda pool: pool.in_flight)


class _Pool:
    def __init__(self, options: dict[str, Any]) -> None:
        self.in_flight = 0
        # All kept alive: with fewer, a busy host would start most calls with a TLS handshake.
        limits = httpx2.Limits(max_connections=None, max_keepalive_connections=_CALLS_PER_POOL, keepalive_expiry=30.0)
        self.client = httpx2.AsyncClient(limits=limits, event_hooks={"response": [_bound]}, **options)

    def leave(self) -> None:
        self.in_flight -= 1


async def _bound(response: httpx2.Response) -> None:
    """Called when the headers are there and the body is not yet read."""
    assert isinstance(response.stream, httpx2.AsyncByteStream)  # an async client has no other
    is_streamed = response.headers.get("content-type", "").startswith("text/event-stream")
    response.stream = _BoundedStream(response.stream, LARGEST_STREAM_BYTES if is_streamed else LARGEST_REPLY_BYTES)


class _BoundedStream(httpx2.AsyncByteStream):
    def __init__(self, inner: httpx2.AsyncByteStream, largest: int) -> None:
        self._inner = inner
        self._largest = largest
        #: Called once, when the body is read or given up.
        self.on_close: Callable[[], None] | None = None

    async def __aiter__(self) -> AsyncIterator[bytes]:
        left = self._largest
        try:
            async for chunk in self._inner:
                left -= len(chunk)
                if left < 0:
                    raise MalformedReply(f"the reply is longer than {self._largest} bytes")
                yield chunk
        finally:
            self._closed()

    async def aclose(self) -> None:
        self._closed()
        await self._inner.aclose()

    def _closed(self) -> None:
        closed, self.on_close = self.on_close, None
        if closed is not None:
            closed()
