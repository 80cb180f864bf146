"""Procrastinate with its psycopg connector, as its quickstart and its guide of workers set it up: PostgreSQL alone.

Two worker processes of twenty jobs at once each, woken by LISTEN/NOTIFY; jobs stay after their end (both defaults).
"""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import driver
import procrastinate

REQUIREMENTS = ["procrastinate>=3.10,<4", "psycopg[binary,pool]>=3.3,<4"]
KEEPS = "a row: status and arguments, and an event for each change; no result"
COUNT_DONE = "SELECT count(*) FROM procrastinate_jobs WHERE status = 'succeeded'"
IS_DONE = "SELECT 1 FROM procrastinate_jobs WHERE id = %s::bigint AND status = 'succeeded'"

# The pool's default of four would be fewer than the jobs at once, or the submissions in flight.
app = procrastinate.App(connector=procrastinate.PsycopgConnector(conninfo=driver.DATABASE_URL, max_size=20))


@app.task
async def noop() -> int:
    await driver.wait_async()
    return 0


async def prepare() -> None:
    """Makes the schema, in an empty database."""
    async with app.open_async():
        await app.schema_manager.apply_schema_async()


def worker_commands() -> list[list[str]]:
    return [_worker_command(20), _worker_command(20)]


def one_worker_commands() -> list[list[str]]:
    return [_worker_command(driver.AT_ONCE)]


def _worker_command(at_once: int) -> list[str]:
    worker = [sys.executable, "-m", "procrastinate", "--app", "peer_procrastinate.app", "worker"]
    return [*worker, "--concurrency", str(at_once)]


@asynccontextmanager
async def client() -> AsyncIterator[Callable[[], Awaitable[int]]]:
    """Gives `submit`, which returns when the job is committed."""
    async with app.open_async():
        yield noop.defer_async
