"""Whoever wants the same key at the same moment waits in one order, on PostgreSQL."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

import psycopg
import pytest

from ops_core.domain.outcome import Completed, Suspended
from ops_core.domain.signal import NewSignal
from ops_core.domain.task import RateLimit
from ops_core.domain.wait import ChildWait
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
async def key_held(url: str, key: str = "%") -> AsyncIterator[Gatekeeper]:
    async with await psycopg.AsyncConnection.connect(url) as connection:
        await connection.execute("SELECT 1 FROM concurrency_keys WHERE concurrency_key LIKE %s FOR UPDATE", (key,))
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


async def until_released(store: Store) -> list[UUID | None]:
    """What the housekeeper rings for, once there is something."""
    async with asyncio.timeout(10):
        while not (rings := await store.release_due(limit=10)):
            await asyncio.sleep(0.01)
    return [ring.task_id for ring in rings]


async def test_a_place_that_is_freed_while_a_blocked_task_is_held_goes_to_that_task(postgres_url: str) -> None:
    keys = {"concurrency_key": "a", "concurrency_limit": 1}
    async with opened(postgres_url) as store:
        _, blocked = [(await store.add_task(new_task(**keys))).task for _ in range(2)]
        (running,) = await claim(store, limit=10)
        async with await psycopg.AsyncConnection.connect(postgres_url) as connection:
            await connection.execute("SELECT 1 FROM tasks WHERE id = %s FOR UPDATE", (blocked.id,))
            async with asyncio.timeout(5):
                assert (await store.finish(lease(running), DONE)).rings == (), "who ends waits for nobody's task"
            assert await store.seconds_until_due() is not None
            assert await store.release_due(limit=10) == []
        assert await until_released(store) == [blocked.id]
        assert await store.seconds_until_due() is None


async def test_a_family_that_is_canceled_frees_a_place_while_its_blocked_child_is_wanted(postgres_url: str) -> None:
    keys = {"concurrency_key": "a", "concurrency_limit": 2}
    async with opened(postgres_url) as store, opened(postgres_url) as other:
        await store.add_task(new_task(**keys))
        (running,) = await claim(store, limit=10)
        parent = (await store.add_task(new_task())).task
        (run,) = await claim(store, limit=10)
        children = [ChildWait(key=f"1/tool/{n}/child", child=new_task(depth=1, **keys)) for n in range(2)]
        await store.finish(lease(run), Suspended(waits=tuple(children), usage=USAGE))
        async with key_held(postgres_url) as gatekeeper:
            ending = asyncio.create_task(other.finish(lease(running), DONE))
            await gatekeeper.until_waiting(1)
            canceling = asyncio.create_task(store.cancel_task("default", parent.id, by="me"))
            await gatekeeper.until_waiting(2)
            await gatekeeper.let_go()
            async with asyncio.timeout(20):
                await ending, await canceling
        assert {task.status for task in await store.list_children("default", parent.id, limit=10)} == {"canceled"}
        last = (await store.add_task(new_task(**keys))).task
        assert not last.blocked
    assert await number(postgres_url, _DEADLOCKS) == 0


async def test_keys_of_children_and_keys_that_are_given_back_are_locked_in_one_order(postgres_url: str) -> None:
    async with opened(postgres_url) as store, opened(postgres_url) as other:
        for key in ("a", "b"):
            await store.add_task(new_task(concurrency_key=key, concurrency_limit=9))
        run, _ = await claim(store, limit=10)
        await store.add_task(new_task())
        (parent,) = await claim(store, limit=10)
        assert run.concurrency_key == "a"
        child = ChildWait(key="1/tool/1/child", child=new_task(depth=1, concurrency_key="b", concurrency_limit=9))
        async with key_held(postgres_url, "b") as gatekeeper:
            # Side by side, so that one transaction adds the child and gives the place back.
            ending = asyncio.gather(
                store.finish(lease(parent), Suspended(waits=(child,), usage=USAGE)), store.finish(lease(run), DONE)
            )
            await gatekeeper.until_waiting(1)
            adding = asyncio.gather(
                *(other.add_task(new_task(concurrency_key=key, concurrency_limit=9)) for key in ("a", "b"))
            )
            await gatekeeper.until_waiting(2)
            await gatekeeper.let_go()
            async with asyncio.timeout(20):
                await ending
                assert [one.task.blocked for one in await adding] == [False, False]
        assert [ring.task_id for ring in ending.result()[0].rings] == [child.child.id]
    assert await number(postgres_url, _DEADLOCKS) == 0


async def test_who_frees_a_place_waits_for_no_rate_of_the_line(postgres_url: str) -> None:
    keys = {"concurrency_key": "a", "concurrency_limit": 1, "rate": RateLimit(key="r", limit=1, per_seconds=60)}
    async with opened(postgres_url) as store:
        _, second = [(await store.add_task(new_task(**keys))).task for _ in range(2)]
        (running,) = await claim(store, limit=10)
        async with await psycopg.AsyncConnection.connect(postgres_url) as connection:
            due = "UPDATE rate_keys SET next_at = next_at - interval '1 hour', release_at = now() - interval '1 second'"
            await connection.execute(due)
            await connection.commit()
            await connection.execute("SELECT 1 FROM rate_keys FOR UPDATE")
            async with asyncio.timeout(5):
                assert (await store.finish(lease(running), DONE)).rings == ()
            await connection.rollback()
        assert await until_released(store) == [second.id]
