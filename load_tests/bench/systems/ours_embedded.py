"""Ours on a SQLite file, everything in the client's own process: worker, housekeeper, queue."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import driver
import ours
from ours import AGENT, COUNT_DONE, KEEPS

from ops_core.bootstrap.in_process import open_embedded_tasks
from ops_core.domain.caller import Caller
from ops_core.services.tasks import Submission
from ops_core.settings import Settings
from ops_core.telemetry import configure_logging

__all__ = ["COUNT_DONE", "KEEPS", "client"]

REQUIREMENTS = None
IS_DONE = "SELECT 1 FROM tasks WHERE id = replace(%s, '-', '') AND status = 'completed'"
WORKS = ("end-to-end", "latency")
SQLITE = "ops.db"


def prepare() -> None:
    folder = driver.FOLDER / "agents"
    folder.mkdir(exist_ok=True)
    (folder / "noop.yaml").write_text("name: noop\nplanner: one_call\nmodel: {provider: demo}\n")


def worker_commands() -> list[list[str]]:
    return []


@asynccontextmanager
async def client() -> AsyncIterator[Callable[[], Awaitable[str]]]:
    configure_logging(level="warning")
    caller = Caller()
    given = {name.removeprefix("OPS_CORE_").lower(): value for name, value in ours.settings().items()}
    given |= {"database_url": f"sqlite:///{driver.FOLDER / SQLITE}", "broker_url": "memory://"}
    async with open_embedded_tasks(Settings(**given)) as tasks:  # type: ignore[arg-type]  # as texts

        async def submit() -> str:
            return str((await tasks.submit(caller, Submission(agent=AGENT, goal="nothing"))).task.id)

        yield submit
