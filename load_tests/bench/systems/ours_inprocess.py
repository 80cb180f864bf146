"""Ours on PostgreSQL and RabbitMQ, submitted to as the peers are: through a library, in the client's own process."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from ours import (
    AGENT,
    COUNT_DONE,
    IS_DONE,
    KEEPS,
    MAKESPAN,
    one_worker_commands,
    prepare,
    server_commands,
    settings,
    worker_commands,
)

from ops_core.bootstrap.in_process import open_tasks
from ops_core.domain.caller import Caller
from ops_core.services.tasks import Submission
from ops_core.settings import Settings
from ops_core.telemetry import configure_logging

__all__ = [
    "COUNT_DONE",
    "IS_DONE",
    "KEEPS",
    "MAKESPAN",
    "client",
    "one_worker_commands",
    "prepare",
    "server_commands",
    "worker_commands",
]

REQUIREMENTS = None


@asynccontextmanager
async def client() -> AsyncIterator[Callable[[], Awaitable[str]]]:
    configure_logging(level="warning")
    caller = Caller()
    given = {name.removeprefix("OPS_CORE_").lower(): value for name, value in settings().items()}
    async with open_tasks(Settings(**given)) as tasks:  # type: ignore[arg-type]  # as texts, like the environment's

        async def submit() -> str:
            return str((await tasks.submit(caller, Submission(agent=AGENT, goal="nothing"))).task.id)

        yield submit
