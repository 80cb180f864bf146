"""The process that does what must happen although nobody asks."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from ops_core.bootstrap.core import Core, open_core
from ops_core.bootstrap.services import pruner, schedule_firing
from ops_core.bootstrap.stop import stop_signal
from ops_core.services.due import HEARS
from ops_core.services.housekeeper import Housekeeper
from ops_core.settings import Settings
from ops_core.telemetry import LogEvent, get_logger

_log = get_logger()


async def run_housekeeper(settings: Settings) -> None:
    """Do what must happen although nobody asks; raises as `run_api`."""
    with stop_signal() as stop:
        async with open_core(settings, stop, slots=None, hears=HEARS) as core, open_housekeeper(core):
            await stop.wait()
            _log.info(LogEvent.process_stopping, door="housekeeper")


@asynccontextmanager
async def open_housekeeper(core: Core) -> AsyncIterator[None]:
    settings = core.settings
    housekeeper = Housekeeper(
        core.store,
        core.doorbell,
        core.relay,
        nudges=core.nudges,
        interval_seconds=settings.housekeeper_interval_seconds,
        ring_again_seconds=settings.ring_again_seconds,
        max_crashes=settings.max_crashes,
        chores=pruner(core).chores,
        timed_chores=[("fire_schedules", schedule_firing(core))],
    )
    await housekeeper.start()
    try:
        yield
    finally:
        await housekeeper.aclose()
