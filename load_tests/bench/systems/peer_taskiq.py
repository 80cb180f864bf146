"""taskiq with taskiq-aio-pika (RabbitMQ) and taskiq-postgres (results), each as its README sets it up.

By their defaults queues are quorum queues, publishing waits for the confirm, and a message is acknowledged once its
result is saved. Two worker processes, its default. The broker hands out no more than ten messages that are not
acknowledged, its default; where tasks wait, as many as there are to wait at once.
"""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import driver
from taskiq_aio_pika import AioPikaBroker
from taskiq_pg.asyncpg import AsyncpgResultBackend

REQUIREMENTS = ["taskiq>=0.13,<0.14", "taskiq-aio-pika>=0.6,<0.7", "taskiq-postgres[asyncpg]>=0.9,<0.10"]
KEEPS = "a row at the end: the result"
COUNT_DONE = "SELECT count(*) FROM taskiq_results WHERE result IS NOT NULL"
IS_DONE = "SELECT 1 FROM taskiq_results WHERE task_id = %s AND result IS NOT NULL"

broker = AioPikaBroker(
    driver.BROKER_URL, **({"qos": driver.AT_ONCE} if driver.WAIT_SECONDS else {})
).with_result_backend(AsyncpgResultBackend(driver.DATABASE_URL))


@broker.task
async def noop() -> int:
    await driver.wait_async()
    return 0


async def prepare() -> None:
    """Makes the queues and the table, which the broker does at each start-up."""
    await broker.startup()
    await broker.shutdown()


def worker_commands() -> list[list[str]]:
    return [[sys.executable, "-m", "taskiq", "worker", "peer_taskiq:broker", "--workers", "2"]]


def one_worker_commands() -> list[list[str]]:
    worker = [sys.executable, "-m", "taskiq", "worker", "peer_taskiq:broker", "--workers", "1"]
    return [[*worker, "--max-async-tasks", str(driver.AT_ONCE)]]


@asynccontextmanager
async def client() -> AsyncIterator[Callable[[], Awaitable[str]]]:
    """Gives `submit`, which returns when the broker has confirmed the message."""

    async def submit() -> str:
        return (await noop.kiq()).task_id

    await broker.startup()
    yield submit
    await broker.shutdown()
