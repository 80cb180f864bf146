"""History must not slow the present: what each operation touches, with plans made on an empty table and a long past."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import psycopg
import pytest

from ops_core.domain.outcome import Completed
from ops_core.domain.task import TaskStatus
from ops_core.ports import TaskQuery
from ops_core.storage.housekeeping import BACKLOG_BOUND
from ops_core.storage.leases import open_lease_store
from ops_core.storage.store import Store, open_store
from ops_core.tests.contract.store_cases import USAGE, claim, lease, new_task, step, uuid7, worker

PAST = 50_000
LINE = 100_000
RUNNING = 2_000
_FILL = """
WITH past AS (
    INSERT INTO tasks (id, kind, agent, agent_digest, queue, priority, labels, max_attempts, created_at, created_by,
        status, attempt, epoch, seq, started_at, finished_at)
    SELECT ('01900000-0000-7000-8000-' || lpad(to_hex(n), 12, '0'))::uuid, 'agent', 'assistant', '', 'default', 5, '{}',
        3, now() - interval '1 day' - n * interval '1 second', 'me', 'completed', 1, 2, 3, now(), now()
    FROM generate_series(1, %s) n RETURNING id
)
INSERT INTO task_events (task_id, seq, round, type, format, at, payload)
SELECT id, 1, 1, 'task.submitted', 1, now(), '{}' FROM past
"""
_LINE = """
INSERT INTO tasks (id, kind, agent, agent_digest, queue, priority, labels, max_attempts, created_at, created_by, status,
    attempt, epoch, seq, rung_at, blocked, concurrency_key, concurrency_limit)
SELECT ('01900000-0000-7000-8000-' || lpad(to_hex(n), 12, '0'))::uuid, 'agent', 'assistant', '', 'default',
    CASE WHEN n %% 2 = 0 THEN 9 ELSE 5 END, '{}', 3, now() - interval '1 day', 'me', 'queued', 0, 0, 1, now(),
    n %% 2 = 0, 'a', 1
FROM generate_series(1, %s) n
"""
_TOUCHED = """
SELECT sum(seq_tup_read)::int AS scanned, sum(idx_tup_fetch)::int AS fetched FROM pg_stat_user_tables
WHERE relname IN ('tasks', 'task_events')
"""
_WALKED = """
SELECT sum(idx_blks_hit + idx_blks_read)::int AS blocks FROM pg_statio_user_indexes
WHERE indexrelname LIKE 'ix_tasks_newest%'
"""
_HOT = "SELECT n_tup_upd AS updated, n_tup_hot_upd AS hot FROM pg_stat_user_tables WHERE relname = 'tasks'"


async def ask(url: str, query: str) -> dict[str, Any]:
    """A row of the server's statistics; the connections that did the work must have been closed."""
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
        cursor = await connection.execute(query.encode())
        row = await cursor.fetchone()
        assert row is not None
        assert cursor.description is not None
        return {column.name: value for column, value in zip(cursor.description, row, strict=True)}


def operations(store: Store) -> dict[str, Callable[[], Awaitable[Any]]]:
    listed = {
        "live": TaskQuery(namespace="default", statuses=frozenset({TaskStatus.running, TaskStatus.queued})),
        "failed": TaskQuery(namespace="default", statuses=frozenset({TaskStatus.failed})),
        "all": TaskQuery(namespace="default", limit=10),
        "of an agent": TaskQuery(namespace="default", agent="assistant", limit=10),
        "from the middle": TaskQuery(
            namespace="default", before=(datetime.now(UTC) - timedelta(days=1, seconds=PAST / 2), uuid7()), limit=10
        ),
    }

    async def one_life() -> None:
        added = await store.add_task(new_task())
        (task,) = await claim(store)
        await store.append(lease(task), step("1/llm"))
        await store.load_journal(task.id, round=1)
        await store.finish(lease(task), Completed(result=1, usage=USAGE))
        assert await store.get_task("default", added.task.id) is not None
        await store.list_events(added.task.id, after_seq=0, limit=10)

    return {
        "a life": one_life,
        "release": lambda: store.release_due(limit=500),
        "take back": lambda: store.take_back_expired(limit=500, max_crashes=3),
        "overdue": lambda: store.fail_overdue(limit=500),
        "backlogs": store.backlogs,
        "list queues": lambda: store.list_queue_names("default", silent_seconds=30),
        "load queues": lambda: store.load_queues("default", ["default", "other"], silent_seconds=30),
        "list children": lambda: store.list_children(
            "default", uuid7(), limit=10, after=(datetime(2020, 1, 1, tzinfo=UTC), uuid7())
        ),
        **{f"list {name}": partial(store.list_tasks, query) for name, query in listed.items()},
    }


@pytest.mark.services
async def test_no_operation_walks_the_past(postgres_url: str) -> None:
    store = await open_store(postgres_url)
    # Plans are made now, on an empty table, and again and again until the driver has prepared them.
    for operation in operations(store).values():
        for _ in range(7):
            await operation()
    async with await psycopg.AsyncConnection.connect(postgres_url, autocommit=True) as connection:
        await connection.execute(_FILL, (PAST,))
    await asyncio.sleep(1.1)
    before = await ask(postgres_url, _TOUCHED)
    for operation in operations(store).values():
        for _ in range(7):
            await operation()
    await store.aclose()
    after = await ask(postgres_url, _TOUCHED)
    # A single walk would touch all of the past.
    assert after["scanned"] - before["scanned"] < PAST / 10
    assert after["fetched"] - before["fetched"] < PAST / 10


@pytest.mark.services
@pytest.mark.parametrize("indexed", [True, pytest.param(False, id="control: without the index")])
async def test_a_claim_reads_what_it_takes_of_a_long_line(postgres_url: str, indexed: bool) -> None:
    """Half of the line is blocked, and better than the rest: it is not even passed over."""
    store = await open_store(postgres_url)
    async with await psycopg.AsyncConnection.connect(postgres_url, autocommit=True) as connection:
        await connection.execute(_LINE, (LINE,))
        if not indexed:
            await connection.execute("DROP INDEX ix_tasks_claimable")
    await asyncio.sleep(1.1)
    before = await ask(postgres_url, _TOUCHED)
    claimed = [task for _ in range(20) for task in await claim(store, limit=5)]
    await store.aclose()
    after = await ask(postgres_url, _TOUCHED)
    assert len(claimed) == 100
    touched = after["scanned"] - before["scanned"] + after["fetched"] - before["fetched"]
    assert (touched < LINE / 100) == indexed


@pytest.mark.services
@pytest.mark.parametrize("indexed", [True, pytest.param(False, id="control: without the index")])
async def test_what_a_queue_wants_is_counted_up_to_a_bound_of_a_long_line(postgres_url: str, indexed: bool) -> None:
    """What is blocked is not walked over, whether there are names to be found or tasks to be counted."""
    store = await open_store(postgres_url)
    async with await psycopg.AsyncConnection.connect(postgres_url, autocommit=True) as connection:
        await connection.execute(_LINE, (LINE,))
        if not indexed:
            await connection.execute("DROP INDEX ix_tasks_claimable")
    await asyncio.sleep(1.1)
    before = await ask(postgres_url, _TOUCHED)
    for _ in range(3):
        assert await store.list_queue_names("default", silent_seconds=30) == {"default"}
        (load,) = await store.load_queues("default", ["default"], silent_seconds=30)
        assert (load.ready, load.wanted_slots_capped) == (BACKLOG_BOUND, True)
    await store.aclose()
    after = await ask(postgres_url, _TOUCHED)
    touched = after["scanned"] - before["scanned"] + after["fetched"] - before["fetched"]
    assert (touched < 3 * BACKLOG_BOUND + LINE / 100) == indexed


@pytest.mark.services
async def test_what_few_runs_write_does_not_walk_all_that_run(postgres_url: str) -> None:
    """With plans made when nothing ran."""
    store, leases = await open_store(postgres_url), open_lease_store(postgres_url)
    for n in range(7):
        await store.add_task(new_task())
        held = [lease(task) for task in await claim(store)]
        leases.renew(held, worker=worker(), lease_seconds=600)
        await store.append(held[0], step("1/llm"))
        await store.finish(held[0], Completed(result=n, usage=USAGE))
    # By others, whose connections tell what they did when they are closed.
    others = await open_store(postgres_url)
    await asyncio.gather(*(others.add_task(new_task()) for _ in range(RUNNING)))
    running = [lease(task) for task in await claim(others, limit=RUNNING, lease_seconds=600)]
    await others.aclose()
    assert len(running) == RUNNING
    await asyncio.sleep(1.1)
    before, walked_before = await ask(postgres_url, _TOUCHED), await ask(postgres_url, _WALKED)
    few = running[:10]
    for n in range(20):
        await asyncio.gather(*(store.append(one, step(f"{n}/llm")) for one in few))
        await asyncio.to_thread(leases.renew, few, worker=worker(), lease_seconds=600)
    for one in few:
        await store.finish(one, Completed(result=1, usage=USAGE), last_step=step("end/llm"))
    leases.close()
    await store.aclose()
    after, walked_after = await ask(postgres_url, _TOUCHED), await ask(postgres_url, _WALKED)
    # 50 statements on few runs, each of which would fetch all that run.
    assert after["scanned"] - before["scanned"] + after["fetched"] - before["fetched"] < 5 * RUNNING
    # Nor is a run looked for in an index that does not begin with its id.
    assert walked_after["blocks"] - walked_before["blocks"] < 1_000


@pytest.mark.services
async def test_appends_and_heartbeats_touch_no_index(postgres_url: str) -> None:
    store, leases = await open_store(postgres_url), open_lease_store(postgres_url)
    await asyncio.gather(*(store.add_task(new_task()) for _ in range(100)))
    held = [lease(task) for task in await claim(store, limit=100)]
    await asyncio.sleep(1.1)
    before = await ask(postgres_url, _HOT)
    for n in range(20):
        await asyncio.gather(*(store.append(one, step(f"{n}/llm")) for one in held))
        await asyncio.to_thread(leases.renew, held, worker=worker(), lease_seconds=30)
    leases.close()
    await store.aclose()
    after = await ask(postgres_url, _HOT)
    updated, hot = after["updated"] - before["updated"], after["hot"] - before["hot"]
    assert updated >= 4000
    assert hot / updated > 0.95
