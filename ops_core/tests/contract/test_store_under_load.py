"""Many writers at once: nothing is done twice, nothing is lost, nothing stale gets in."""

from __future__ import annotations

import asyncio
import random
import sys
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from typing import Any
from uuid import UUID

import psycopg
import pytest

from ops_core.domain.outcome import Completed, HandedOver
from ops_core.errors import RunLost
from ops_core.ports import Lease
from ops_core.storage.leases import open_lease_store
from ops_core.storage.store import Store, open_store
from ops_core.tests.contract.store_cases import USAGE, claim, lease, new_task, step, submit_and_claim, worker

DONE = Completed(result=None, usage=USAGE)


async def stores(url: str, count: int) -> list[Store]:
    return [await open_store(url) for _ in range(count)]


async def close(opened: Sequence[Store]) -> None:
    for store in opened:
        await store.aclose()


async def claim_until_empty(store: Store, taken: list[UUID]) -> None:
    empty = 0
    while empty < 3:
        tasks = await claim(store, limit=7)
        taken += [task.id for task in tasks]
        empty = 0 if tasks else empty + 1


async def test_eight_claimers_take_two_thousand_tasks_exactly_once(store: Store, store_url: str) -> None:
    added = await asyncio.gather(*(store.add_task(new_task()) for _ in range(2000)))
    claimers = await stores(store_url, 4)
    taken: list[UUID] = []
    await asyncio.gather(*(claim_until_empty(s, taken) for s in (*claimers, *claimers)))
    await close(claimers)
    assert Counter(taken) == Counter(a.task.id for a in added)


async def append_until_lost(store: Store, held: Lease, written: list[int], first: int) -> None:
    with suppress(RunLost):
        for n in range(10_000):
            written.append(await store.append(held, step(f"{first + n}/llm", epoch=held.epoch)))


async def stale_events(store: Store, task_id: UUID) -> int:
    """Events of an earlier epoch that came after a later claim."""
    newest = stale = 0
    for event in await store.list_events(task_id, after_seq=0, limit=10_000):
        if event.type == "task.started":
            newest = event.payload["epoch"]
        elif event.step_key is not None and event.payload["epoch"] < newest:
            stale += 1
    return stale


async def test_no_stale_writer_gets_in_while_the_task_changes_hands(store: Store, store_url: str) -> None:
    writers = await stores(store_url, 2)
    task = await submit_and_claim(store)
    written: list[int] = []
    for hand in range(10):
        writing = asyncio.create_task(append_until_lost(writers[hand % 2], lease(task), written, hand * 10_000))
        await until(lambda: len(written) > hand * 5)  # noqa: B023  awaited before hand changes
        await store.finish(lease(task), HandedOver(usage=USAGE))
        # The stale writer locks the row for moments, and a claim passes over what is locked.
        while not (claimed := await claim(store)):
            pass
        (task,) = claimed
        await writing
    await close(writers)
    assert await stale_events(store, task.id) == 0
    seqs = [event.seq for event in await store.list_events(task.id, after_seq=0, limit=10_000)]
    assert seqs == list(range(1, len(seqs) + 1))
    assert set(written) <= set(seqs)


@pytest.mark.services
async def test_the_check_above_finds_a_writer_that_does_not_lock(postgres_url: str) -> None:
    """The negative control: an INSERT that compares the epoch without the lock does let a stale event in."""
    store = await open_store(postgres_url)
    task = await submit_and_claim(store)
    async with (
        await psycopg.AsyncConnection.connect(postgres_url, autocommit=True) as taker,
        await psycopg.AsyncConnection.connect(postgres_url, autocommit=True) as writer,
        taker.transaction(),
    ):
        await taker.execute("UPDATE tasks SET epoch = 2, seq = 4 WHERE id = %s", (task.id,))
        await taker.execute(_STARTED, (task.id,))
        # The other hand has the task already, but not yet for a reader that takes no lock.
        await writer.execute(_INSERT_WITHOUT_LOCK, (task.id,))
    assert await stale_events(store, task.id) == 1
    await store.aclose()


_STARTED = """
INSERT INTO task_events (task_id, seq, round, type, format, at, payload)
VALUES (%s, 4, 1, 'task.started', 1, now(), '{"epoch": 2}')
"""
_INSERT_WITHOUT_LOCK = """
INSERT INTO task_events (task_id, seq, round, type, step_key, phase, format, at, payload)
SELECT id, 5, round, 'tool.completed', '1/llm', 'result', 1, now(), '{"epoch": 1}' FROM tasks
WHERE id = %s AND epoch = 1 AND status = 'running'
"""


async def until(condition: Any) -> None:
    async with asyncio.timeout(30):
        while not condition():
            await asyncio.sleep(0.005)


async def run_all(store: Store, tasks: int) -> None:
    await asyncio.gather(*(store.add_task(new_task()) for _ in range(tasks)))
    done = 0
    while done < tasks:
        batch = await claim(store, limit=200)
        await asyncio.gather(*(store.append(lease(task), step("1/llm")) for task in batch))
        await asyncio.gather(*(store.finish(lease(task), DONE) for task in batch))
        done += len(batch)


@pytest.mark.services
async def test_plans_made_while_the_table_was_empty_do_not_scan_it_later(postgres_url: str) -> None:
    store = await open_store(postgres_url)
    leases = open_lease_store(postgres_url)
    await run_all(store, 3)
    for _ in range(4):
        await run_all(store, 1000)
        await store.release_due(limit=100)
        await store.take_back_expired(limit=100, max_crashes=5)
        await store.fail_overdue(limit=100)
        await asyncio.to_thread(leases.renew, [Lease(new_task().id, 1)], worker=worker(), lease_seconds=30)
    leases.close()
    await store.aclose()
    async with await psycopg.AsyncConnection.connect(postgres_url, autocommit=True) as connection:
        rows = await (
            await connection.execute(
                "SELECT relname, seq_tup_read FROM pg_stat_user_tables WHERE relname IN ('tasks', 'task_events')"
            )
        ).fetchall()
    # One scan of the grown table would read thousands of rows; the server's own choice of plans does scan it.
    assert all(read < 1_000 for _, read in rows), rows


@pytest.mark.services
async def test_killed_connections_lose_and_double_nothing(postgres_url: str) -> None:
    """Backends are ended in the middle of it all; every write is there once, and its caller was told the truth."""
    store = await open_store(postgres_url, give_up_seconds=30)
    killing = asyncio.create_task(kill_backends(postgres_url))
    ended: list[UUID] = []

    async def one(n: int) -> None:
        added = await store.add_task(new_task(queue=f"q{n}"))
        (task,) = await claim(store, queue=f"q{n}")
        assert task.id == added.task.id
        assert await store.append(lease(task), step("1/llm")) == 3
        assert (await store.finish(lease(task), DONE)).status == "completed"
        ended.append(task.id)

    for _ in range(5):
        await asyncio.gather(*(one(n) for n in range(40)))
    killing.cancel()
    await asyncio.gather(killing, return_exceptions=True)
    for task_id in ended:
        types = [str(e.type) for e in await store.list_events(task_id, after_seq=0, limit=10)]
        assert types == ["task.submitted", "task.started", "tool.completed", "task.completed"]
    await store.aclose()
    assert len(ended) == 200


async def kill_backends(url: str) -> None:
    """At any moment, and now and then with a pause that is long enough on a busy machine too."""
    pauses = random.Random(7)
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
        while True:
            await connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND application_name = 'ops-core writer'"
            )
            await asyncio.sleep(pauses.uniform(0.02, 1.0))


_CLAIMER = """
import asyncio, sys
from ops_core.storage.store import open_store
from ops_core.tests.contract.store_cases import claim

async def main():
    store = await open_store(sys.argv[1])
    taken, empty = [], 0
    while empty < 3:
        tasks = await claim(store, limit=3)
        taken += [str(task.id) for task in tasks]
        empty = 0 if tasks else empty + 1
    await store.aclose()
    print(" ".join(taken))

asyncio.run(main())
"""


async def test_two_processes_share_one_sqlite_file(sqlite_url: str) -> None:
    store = await open_store(sqlite_url)
    added = await asyncio.gather(*(store.add_task(new_task()) for _ in range(300)))
    processes = [
        await asyncio.create_subprocess_exec(sys.executable, "-c", _CLAIMER, sqlite_url, stdout=asyncio.subprocess.PIPE)
        for _ in range(2)
    ]
    async with asyncio.timeout(60):
        answers = await asyncio.gather(*(process.communicate() for process in processes))
    taken = [word for out, _ in answers for word in out.decode().splitlines()[-1].split()]
    assert Counter(taken) == Counter(str(a.task.id) for a in added)
    await store.aclose()
