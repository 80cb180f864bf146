"""Serving the HTTP door: a uvicorn that ends open streams before it waits for connections to close."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Iterator

import uvicorn
from fastapi import FastAPI

from ops_core.api.bounded_http import BoundedHttp
from ops_core.errors import ConfigurationInvalid

#: Requests that are being answered get this long at a stop.
_STOP_SECONDS = 10


class ApiServer(uvicorn.Server):
    """Stops cleanly although clients hold streams and long waits open."""

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        app: FastAPI = self.config.app  # type: ignore[assignment] # make_server gives it nothing else
        app.state.draining.begin()
        await super().shutdown(sockets)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Signals are for the process, which may hold more than this server; it ends this one by `should_exit`."""
        yield


@contextlib.asynccontextmanager
async def serving(app: FastAPI, *, host: str, port: int) -> AsyncIterator[int]:
    """Serves the application while open; gives the port.

    Raises:
        ConfigurationInvalid: the address cannot be listened on.
    """
    listening = _listen(host, port)
    server = make_server(app)
    running = asyncio.create_task(server.serve(sockets=[listening]), name="http")
    try:
        # The socket is bound: whoever connects from now on is served as soon as the application has started.
        yield int(listening.getsockname()[1])
    finally:
        server.should_exit = True
        await running


def _listen(host: str, port: int) -> socket.socket:
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        # Only the address and port: a host name may be two addresses, and one is enough.
        listening = socket.create_server(address[:2], family=family, backlog=2048)
        # Connections inherit it. asyncio would set it only on a socket that names its protocol; without it the body
        # of an answer waits 40 ms for the client to acknowledge the head.
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return listening
    except OSError as error:
        raise ConfigurationInvalid(
            f"HTTP cannot listen on {host} port {port}: {error.strerror or error}. "
            "Choose another with --port (OPS_CORE_PORT) or --host (OPS_CORE_HOST)."
        ) from error


def make_server(app: FastAPI) -> ApiServer:
    """A server for the application. Our own log lines take the place of uvicorn's."""
    return ApiServer(
        uvicorn.Config(
            app,
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=_STOP_SECONDS,
            http=BoundedHttp,
            ws="none",
        )
    )
