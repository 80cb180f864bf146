"""The process of one task that runs alone."""

from __future__ import annotations

from contextlib import AsyncExitStack

from ops_core.bootstrap.runner import agent_builder, task_runner
from ops_core.settings import Settings
from ops_core.storage.nudges import make_nudge_bus
from ops_core.storage.store import open_store
from ops_core.worker.isolated_run import LOST, IsolatedRun


async def run_isolated(settings: Settings, isolated: IsolatedRun) -> int:
    """Run one task alone, as the worker that holds its lease has ordered; returns the exit status of the process.

    Raises:
        ConfigurationInvalid, StoreUnavailable: it did not come to its task.
    """
    order = isolated.order
    async with AsyncExitStack() as stack:
        nudges = make_nudge_bus(settings.database_url, hears=())
        store = await open_store(
            settings.database_url, nudges=nudges, start_timeout_seconds=settings.start_timeout_seconds
        )
        stack.push_async_callback(store.aclose)
        stack.push_async_callback(nudges.aclose)
        await nudges.start()
        builder = agent_builder(settings)
        stack.push_async_callback(builder.aclose)
        task = await store.get_task(order.namespace, order.task_id)
        if task is None:
            return LOST
        runner = task_runner(settings, store, nudges, builder, announce=isolated.announce)
        return await isolated.run(task, runner.run)
