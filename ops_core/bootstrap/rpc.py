"""The process that serves gRPC."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from ops_core import __version__
from ops_core.bootstrap.checks import task_limits
from ops_core.bootstrap.core import Core, open_core
from ops_core.bootstrap.doors import api_keys, register_agents, shown_host
from ops_core.bootstrap.services import (
    approval_service,
    queue_service,
    schedule_service,
    signal_service,
    task_service,
)
from ops_core.bootstrap.stop import stop_signal
from ops_core.rpc.server import make_server
from ops_core.services.agents import AgentService
from ops_core.services.watch import HEARS
from ops_core.settings import Settings
from ops_core.telemetry import LogEvent, get_logger

_log = get_logger()


async def run_rpc(settings: Settings) -> None:
    """Serve gRPC; raises as `run_api`."""
    with stop_signal() as stop:
        async with open_core(settings, stop, slots=None, hears=HEARS) as core:
            await register_agents(core)
            async with open_rpc(core):
                await stop.wait()
                _log.info(LogEvent.process_stopping, door="grpc")


@asynccontextmanager
async def open_rpc(core: Core) -> AsyncIterator[str]:
    """Serves gRPC while open; gives its address."""
    settings = core.settings
    server = make_server(
        tasks=task_service(core),
        agents=AgentService(agents=core.store),
        approvals=approval_service(core),
        signals=signal_service(core),
        schedules=schedule_service(core),
        queues=queue_service(core),
        limits=task_limits(settings),
        health_probe=core.store,
        host=settings.host,
        port=settings.grpc_port,
        keys=api_keys(settings),
        max_body_bytes=settings.max_body_bytes,
        version=__version__,
    )
    await server.start()
    try:
        yield f"{shown_host(settings.host)}:{server.port}"
    finally:
        await server.stop()
