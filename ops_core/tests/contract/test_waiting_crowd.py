"""A hundred thousand tasks that wait cost an idle system nothing, and one of them wakes as if it were alone."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import AsyncIterator
from typing import Any

import psycopg
import pytest

from ops_core.domain.outcome import Completed
from ops_core.domain.task import TaskStatus
from ops_core.services.housekeeper import Housekeeper
from ops_core.services.relay import Relay
from ops_core.storage.nudges import LocalNudgeBus, StartedNudgeBus, make_nudge_bus
from ops_core.storage.store import Store, open_store
from ops_core.tests.contract.store_cases import USAGE, claim, lease, submit_and_claim
from ops_core.tests.contract.wait_cases import TIMER, answers, approval, asked_of, cast, read, suspend, timer, waiting
from ops_core.tests.fakes import FakeDoorbell

CROWD = 100_000
#: Half of them have a time, a day off.
_FILL = """
WITH waiting AS (
    INSERT INTO tasks (id, kind, agent, agent_digest, queue, priority, labels, max_attempts, created_at, created_by,
        status, attempt, epoch, seq, started_at, waiting_for, wake_at)
    SELECT ('01900000-0000-7000-8000-' || lpad(to_hex(n), 12, '0'))::uuid, 'agent', 'assistant', '', 'default', 5, '{}',
        3, now(), 'me', 'waiting', 1, 2, 3, now(), 'approval', CASE WHEN n %% 2 = 0 THEN now() + interval '1 day' END
    FROM generate_series(1, %s) n RETURNING id, wake_at
), kept AS (
    INSERT INTO waits (task_id, step_key, namespace, round, kind, expires_at, since)
    SELECT id, '1/tool/1/approval', 'default', 1, 'approval', wake_at, now() FROM waiting
)
INSERT INTO approvals (id, namespace, task_id, round, step_key, agent, request, deciders, status, created_at,
    expires_at)
SELECT id, 'default', id, 1, '1/tool/1/approval', 'assistant', '{"reason": "tool_call", "message": "?"}', '[]',
    'pending', now(), wake_at FROM waiting
"""
_TOUCHED = """
SELECT sum(seq_tup_read + coalesce(idx_tup_fetch, 0))::int AS rows, sum(idx_tup_read)::int AS entries
FROM pg_stat_user_tables t LEFT JOIN (
    SELECT relid, sum(idx_tup_read) AS idx_tup_read FROM pg_stat_user_indexes GROUP BY relid
) i USING (relid) WHERE relname IN ('tasks', 'waits', 'approvals')
"""


@pytest.fixture
async def crowded(postgres_url: str) -> AsyncIterator[Store]:
    store = await open_store(postgres_url)
    try:
        # Plans are made now, on empty tables.
        await idle(store)
        async with await psycopg.AsyncConnection.connect(postgres_url, autocommit=True) as connection:
            await connection.execute(_FILL.encode(), (CROWD,))
        yield store
    finally:
        await store.aclose()


async def idle(store: Store) -> None:
    """What the housekeepers and workers of an idle system ask, several times."""
    for _ in range(7):
        await store.release_due(limit=500)
        await store.seconds_until_due()
        await store.take_back_expired(limit=500, max_crashes=3)
        await store.fail_overdue(limit=500)
        await store.backlogs()
        await claim(store, limit=100)


async def touched(url: str) -> int:
    """Rows and entries of indexes read so far; the connections that did the work must have been closed."""
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
        row: Any = await (await connection.execute(_TOUCHED.encode())).fetchone()
        return int(row[0]) + int(row[1])


@pytest.mark.services
async def test_no_statement_of_an_idle_system_walks_those_that_wait(postgres_url: str, crowded: Store) -> None:
    await asyncio.sleep(1.1)
    before = await touched(postgres_url)
    await idle(crowded)
    await crowded.aclose()
    after = await touched(postgres_url)
    assert after - before < CROWD / 100
    # The negative control: one walk is seen.
    async with await psycopg.AsyncConnection.connect(postgres_url, autocommit=True) as connection:
        await connection.execute("SELECT count(*) FROM tasks WHERE status = 'waiting' AND agent <> 'x'")
    assert await touched(postgres_url) - after >= CROWD


@pytest.mark.services
async def test_one_of_many_that_wait_wakes_at_once(crowded: Store) -> None:
    seconds = []
    for n in range(30):
        task = await waiting(crowded, approval(), queue=f"q{n}")
        (asked,) = await asked_of(crowded, task)
        began = time.monotonic()
        await cast(crowded, asked)
        seconds.append(time.monotonic() - began)
        (again,) = await claim(crowded, queue=f"q{n}")
        await crowded.finish(lease(again), Completed(result=1, usage=USAGE))
    # The answer and the change to `queued` are one commit.
    assert statistics.median(seconds) < 0.25, seconds


@pytest.fixture
async def bus(store_url: str) -> AsyncIterator[StartedNudgeBus]:
    made = make_nudge_bus(store_url)
    await made.start()
    yield made
    await made.aclose()


async def fired_after(store: Store, bus: StartedNudgeBus, seconds: float) -> float:
    """How long after its suspend a timer's task is queued by a housekeeper that looks once in ten minutes."""
    keeper = Housekeeper(
        store,
        FakeDoorbell(),
        Relay(FakeDoorbell()),
        interval_seconds=600,
        ring_again_seconds=600,
        max_crashes=3,
        nudges=bus,
    )
    await keeper.start()
    try:
        # It sleeps already when the timer begins.
        await asyncio.sleep(0.2)
        task = await submit_and_claim(store)
        began = time.monotonic()
        await suspend(store, task, timer(seconds))
        async with asyncio.timeout(5):
            while (await read(store, task.id)).status is TaskStatus.waiting:
                await asyncio.sleep(0.005)
        took = time.monotonic() - began
        assert await answers(store, task.id) == {TIMER: {}}
        return took
    finally:
        await keeper.aclose()


async def test_a_timer_fires_on_time_although_nobody_looks_meanwhile(store_url: str, bus: StartedNudgeBus) -> None:
    store = await open_store(store_url, nudges=bus)
    took = await fired_after(store, bus, 0.5)
    await store.aclose()
    assert 0.45 < took < 0.5 + 1.0


async def test_a_housekeeper_that_is_not_told_sleeps_on(store_url: str, bus: StartedNudgeBus) -> None:
    """The negative control."""
    store = await open_store(store_url, nudges=LocalNudgeBus())
    with pytest.raises(TimeoutError):
        await fired_after(store, bus, 0.5)
    await store.aclose()
