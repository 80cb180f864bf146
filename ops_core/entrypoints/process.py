"""What all commands that start a process have in common: settings, ports, one clear line when it cannot start."""

from __future__ import annotations

import asyncio
import errno
import gc
import os
import socket
import sys
from collections.abc import Coroutine, Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ops_core.cli.exit_codes import ExitCode
from ops_core.cli.refusals import tell
from ops_core.errors import ConfigurationInvalid, OpsCoreError

if TYPE_CHECKING:
    # pydantic-settings costs 0.2 s, which `--help` need not pay.
    from ops_core.settings import Settings

Host = Annotated[str | None, typer.Option(help="Address to listen on (OPS_CORE_HOST).", show_default=False)]
Port = Annotated[int | None, typer.Option(help="HTTP port (OPS_CORE_PORT); 0 takes a free one.", show_default=False)]
GrpcPort = Annotated[
    int | None, typer.Option(help="gRPC port (OPS_CORE_GRPC_PORT); 0 takes a free one.", show_default=False)
]
Concurrency = Annotated[
    int | None, typer.Option(help="Agents at once in each process (OPS_CORE_CONCURRENCY).", show_default=False)
]

#: Of ports in a row that are all taken, something else is wrong.
_PORTS_TRIED = 20

#: What is left when a process ends has this long to heed that it is cancelled.
_UNWIND_SECONDS = 3.0

#: New objects before the youngest are looked through, and how often that goes before the older ones are (see `gc`).
_GARBAGE_THRESHOLDS = (10_000, 20, 20)

_ADVICE = {
    "configuration_invalid": "correct it; ops-core doctor looks at everything again",
    "agent_file_invalid": "ops-core agent check, once it is corrected",
    "port_in_use": "ops-core doctor, which says what it can about the ports",
}


class PortInUse(ConfigurationInvalid):
    """Somebody else listens there."""

    code = "port_in_use"


def server_settings(flags: Mapping[str, object]) -> Settings:
    """Settings of a server process, with `.env` in its environment and its log set up.

    Raises:
        ConfigurationInvalid
    """
    from ops_core.settings import Settings, export_dotenv, load_settings
    from ops_core.telemetry import configure_logging

    settings = load_settings(Settings, flags)
    export_dotenv()
    configure_logging(level=settings.log_level, json_lines=settings.log_json)
    return settings


def serve(process: Coroutine[Any, Any, None]) -> None:
    """Run it until it has been told to stop and has stopped."""
    import uvloop  # a third less processor time for each request than asyncio's own loop

    _look_for_garbage_seldom()
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_and_leave_nothing(process))
    except KeyboardInterrupt:
        raise typer.Exit(130) from None  # a second Ctrl-C, or one before it had begun to listen for them


def _look_for_garbage_seldom() -> None:
    """Without this a worker that is busy spends a third of its time on looking through modules that never go away, and
    on looking again after every few runs. What is imported by now is left out for good."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_GARBAGE_THRESHOLDS)


async def _and_leave_nothing(process: Coroutine[Any, Any, None]) -> None:
    """Run it, and end what it left running; what swallows that would keep the process for ever."""
    await process
    left = asyncio.all_tasks() - {asyncio.current_task()}
    for task in left:
        task.cancel()
    if not left:
        return
    _, deaf = await asyncio.wait(left, timeout=_UNWIND_SECONDS)
    if deaf:
        from ops_core.telemetry import LogEvent, get_logger

        get_logger().error(LogEvent.process_stuck, running=sorted(task.get_name() for task in deaf))
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(ExitCode.failed)


def tell_error(error: OpsCoreError) -> ExitCode:
    """Say why the process cannot do its work, one line for each thing that is wrong; returns the exit code for it."""
    lines = [f"{one.pointer}: {one.detail}" for one in error.problems]
    # With problems, the detail is either the title or the problems once more in one line.
    tell(error.title if lines else error.detail, advice=_ADVICE.get(error.code, "ops-core doctor"), lines=lines)
    return ExitCode.usage if isinstance(error, ConfigurationInvalid) else ExitCode.failed


def require_free_port(host: str, port: int, *, flag: str) -> None:
    """Asked before anything starts, so that the refusal comes at once.

    Raises:
        PortInUse. ConfigurationInvalid: the address is none of this machine's.
    """
    try:
        family, kind, proto, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, proto) as probe:
            # As the servers do, lest the remains of old connections look like a server. Without SO_REUSEPORT:
            # gRPC would set it, and share the port with a stranger in silence.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except PermissionError as error:
        raise ConfigurationInvalid(f"this user may not listen on port {port}: choose another with {flag}") from error
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise PortInUse(
                f"port {port} on {host} is in use: stop what listens there, or choose another with {flag}"
            ) from error
        raise ConfigurationInvalid(f"cannot listen on {host} port {port}: {error.strerror or error}") from error


def next_free_port(host: str, taken: int) -> int:
    """The first free port after one that is taken.

    Raises:
        PortInUse: none of the next ones is free. ConfigurationInvalid: the address is none of this machine's.
    """
    for port in range(taken + 1, taken + _PORTS_TRIED):
        try:
            require_free_port(host, port, flag="")
        except PortInUse:
            continue
        return port
    raise PortInUse(f"ports {taken} to {taken + _PORTS_TRIED - 1} on {host} are all in use")


def is_listening(host: str, port: int, *, timeout_seconds: float = 1.0) -> bool:
    """Whether something accepts connections there."""
    reached = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - compared, not bound
    try:
        with socket.create_connection((reached, port), timeout=timeout_seconds):
            return True
    except OSError:
        return False
