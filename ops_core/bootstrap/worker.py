"""The process that runs agents."""

from __future__ import annotations

import os
import secrets
import socket
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

from ops_core.bootstrap.core import Core, open_core
from ops_core.bootstrap.runner import agent_builder, task_runner
from ops_core.bootstrap.stop import stop_order, stop_signal
from ops_core.settings import Settings, environment_of
from ops_core.storage.leases import open_lease_store
from ops_core.telemetry import LogEvent, get_logger
from ops_core.worker.actors import make_worker
from ops_core.worker.host import HEARS, AgentHost
from ops_core.worker.isolation import Isolation
from ops_core.worker.slots import Slots

_log = get_logger()


async def run_worker(settings: Settings, *, stop_only_if: Callable[[], bool] | None = None) -> None:
    """Run agents; raises as `run_api`. With `stop_only_if`, a signal to stop is heeded only when that says so."""
    with stop_signal() if stop_only_if is None else stop_order(stop_only_if) as stop:
        slots = Slots(settings.concurrency)
        async with open_core(settings, stop, slots=slots, hears=HEARS) as core, open_worker(core, slots):
            await stop.wait()
            _log.info(LogEvent.process_stopping, door="worker")


@asynccontextmanager
async def open_worker(core: Core, slots: Slots) -> AsyncIterator[None]:
    """Takes tickets and runs agents while open; drains at the end."""
    settings = core.settings
    builder = agent_builder(settings)
    runner = task_runner(settings, core.store, core.nudges, builder, announce=core.relay.announce)
    isolation = Isolation(
        run_here=runner.run,
        write_crash=runner.write_crash,
        announce=core.relay.announce,
        command=_warden_command(settings),
        environment=environment_of(settings),
        lease_seconds=settings.lease_seconds,
        at_once=settings.isolated_runs,
    )
    host = AgentHost(
        run_store=core.store,
        lease_store_factory=lambda: open_lease_store(settings.database_url),
        run_task=isolation.run,
        relay=core.relay,
        slots=slots,
        worker_id=f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(3)}",
        queues=settings.queues,
        lease_seconds=settings.lease_seconds,
        drain_seconds=settings.drain_seconds,
        loop_stall_seconds=settings.loop_stall_seconds,
        nudges=core.nudges,
    )
    async with AsyncExitStack() as stack:
        stack.push_async_callback(builder.aclose)
        await host.start()
        stack.push_async_callback(host.aclose)
        stack.push_async_callback(host.drain)
        worker = make_worker(core.broker, host)
        worker.start()
        stack.push_async_callback(worker.aclose)
        _log.info(LogEvent.process_started, door="worker", queues=list(settings.queues), slots=settings.concurrency)
        yield


def _warden_command(settings: Settings) -> Sequence[str]:
    """Starts a warden, which starts the run."""
    warden = [sys.executable, "-m", "ops_core.entrypoints.isolated_warden"]
    run = [sys.executable, "-m", "ops_core.entrypoints.isolated_run"]
    limits = [settings.loop_stall_seconds, settings.start_timeout_seconds]
    return [*warden, *map(str, limits), *run, str(settings.isolated_memory_mb)]
