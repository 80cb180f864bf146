"""Everything in one process."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass

from ops_core.bootstrap.api import open_http
from ops_core.bootstrap.core import open_core
from ops_core.bootstrap.doors import register_agents
from ops_core.bootstrap.housekeeper import open_housekeeper
from ops_core.bootstrap.rpc import open_rpc
from ops_core.bootstrap.stop import stop_signal, until_stopped
from ops_core.bootstrap.worker import open_worker
from ops_core.domain.agent import AgentDefinition
from ops_core.settings import Settings
from ops_core.storage.migrations import upgrade
from ops_core.telemetry import LogEvent, get_logger
from ops_core.worker.slots import Slots

_log = get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class Embedded:
    """What a running embedded system can say of itself."""

    url: str
    grpc_address: str
    agents: Sequence[AgentDefinition]


async def run_embedded(settings: Settings, *, on_ready: Callable[[Embedded], Awaitable[bool]]) -> None:
    """Everything in this one process, after bringing the schema up to date; raises as `run_api`.

    `on_ready` is awaited once all doors are open; when it returns False the system stops, else at a signal.
    """
    await asyncio.to_thread(upgrade, settings.database_url)
    with stop_signal() as stop:
        slots = Slots(settings.concurrency)
        async with AsyncExitStack() as stack:
            core = await stack.enter_async_context(open_core(settings, stop, slots=slots))
            agents = await register_agents(core)
            await stack.enter_async_context(open_housekeeper(core))
            await stack.enter_async_context(open_worker(core, slots))
            grpc_address = await stack.enter_async_context(open_rpc(core))
            url = await stack.enter_async_context(open_http(core))
            if await until_stopped(on_ready(Embedded(url=url, grpc_address=grpc_address, agents=agents)), stop):
                await stop.wait()
            _log.info(LogEvent.process_stopping, door="embedded")
