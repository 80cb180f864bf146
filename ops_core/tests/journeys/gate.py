"""A port that leads to another one only while it is open: a network that comes and goes, for one process alone."""

from __future__ import annotations

import socket
import socketserver
import threading
from types import TracebackType
from typing import Self

from ops_core.tests.free_port import free_port


class Gate:
    """Until it is opened, connections to `port` are refused; then they reach `target`."""

    def __init__(self, target: int) -> None:
        self.port = free_port()
        self._target = target
        self._server: socketserver.ThreadingTCPServer | None = None

    def open(self) -> None:
        target = self._target

        class Handler(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                with socket.create_connection(("127.0.0.1", target)) as beyond:
                    back = threading.Thread(target=_pump, args=(beyond, self.request), daemon=True)
                    back.start()
                    _pump(self.request, beyond)
                    back.join()

        class Server(socketserver.ThreadingTCPServer):
            allow_reuse_address = True
            daemon_threads = True

        self._server = Server(("127.0.0.1", self.port), Handler)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()


def _pump(source: socket.socket, sink: socket.socket) -> None:
    """Until one of the two hangs up."""
    try:
        while data := source.recv(65536):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)
    except OSError:
        source.close()
        sink.close()
