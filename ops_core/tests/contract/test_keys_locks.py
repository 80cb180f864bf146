"""Whoever wants the same key at the same moment waits in one order, on PostgreSQL."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import psycopg
import pytest

from ops_core.domain.outcome import Completed
from ops_core.domain.signal import NewSignal
from ops_core.domain.task import RateLimit
from ops_core.storage.store import Store, open_store
from ops_core.tests.contract.store_cases import USAGE, claim, lease, new_task, uuid7

DONE = Completed(result=1, usage=USAGE)
_DEADLOCKS = "SELECT pg_stat_force_next_flush(), deadlocks FROM pg_stat_database WHERE datname = current_database()"
_WAITING = "SELECT count(DISTINCT pid) FROM pg_locks WHERE NOT granted"

pytestmark = pytest.mark.services


class Gatekeeper:
    """Holds the row of a concurrency key: who wants the key now waits, in the order of coming."""

    def __init__(self, url: str, connection: psycopg.AsyncConnection[Any]) -> None:
        self._url = url
        self._connection = connection

    async def until_waiting(self, count: int) -> None:
        async with asyncio.timeout(10):
            while await number(self._url, _WAITING) < count:
                await asyncio.sleep(0.01)

    async def let_go(self) -> None:
        await self._connection.rollback()


@asynccontextmanager
async def key_held(url: str) -> AsyncIterator[Gatekeeper]:
    async with await psycopg.AsyncConnection.connect(url) as connection:
        await connection.execute("SELECT 1 FROM concurrency_keys FOR UPDATE")
        yield Gatekeeper(url, connection)


async def number(url: str, query: str) -> int:
    """The last column of the row that the query gives."""
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
        row = await (await connection.execute(query.encode())).fetchone()
        assert row is not None
        return int(row[-1])


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[Store]:
    store = await open_store(url)
    try:
        yield store
    finally:
        await store.aclose()


async def test_a_rate_that_lets_in_and_a_place_that_is_freed_do_not_wait_in_a_circle(postgres_url: str) -> None:
    keys = {"concurrency_key": "a", "concurrency_limit": 2, "rate": RateLimit(key="r", limit=1, per_seconds=60)}
    async with opened(postgres_url) as store, opened(postgres_url) as other:
        first, second = [(await store.add_task(new_task(**keys))).task for _ in range(2)]
        (running,) = await claim(store, limit=10)
        async with await psycopg.AsyncConnection.connect(postgres_url, autocommit=True) as connection:
            due = "UPDATE rate_keys SET next_at = next_at - interval '1 hour', release_at = now() - interval '1 second'"
            await connection.execute(due)
        async with key_held(postgres_url) as gatekeeper:
            ending = asyncio.create_task(store.finish(lease(running), DONE))
            await gatekeeper.until_waiting(1)
            ticking = asyncio.create_task(other.release_due(limit=10))
            await gatekeeper.until_waiting(2)
            await gatekeeper.let_go()
            async with asyncio.timeout(20):
                ended, rings = await ending, await ticking
        assert (running.id, [ring.task_id for ring in (*ended.rings, *rings)]) == (first.id, [second.id])
    assert await number(postgres_url, _DEADLOCKS) == 0


async def test_what_is_told_to_a_task_that_stays_blocked_does_not_wait_for_its_key(postgres_url: str) -> None:
    keys = {"concurrency_key": "a", "concurrency_limit": 1}
    async with opened(postgres_url) as store:
        _, blocked = [(await store.add_task(new_task(**keys))).task for _ in range(2)]
        async with key_held(postgres_url), asyncio.timeout(5):
            await store.send_signal(
                "default", blocked.id, NewSignal(id=uuid7(), name="go", payload=None, sent_by="me"), max_kept=10
            )


async def test_a_place_that_is_freed_while_a_blocked_task_is_held_goes_to_that_task(postgres_url: str) -> None:
    keys = {"concurrency_key": "a", "concurrency_limit": 1}
    async with opened(postgres_url) as store:
        _, blocked = [(await store.add_task(new_task(**keys))).task for _ in range(2)]
        (running,) = await claim(store, limit=10)
        async with await psycopg.AsyncConnection.connect(postgres_url) as connection:
            await connection.execute("SELECT 1 FROM tasks WHERE id = %s FOR UPDATE", (blocked.id,))
            ending = asyncio.create_task(store.finish(lease(running), DONE))
            await Gatekeeper(postgres_url, connection).until_waiting(1)
            await connection.rollback()
        async with asyncio.timeout(10):
            assert [ring.task_id for ring in (await ending).rings] == [blocked.id]
