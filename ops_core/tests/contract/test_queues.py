"""QueueStore on both databases: what is counted, how far, and who is heard of."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from ops_core.domain.outcome import Completed
from ops_core.ports import LeaseStore, QueueLoad
from ops_core.storage.database_clock import DatabaseClock
from ops_core.storage.database_url import DatabaseUrl
from ops_core.storage.leases import open_lease_store
from ops_core.storage.queues import SqlQueueStore
from ops_core.storage.reader import Reader
from ops_core.storage.store import Store
from ops_core.tests.contract.store_cases import USAGE, claim, lease, new_task, worker
from ops_core.tests.contract.wait_cases import signal, suspend

EMPTY = QueueLoad(
    name="default",
    ready=0,
    running=0,
    workers=0,
    slots=0,
    free=0,
    oldest_ready_seconds=None,
    wanted_slots_capped=False,
)


@pytest.fixture
def leases(store_url: str) -> Iterator[LeaseStore]:
    opened = open_lease_store(store_url)
    yield opened
    opened.close()


@pytest.fixture
async def bounded(store_url: str) -> AsyncIterator[SqlQueueStore]:
    """It counts up to three."""
    url = DatabaseUrl.parse(store_url)
    reader = Reader(url, pool_size=1, timeout_seconds=5)
    clock = DatabaseClock(reader, machine_clock=(lambda: datetime.now(UTC)) if url.is_sqlite else None)
    yield SqlQueueStore(reader=reader, clock=clock, bound=3)
    await reader.aclose()


async def add(store: Store, count: int, **changes: Any) -> None:
    for _ in range(count):
        await store.add_task(new_task(**changes))


async def heard_of(leases: LeaseStore, worker_id: str, *queues: str, **changes: Any) -> None:
    said = worker(worker_id, queues=queues, **changes)
    await asyncio.to_thread(leases.renew, [], worker=said, lease_seconds=30)


async def load(
    store: Store | SqlQueueStore, name: str = "default", *, namespace: str = "default", silent_seconds: float = 30
) -> QueueLoad:
    (found,) = await store.load_queues(namespace, [name], silent_seconds=silent_seconds)
    return found


async def names(store: Store, *, namespace: str = "default", silent_seconds: float = 30) -> list[str]:
    return sorted(await store.list_queue_names(namespace, silent_seconds=silent_seconds))


async def test_a_queue_that_nobody_has_heard_of_has_nothing_in_it(store: Store) -> None:
    assert await load(store) == EMPTY
    assert await names(store) == []
    assert await store.load_queues("default", [], silent_seconds=30) == []


async def test_what_can_be_claimed_is_ready_and_what_was_claimed_runs(store: Store) -> None:
    await add(store, 5)
    await add(store, 1, queue="other")
    await claim(store, limit=2)
    found = await load(store)
    assert (found.ready, found.running, found.wanted_slots, found.wanted_slots_capped) == (3, 2, 5, False)
    assert found.oldest_ready_seconds is not None
    assert 0 <= found.oldest_ready_seconds < 60
    other = await load(store, "other")
    assert (other.ready, other.running) == (1, 0)


async def test_what_is_over_waits_or_is_not_due_wants_no_slot(store: Store) -> None:
    await add(store, 2)
    ended, waiting = await claim(store, limit=2)
    await store.finish(lease(ended), Completed(result=1, usage=USAGE))
    await suspend(store, waiting, signal())
    await add(store, 1, run_at=datetime.now(UTC) + timedelta(hours=1))
    assert await load(store) == EMPTY
    assert await names(store) == []


async def test_what_its_concurrency_key_holds_back_wants_no_slot(store: Store) -> None:
    await add(store, 4, concurrency_key="a", concurrency_limit=1)
    found = await load(store)
    assert (found.ready, found.wanted_slots) == (1, 1)
    await claim(store)
    found = await load(store)
    assert (found.ready, found.running, found.oldest_ready_seconds) == (0, 1, None)


async def test_the_age_is_that_of_the_oldest(store: Store) -> None:
    await add(store, 1, priority=0)
    await asyncio.sleep(0.3)
    await add(store, 1, priority=9)
    found = await load(store)
    assert found.oldest_ready_seconds is not None
    assert 0.3 <= found.oldest_ready_seconds < 60


async def test_counting_ends_at_the_bound(store: Store, bounded: SqlQueueStore) -> None:
    await add(store, 2)
    found = await load(bounded)
    assert (found.ready, found.wanted_slots_capped) == (2, False)
    await add(store, 5)
    await claim(store, limit=1)
    found = await load(bounded)
    assert (found.ready, found.running, found.wanted_slots, found.wanted_slots_capped) == (3, 1, 4, True)
    exact = await load(store)
    assert (exact.ready, exact.wanted_slots_capped) == (6, False)


async def test_only_tasks_of_the_namespace_are_counted(store: Store, bounded: SqlQueueStore) -> None:
    await add(store, 2, namespace="theirs")
    await add(store, 3)
    await claim(store, limit=3)
    ours, theirs = await load(store), await load(store, namespace="theirs")
    assert (ours.ready, ours.running) == (2, 1)
    assert (theirs.ready, theirs.running) == (0, 2)
    await add(store, 9, namespace="theirs", priority=9)
    passed_over = await load(bounded)
    assert (passed_over.ready, passed_over.oldest_ready_seconds, passed_over.wanted_slots_capped) == (0, None, True)


async def test_slots_are_those_of_the_workers_that_serve_the_queue(store: Store, leases: LeaseStore) -> None:
    await heard_of(leases, "w1", "default", slots=4, busy=1)
    await heard_of(leases, "w2", "default", "slow", "default", slots=8, busy=9)
    await heard_of(leases, "w3", "slow", slots=2, busy=0)
    assert await load(store) == replace(EMPTY, workers=2, slots=12, free=3)
    assert await load(store, "slow") == replace(EMPTY, name="slow", workers=2, slots=10, free=2)
    assert await load(store, "slo") == replace(EMPTY, name="slo")
    assert await names(store) == ["default", "slow"]


async def test_a_worker_that_drains_or_fell_silent_has_no_slots(store: Store, leases: LeaseStore) -> None:
    await heard_of(leases, "w1", "default", slots=4, busy=0, draining=True)
    await heard_of(leases, "w2", "silent", slots=4, busy=0)
    await asyncio.sleep(0.05)
    assert await load(store) == EMPTY
    assert await load(store, "silent", silent_seconds=0.01) == replace(EMPTY, name="silent")
    assert await names(store, silent_seconds=0.01) == []
    assert await names(store) == ["silent"]


async def test_queues_are_answered_in_the_order_they_are_asked_for(store: Store) -> None:
    for count, queue in enumerate(("a", "b", "c"), start=1):
        await add(store, count, queue=queue)
    found = await store.load_queues("default", ["c", "none", "a", "b", "a"], silent_seconds=30)
    assert [(one.name, one.ready) for one in found] == [("c", 3), ("none", 0), ("a", 1), ("b", 2), ("a", 1)]


async def test_queues_with_tasks_that_are_queued_or_run_have_names(store: Store) -> None:
    for queue in ("b-a", "b_a", "ba", "claimed"):
        await add(store, 2, queue=queue)
    await claim(store, queue="claimed", limit=2)
    await add(store, 1, queue="held", concurrency_key="a", concurrency_limit=1)
    await add(store, 1, queue="theirs", namespace="theirs")
    await claim(store, queue="theirs")
    assert await names(store) == ["b-a", "b_a", "ba", "claimed", "held"]


async def test_a_hundred_queues_are_counted_at_once(store: Store) -> None:
    await add(store, 1, queue="q99")
    asked = [f"q{number}" for number in range(100)]
    found = await store.load_queues("default", asked, silent_seconds=30)
    assert [one.name for one in found if one.ready] == ["q99"]
