"""What keeps a process from starting is told before anything has started."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Iterator

import pytest

from ops_core.entrypoints.process import PortInUse, is_listening, require_free_port
from ops_core.errors import ConfigurationInvalid
from ops_core.tests.unit.entrypoints.conftest import Command


@pytest.fixture
def taken_port() -> Iterator[int]:
    """A port that somebody listens on, and would share."""
    with socket.socket() as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        server.bind(("127.0.0.1", 0))
        server.listen()
        yield server.getsockname()[1]


def test_a_taken_port_is_refused_and_named(taken_port: int) -> None:
    with pytest.raises(PortInUse, match=rf"port {taken_port} on 127.0.0.1 is in use.*--port"):
        require_free_port("127.0.0.1", taken_port, flag="--port")
    assert is_listening("127.0.0.1", taken_port)


def test_any_free_port_will_do() -> None:
    require_free_port("127.0.0.1", 0, flag="--port")


@pytest.mark.parametrize("host", ["203.0.113.1", "no.such.host.invalid"])
def test_an_address_of_another_machine_is_refused(host: str) -> None:
    with pytest.raises(ConfigurationInvalid, match="cannot listen on"):
        require_free_port(host, 0, flag="--port")


@pytest.mark.parametrize("flag", ["--port", "--grpc-port"])
def test_up_says_which_port_is_taken(command: Command, taken_port: int, flag: str) -> None:
    other = "--grpc-port" if flag == "--port" else "--port"
    told = command("up", flag, str(taken_port), other, "0")
    assert told.code == 2
    assert f"port {taken_port} on 127.0.0.1 is in use" in told.err
    assert flag in told.err


def test_up_wants_two_ports(command: Command, taken_port: int) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        free = other.getsockname()[1]
    told = command("up", "--port", str(free), "--grpc-port", str(free))
    assert told.code == 2
    assert "cannot share port" in told.err


@pytest.mark.parametrize("process", ["api", "rpc"])
def test_doors_refuse_other_machines_without_a_key(
    command: Command, monkeypatch: pytest.MonkeyPatch, process: str
) -> None:
    monkeypatch.setenv("OPS_CORE_BROKER_URL", "amqp://nowhere/")
    told = command(process, "start", "--host", "0.0.0.0")
    assert told.code == 2
    assert "OPS_CORE_API_KEY" in told.err


@pytest.mark.parametrize("process", ["api", "rpc", "worker", "housekeeper"])
def test_a_process_of_its_own_wants_a_queue_that_others_share(command: Command, process: str) -> None:
    ports = {"api": ["--port", "0"], "rpc": ["--grpc-port", "0"]}
    told = command(process, "start", *ports.get(process, []))
    assert told.code == 2
    assert "OPS_CORE_BROKER_URL" in told.err


LEAVES_SOMETHING = """
import asyncio, sys
from ops_core.entrypoints import process

async def rest():
    while True:
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            if sys.argv[1] == "heeds":
                raise

async def main():
    # Whose name the log is to say.
    main.rest = asyncio.create_task(rest(), name="task-7")
    await asyncio.sleep(0)

process._UNWIND_SECONDS = 0.2
process.serve(main())
print("ended by itself")
"""


def test_a_process_ends_although_something_in_it_swallows_what_stops_it() -> None:
    done = subprocess.run(
        [sys.executable, "-c", LEAVES_SOMETHING, "swallows"], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, "ended by itself" in done.stdout) == (1, False)
    assert "task-7" in done.stdout + done.stderr


def test_a_process_whose_rest_heeds_what_stops_it_ends_by_itself() -> None:
    """The control of the test above."""
    done = subprocess.run(
        [sys.executable, "-c", LEAVES_SOMETHING, "heeds"], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout) == (0, "ended by itself\n")
