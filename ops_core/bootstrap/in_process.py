"""Tasks from within a program of one's own: what the doors give, without a door between."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from ops_core.bootstrap.core import open_core
from ops_core.bootstrap.doors import register_agents
from ops_core.bootstrap.housekeeper import open_housekeeper
from ops_core.bootstrap.services import task_service
from ops_core.bootstrap.worker import open_worker
from ops_core.services.tasks import TaskService
from ops_core.services.watch import HEARS
from ops_core.settings import Settings
from ops_core.storage.migrations import upgrade
from ops_core.worker.slots import Slots


@asynccontextmanager
async def open_tasks(settings: Settings) -> AsyncIterator[TaskService]:
    """The tasks of an installation whose workers run elsewhere; commits and rings on the caller's event loop.

    Raises:
        ConfigurationInvalid: a setting or an agent file is wrong. StoreUnavailable: no database in time.
    """
    async with open_core(settings, asyncio.Event(), slots=None, hears=HEARS) as core:
        await register_agents(core)
        yield task_service(core)


@asynccontextmanager
async def open_embedded_tasks(settings: Settings) -> AsyncIterator[TaskService]:
    """A whole installation on the caller's event loop, worker and housekeeper too; brings the schema up to date.

    Like every worker it ends its process when the loop stands still for `loop_stall_seconds`: its leases are over then.

    Raises:
        As `open_tasks`.
    """
    await asyncio.to_thread(upgrade, settings.database_url)
    slots = Slots(settings.concurrency)
    async with open_core(settings, asyncio.Event(), slots=slots) as core:
        await register_agents(core)
        async with open_housekeeper(core), open_worker(core, slots):
            yield task_service(core)
