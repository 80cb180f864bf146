"""`ops-core up`: everything in one process, and where to find it."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from ops_core.cli.exit_codes import ExitCode
from ops_core.cli.terminal import say
from ops_core.entrypoints.demo import run_demo
from ops_core.entrypoints.process import (
    Concurrency,
    GrpcPort,
    Port,
    PortInUse,
    next_free_port,
    require_free_port,
    serve,
    server_settings,
)
from ops_core.errors import ConfigurationInvalid

if TYPE_CHECKING:
    from ops_core.bootstrap.embedded import Embedded
    from ops_core.settings import Settings

_Result = TypeVar("_Result")


def up(
    demo: Annotated[bool, typer.Option("--demo", help="Submit one task and show it run.")] = False,
    exit_after_demo: Annotated[
        bool, typer.Option("--exit-after-demo", help="Stop then; the exit code is that of `task run`.")
    ] = False,
    port: Port = None,
    grpc_port: GrpcPort = None,
    concurrency: Concurrency = None,
) -> None:
    """Start everything in this process: store, queue, worker, housekeeper, REST and gRPC.

    The store is a SQLite file, brought to the newest schema first. Ctrl-C stops it cleanly. When a usual port is taken
    and you asked for none, it takes the next free one and says so.
    """
    from ops_core.settings import leave_forks_to_exec, require_safe_address

    leave_forks_to_exec()
    from ops_core.bootstrap.embedded import run_embedded

    flags: dict[str, object] = {"port": port, "grpc_port": grpc_port, "concurrency": concurrency}
    settings = _quiet_settings(flags)
    require_safe_address(settings)
    settings = with_free_ports(settings, flags)
    if settings.port and settings.port == settings.grpc_port:
        raise ConfigurationInvalid(f"HTTP and gRPC cannot share port {settings.port}: choose another with --grpc-port")
    outcome: list[int] = []

    async def on_ready(running: Embedded) -> bool:
        _print_banner(settings, running)
        if demo or exit_after_demo:
            outcome.append(await _in_daemon_thread(partial(_demo, settings, running)))
        if exit_after_demo:
            return False
        say("Everything is up. Ctrl-C stops it.", style="dim")
        return True

    serve(run_embedded(settings, on_ready=on_ready))
    if exit_after_demo:
        raise typer.Exit(outcome[0] if outcome else ExitCode.unreachable)


def _quiet_settings(flags: dict[str, object]) -> Settings:
    """As asked for, but without a log line for everything that goes well: here a person reads along."""
    from ops_core.settings import Settings, load_settings

    asked_for = "log_level" in _asked_for(load_settings(Settings, flags), flags)
    return server_settings(flags if asked_for else {**flags, "log_level": "warning"})


def _asked_for(settings: Settings, flags: dict[str, object]) -> set[str]:
    """Names of the settings that somebody has set, wherever."""
    from ops_core.settings import show_settings

    return {one.name for one in show_settings(settings, flags) if one.source != "default"}


def with_free_ports(settings: Settings, flags: dict[str, object]) -> Settings:
    """The settings with ports that are free: instead of a usual one that is taken, the next.

    Raises:
        PortInUse: a port that was asked for is taken, or the usual one and many after it.
    """
    from ops_core.entrypoints.doctor import our_version

    asked_for = _asked_for(settings, flags)
    for name, flag in (("port", "--port"), ("grpc_port", "--grpc-port")):
        port = getattr(settings, name)
        try:
            require_free_port(settings.host, port, flag=flag)
        except PortInUse:
            if name in asked_for:
                raise
            free = next_free_port(settings.host, port)
            by = (
                f"Opspawn Core {version}"
                if name == "port" and (version := our_version(settings))
                else "another program"
            )
            say(f"Port {port} is taken by {by}: taking {free} ({flag} chooses one)", style="yellow")
            settings = settings.model_copy(update={name: free})
    return settings


def _print_banner(settings: Settings, running: Embedded) -> None:
    from ops_core.bootstrap.runner import find_mcp_config
    from ops_core.entrypoints.banner import print_banner
    from ops_core.runner.mcp_config import load_mcp_servers

    print_banner(settings, running, mcp_servers=sorted(load_mcp_servers(find_mcp_config(settings), os.environ)))


def _demo(settings: Settings, running: Embedded) -> int:
    from ops_core.settings import own_key

    return run_demo(running.url, own_key(settings))


async def _in_daemon_thread(work: Callable[[], _Result]) -> _Result:
    """What the work returns. Unlike `asyncio.to_thread`, a stop does not wait for a request that hangs."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[_Result] = loop.create_future()

    def settle(finish: Callable[[], None]) -> None:
        if not done.cancelled():
            finish()

    def run() -> None:
        try:
            result = work()
        except Exception as error:  # noqa: BLE001 - handed to whoever awaits
            told = error
            _tell_loop(loop, lambda: settle(lambda: done.set_exception(told)))
        else:
            _tell_loop(loop, lambda: settle(lambda: done.set_result(result)))

    threading.Thread(target=run, name="demo", daemon=True).start()
    return await done


def _tell_loop(loop: asyncio.AbstractEventLoop, callback: Callable[[], None]) -> None:
    try:
        loop.call_soon_threadsafe(callback)
    except RuntimeError:
        return  # the loop is closed: the process is on its way out, and nobody waits any more
