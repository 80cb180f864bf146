"""`up` gives way to other programs on the usual ports, and to nobody where a port was asked for."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from ops_core.entrypoints.process import PortInUse, require_free_port
from ops_core.entrypoints.up import with_free_ports
from ops_core.settings import Settings


@contextmanager
def http_server(answer: object) -> Iterator[int]:
    """Answers everything with the same JSON."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(json.dumps(answer).encode())

        def log_message(self, format: str, *args: object) -> None: ...

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_port
        server.shutdown()


@pytest.fixture
def taken_port() -> Iterator[int]:
    with http_server("some other program") as port:
        yield port


@pytest.mark.parametrize(("name", "flag"), [("port", "--port"), ("grpc_port", "--grpc-port")])
def test_a_usual_port_that_is_taken_gives_the_next_free_one_and_is_told(
    taken_port: int, name: str, flag: str, capsys: pytest.CaptureFixture[str]
) -> None:
    # As if the usual port were this one: nobody has asked for it.
    usual = Settings(**{"port": 0, "grpc_port": 0, name: taken_port})  # type: ignore[arg-type]
    found = getattr(with_free_ports(usual, {}), name)
    assert taken_port < found < taken_port + 20
    require_free_port("127.0.0.1", found, flag=flag)
    said = capsys.readouterr().err
    assert f"Port {taken_port} is taken by another program: taking {found} ({flag} chooses one)" in said


@pytest.mark.parametrize("variable", ["OPS_CORE_PORT", "PORT"])
def test_a_port_from_the_environment_is_asked_for(
    taken_port: int, variable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, str(taken_port))
    with pytest.raises(PortInUse, match="--port"):
        with_free_ports(Settings(grpc_port=0), {})


def test_a_port_given_by_flag_is_asked_for(taken_port: int) -> None:
    with pytest.raises(PortInUse, match="--grpc-port"):
        with_free_ports(Settings(port=0, grpc_port=taken_port), {"grpc_port": taken_port})


def test_another_system_of_ours_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    with http_server({"version": "9.9.9"}) as port:
        assert with_free_ports(Settings(port=port, grpc_port=0), {}).port > port
    assert f"Port {port} is taken by Opspawn Core 9.9.9" in capsys.readouterr().err
