"""Serving the HTTP door: a uvicorn that ends open streams before it waits for connections to close."""

from __future__ import annotations

import socket

import uvicorn
from fastapi import FastAPI

#: Requests that are being answered get this long at a stop.
_STOP_SECONDS = 10


class ApiServer(uvicorn.Server):
    """Stops cleanly although clients hold streams and long waits open."""

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        app: FastAPI = self.config.app  # type: ignore[assignment] # make_server gives it nothing else
        app.state.draining.begin()
        await super().shutdown(sockets)


def make_server(app: FastAPI, *, host: str, port: int) -> ApiServer:
    """A server for the application. Our own log lines take the place of uvicorn's."""
    return ApiServer(
        uvicorn.Config(
            app,
            host=host,
            port=port,
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=_STOP_SECONDS,
            # A header larger than this is refused before it reaches us.
            h11_max_incomplete_event_size=64 * 1024,
        )
    )
