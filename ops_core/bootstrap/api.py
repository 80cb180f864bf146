"""The process that serves HTTP."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from ops_core import __version__
from ops_core.api.app import make_app
from ops_core.api.door import ApiConfig, ApiServices
from ops_core.api.gate import LOOPBACK_HOSTS
from ops_core.api.serve import serving
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
from ops_core.services.agents import AgentService
from ops_core.services.watch import HEARS
from ops_core.settings import Settings
from ops_core.telemetry import LogEvent, get_logger

_log = get_logger()


async def run_api(settings: Settings) -> None:
    """Serve HTTP.

    Raises:
        ConfigurationInvalid: a setting, an agent file or the address is wrong. StoreUnavailable: no database in time.
    """
    with stop_signal() as stop:
        async with open_core(settings, stop, slots=None, hears=HEARS) as core:
            await register_agents(core)
            async with open_http(core):
                await stop.wait()
                _log.info(LogEvent.process_stopping, door="http")


@asynccontextmanager
async def open_http(core: Core) -> AsyncIterator[str]:
    """Serves HTTP while open; gives its URL."""
    settings = core.settings
    keys = api_keys(settings)
    limits = task_limits(settings)
    app = make_app(
        ApiServices(
            tasks=task_service(core),
            agents=AgentService(agents=core.store),
            approvals=approval_service(core),
            signals=signal_service(core),
            schedules=schedule_service(core),
            queues=queue_service(core),
            health=core.store,
            doorbell=core.doorbell,
        ),
        ApiConfig(
            limits=limits,
            max_body_bytes=settings.max_body_bytes,
            keys=keys,
            allowed_hosts=None if keys else LOOPBACK_HOSTS,
            probed_queue=settings.queues[0],
        ),
    )
    async with serving(app, host=settings.host, port=settings.port) as port:
        _log.info(LogEvent.process_started, door="http", address=settings.host, port=port, version=__version__)
        yield f"http://{shown_host(settings.host)}:{port}"
