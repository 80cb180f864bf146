"""What bounds what runs, on both databases: places of concurrency keys, starts of rates, turns of fairness keys."""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from ops_core.domain.outcome import Completed, HandedOver, Retry
from ops_core.domain.task import RateLimit, RetryFrom, Task, TaskError
from ops_core.storage import key_rows, ranks
from ops_core.storage.key_rows import RateRow
from ops_core.storage.leases import open_lease_store
from ops_core.storage.store import Store
from ops_core.storage.writes import Transaction
from ops_core.tests.contract.store_cases import USAGE, claim, lease, new_task, worker

DONE = Completed(result=1, usage=USAGE)


async def add(store: Store, **changes: Any) -> Task:
    return (await store.add_task(new_task(**changes))).task


async def read(store: Store, task: Task) -> Task:
    found = await store.get_task("default", task.id)
    assert found is not None
    return found


def limited(limit: int = 1, key: str = "customer-1") -> dict[str, Any]:
    return {"concurrency_key": key, "concurrency_limit": limit}


async def test_no_more_tasks_of_a_key_are_claimable_than_its_limit(store: Store) -> None:
    added = [await store.add_task(new_task(**limited(2))) for _ in range(4)]
    assert [one.task.blocked for one in added] == [False, False, True, True]
    assert [one.ring is not None for one in added] == [True, True, False, False]
    assert len(await claim(store, limit=10)) == 2


async def test_many_at_once_do_not_get_more_places_than_there_are(store: Store) -> None:
    await asyncio.gather(*(add(store, **limited(3, key=f"k{n % 2}")) for n in range(40)))
    found = Counter(task.concurrency_key for task in await claim(store, limit=40))
    assert found == {"k0": 3, "k1": 3}


async def test_without_a_key_nothing_is_held_back(store: Store) -> None:
    """The control of the tests above."""
    await asyncio.gather(*(add(store) for _ in range(4)))
    assert len(await claim(store, limit=10)) == 4


async def test_a_task_that_ends_lets_the_best_blocked_one_in(store: Store) -> None:
    first = await add(store, **limited())
    low, high = await add(store, priority=1, **limited()), await add(store, priority=9, **limited())
    (running,) = await claim(store, limit=10)
    assert running.id == first.id
    ended = await store.finish(lease(running), DONE)
    assert [ring.task_id for ring in ended.rings] == [high.id]
    assert [task.id for task in await claim(store, limit=10)] == [high.id]
    assert (await read(store, low)).blocked


async def test_a_canceled_task_that_was_let_in_gives_its_place_to_the_next(store: Store) -> None:
    first, second = await add(store, **limited()), await add(store, **limited())
    _, rings = await store.cancel_task("default", first.id, by="me")
    assert [ring.task_id for ring in rings] == [second.id]
    assert [task.id for task in await claim(store, limit=10)] == [second.id]


async def test_a_canceled_task_that_was_blocked_frees_nothing(store: Store) -> None:
    first, second, third = [await add(store, **limited()) for _ in range(3)]
    _, rings = await store.cancel_task("default", second.id, by="me")
    assert rings == []
    assert not (await read(store, second)).blocked
    assert [task.id for task in await claim(store, limit=10)] == [first.id]
    assert (await read(store, third)).blocked


async def test_a_pause_before_a_retry_holds_no_place(store: Store) -> None:
    first, second = await add(store, **limited()), await add(store, **limited())
    (running,) = await claim(store, limit=10)
    failed = Retry(error=TaskError("x", "y", retryable=True), delay_seconds=0.05, usage=USAGE)
    await store.finish(lease(running), failed)
    assert [task.id for task in await claim(store, limit=10)] == [second.id]
    await asyncio.sleep(0.1)
    assert await store.release_due(limit=10) == []
    assert (await read(store, first)).blocked


async def test_a_task_that_is_handed_over_keeps_its_place(store: Store) -> None:
    first, second = await add(store, **limited()), await add(store, **limited())
    (running,) = await claim(store, limit=10)
    await store.finish(lease(running), HandedOver(usage=USAGE))
    assert [task.id for task in await claim(store, limit=10)] == [first.id]
    assert (await read(store, second)).blocked


async def test_a_retried_task_asks_for_a_place_again(store: Store) -> None:
    first = await add(store, **limited())
    await store.cancel_task("default", first.id, by="me")
    second = await add(store, **limited())
    task, rings = await store.retry_task("default", first.id, by="me", retry_from=RetryFrom.journal)
    assert (task.blocked, rings) == (True, [])
    assert [task.id for task in await claim(store, limit=10)] == [second.id]


async def test_a_scheduled_task_asks_for_its_place_when_it_is_due(store: Store) -> None:
    soon = datetime.now(UTC) + timedelta(seconds=0.2)
    scheduled = await add(store, run_at=soon, **limited())
    assert not scheduled.blocked
    now = await add(store, **limited())
    await asyncio.sleep(0.3)
    assert await store.release_due(limit=10) == []
    assert (await read(store, scheduled)).blocked
    (running,) = await claim(store, limit=10)
    assert running.id == now.id
    await store.finish(lease(running), DONE)
    assert [task.id for task in await claim(store, limit=10)] == [scheduled.id]


async def test_a_repeated_submission_takes_no_second_place(store: Store) -> None:
    new = new_task(idempotency_key="once", request_hash="h", **limited(2))
    for _ in range(3):
        assert (await store.add_task(new)).task.id == new.id
    repeats = [new_task(idempotency_key="once", request_hash="h", **limited(2)) for _ in range(3)]
    assert all(one.replayed for one in await asyncio.gather(*(store.add_task(again) for again in repeats)))
    assert not (await add(store, **limited(2))).blocked


async def test_each_task_is_let_in_by_its_own_limit(store: Store) -> None:
    await add(store, **limited(3))
    assert (await add(store, **limited(1))).blocked
    assert not (await add(store, **limited(2))).blocked
    assert (await add(store, **limited(2))).blocked


async def test_keys_of_two_namespaces_are_two_keys(store: Store) -> None:
    await add(store, **limited())
    assert not (await add(store, namespace="other", **limited())).blocked


def rated(limit: int = 2, key: str = "vendor") -> dict[str, Any]:
    """So many a minute."""
    return {"rate": RateLimit(key=key, limit=limit, per_seconds=60)}


async def pass_time(store: Store, seconds: float, key: str = "vendor") -> None:
    """As if the key had been used so much earlier."""
    by = timedelta(seconds=seconds)

    async def set_back(tx: Transaction) -> None:
        (row,) = (await key_rows.lock_rates(tx, [("default", key)], await tx.now())).values()
        release_at = row.release_at - by if row.release_at is not None else None
        await key_rows.write_rate(tx, ("default", key), RateRow(row.next_at - by, release_at))

    await store._backends[0].transact(set_back)


async def test_a_rate_lets_a_burst_in_and_then_one_after_the_other(store: Store) -> None:
    added = [await add(store, **rated(limit=2)) for _ in range(4)]
    assert [task.blocked for task in added] == [False, False, True, True]
    assert len(await claim(store, limit=10)) == 2
    assert await store.release_due(limit=10) == []
    seconds = await store.seconds_until_due()
    assert seconds is not None
    assert 0 < seconds <= 30
    await pass_time(store, 31)
    (ring,) = await store.release_due(limit=10)
    assert (ring.count, ring.task_id) == (1, added[2].id)
    assert [task.id for task in await claim(store, limit=10)] == [added[2].id]


async def test_a_rate_that_rested_lets_in_its_limit_and_no_more(store: Store) -> None:
    added = [await add(store, **rated(limit=3)) for _ in range(9)]
    await claim(store, limit=10)
    await pass_time(store, 3600)
    (ring,) = await store.release_due(limit=10)
    assert ring.count == 3
    assert [task.id for task in await claim(store, limit=10)] == [task.id for task in added[3:6]]


async def test_who_frees_a_place_looks_at_a_rate_once_however_many_wait_for_it(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = 0
    blocked_by_concurrency = key_rows.blocked_by_concurrency

    async def counted(*given: Any, **named: Any) -> Any:
        nonlocal looks
        looks += 1
        return await blocked_by_concurrency(*given, **named)

    added = [await add(store, **limited(10), **rated(limit=1)) for _ in range(20)]
    (running,) = await claim(store, limit=10)
    await pass_time(store, 61)
    monkeypatch.setattr(key_rows, "blocked_by_concurrency", counted)
    ended = await store.finish(lease(running), DONE)
    assert [ring.task_id for ring in ended.rings] == [added[1].id]
    assert looks <= 3


async def test_while_workers_are_away_a_rate_lets_in_no_more_than_its_limit(store: Store) -> None:
    for _ in range(8):
        await add(store, **rated(limit=2))
    for _ in range(5):
        await pass_time(store, 60)
        assert await store.release_due(limit=10) == []
    assert len(await claim(store, limit=10)) == 2
    await pass_time(store, 60)
    (ring,) = await store.release_due(limit=10)
    assert ring.count == 2


async def test_a_retry_of_a_task_that_ran_counts_as_no_start(store: Store) -> None:
    task = await add(store, **rated(limit=1))
    (running,) = await claim(store)
    failed = Retry(error=TaskError("x", "y", retryable=True), delay_seconds=0, usage=USAGE)
    await store.finish(lease(running), failed)
    (again,) = await claim(store)
    assert (again.id, again.attempt) == (task.id, 2)


async def test_newcomers_stand_behind_those_whom_a_rate_holds_back(store: Store) -> None:
    added = [await add(store, **rated(limit=1)) for _ in range(2)]
    await claim(store)
    await pass_time(store, 61)
    assert (await add(store, **rated(limit=1))).blocked
    (ring,) = await store.release_due(limit=10)
    assert ring.task_id == added[1].id


async def test_nothing_is_due_when_nobody_is_held_back_any_more(store: Store) -> None:
    added = [await add(store, **rated(limit=1)) for _ in range(2)]
    await store.cancel_task("default", added[1].id, by="me")
    await pass_time(store, 61)
    assert await store.release_due(limit=10) == []
    assert await store.seconds_until_due() is None


async def test_both_keys_must_let_a_task_in(store: Store) -> None:
    first, second, third = [await add(store, **limited(1), **rated(limit=2)) for _ in range(3)]
    (running,) = await claim(store, limit=10)
    assert running.id == first.id
    await pass_time(store, 60)
    assert await store.release_due(limit=10) == [], "the rate allows it, the concurrency key does not"
    await pass_time(store, 60)
    assert [ring.task_id for ring in (await store.finish(lease(running), DONE)).rings] == [second.id]
    (running,) = await claim(store, limit=10)
    await pass_time(store, -600)
    assert not (await store.finish(lease(running), DONE)).rings, "the concurrency key allows it, the rate does not"
    await pass_time(store, 1200)
    assert [ring.task_id for ring in await store.release_due(limit=10)] == [third.id]


async def claimed_order(store: Store, count: int) -> list[str | None]:
    order: list[str | None] = []
    while len(order) < count:
        tasks = await claim(store, limit=min(50, count - len(order)))
        assert tasks
        order += [task.labels["tenant"] for task in tasks]
    return order


async def tenants_in_turn(store: Store, running: list[Task], count: int) -> str:
    """Whose tasks are claimed next, when each that ends makes room for one."""
    turns = ""
    for _ in range(count):
        await store.finish(lease(running.pop(0)), DONE)
        (claimed,) = await claim(store, limit=1)
        turns += claimed.labels["tenant"]
        running.append(claimed)
    return turns


def of_tenant(name: str, **changes: Any) -> dict[str, Any]:
    return {"labels": {"tenant": name}, "fairness_key": name, **changes}


async def test_a_tenant_whose_limit_is_all_the_room_there_is_takes_turns_with_who_comes_later(store: Store) -> None:
    for _ in range(12):
        await add(store, **of_tenant("a", **limited(2)))
    running = [*await claim(store, limit=2)]
    for _ in range(3):
        await add(store, **of_tenant("b"))
    assert (await tenants_in_turn(store, running, 6)).count("b") == 3


async def test_tasks_that_are_due_together_take_turns_with_what_was_added_meanwhile(store: Store) -> None:
    # Far enough for a slow machine to have added all of them by then.
    soon = datetime.now(UTC) + timedelta(seconds=2)
    scheduled = [await add(store, **of_tenant("a", run_at=soon)) for _ in range(8)]
    for _ in range(20):
        await add(store, **of_tenant("b"))
    running = [*await claim(store, limit=15)]
    for task in running[1:]:
        await store.finish(lease(task), DONE)
    while await store.task_clock() < soon:
        await asyncio.sleep(0.01)
    (ring,) = await store.release_due(limit=10)
    assert ring.count == len(scheduled)
    assert (await tenants_in_turn(store, running[:1], 10)).count("b") == 5


@pytest.mark.parametrize("fair", [True, False], ids=["with fairness keys", "control: without"])
async def test_ten_tasks_do_not_wait_for_the_ten_thousand_of_another_tenant(store: Store, fair: bool) -> None:
    """By the order of claims: alone, its last is the tenth; beside the other it is to be within three times that."""

    def of(tenant: str) -> dict[str, Any]:
        return {"labels": {"tenant": tenant}, "fairness_key": tenant if fair else None}

    await asyncio.gather(*(add(store, **of("large")) for _ in range(10_000)))
    # It has run for a while when the other one comes.
    assert await claimed_order(store, 1_000) == ["large"] * 1_000
    await asyncio.gather(*(add(store, **of("small")) for _ in range(10)))
    order = await claimed_order(store, 100)
    waited = [place for place, tenant in enumerate(order, start=1) if tenant == "small"]
    assert (len(waited) == 10 and waited[-1] <= 30) == fair, waited


async def test_who_comes_while_another_holds_all_slots_goes_first_before_they_take_turns(
    store: Store, store_url: str
) -> None:
    leases = open_lease_store(store_url)
    leases.renew([], worker=worker(slots=8), lease_seconds=30)
    leases.close()
    for _ in range(40):
        await add(store, **of_tenant("a"))
    running = [*await claim(store, limit=8)]
    # One by one or together: the head start is had once.
    await asyncio.gather(*(add(store, **of_tenant("b")) for _ in range(3)))
    for _ in range(7):
        await add(store, **of_tenant("b"))
    assert await tenants_in_turn(store, running, 18) == "aa" + "b" * 9 + "ab" + "a" * 5
    # Six turns that the other had alone since then are made up for, and no more.
    for _ in range(8):
        await add(store, **of_tenant("b"))
    assert await tenants_in_turn(store, running, 12) == "aa" + "b" * 7 + "aba"


async def test_newcomers_one_after_the_other_do_not_keep_a_steady_tenant_waiting(store: Store, store_url: str) -> None:
    leases = open_lease_store(store_url)
    leases.renew([], worker=worker(slots=20), lease_seconds=30)
    leases.close()
    for _ in range(60):
        await add(store, **of_tenant("steady"))
    turns: list[str] = []
    for n in range(100):
        for _ in range(2):
            await add(store, **of_tenant(f"new-{n}"))
        for claimed in await claim(store, limit=2):
            turns.append(claimed.labels["tenant"])
            await store.finish(lease(claimed), DONE)
    # Beside newcomers that each bring two tasks it has at least every twelfth turn, to the end.
    assert turns.count("steady") >= 16
    assert turns[100:].count("steady") >= 6


@pytest.mark.parametrize(
    ("changes", "silent"),
    [({"draining": True}, False), ({"queues": ("other",)}, False), ({}, True)],
    ids=["draining", "of another queue", "not heard of for a minute"],
)
async def test_only_slots_that_serve_the_queue_give_a_head_start(
    store: Store, store_url: str, changes: dict[str, Any], silent: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    leases = open_lease_store(store_url)
    leases.renew([], worker=worker(slots=8, **changes), lease_seconds=30)
    leases.close()
    if silent:
        monkeypatch.setattr(ranks, "_SILENT_SECONDS", -60.0)
    for _ in range(20):
        await add(store, **of_tenant("a"))
    running = [*await claim(store, limit=8)]
    for _ in range(4):
        await add(store, **of_tenant("b"))
    assert await tenants_in_turn(store, running, 9) == "a" + "ab" * 4


async def test_who_comes_to_an_empty_queue_has_no_head_start_over_who_comes_next(store: Store, store_url: str) -> None:
    leases = open_lease_store(store_url)
    leases.renew([], worker=worker(slots=40), lease_seconds=30)
    leases.close()
    # It has a past, behind which tags could begin.
    for _ in range(30):
        await add(store, **of_tenant("past"))
    for claimed in await claim(store, limit=30):
        await store.finish(lease(claimed), DONE)
    for _ in range(30):
        await add(store, **of_tenant("a"))
    for _ in range(3):
        await add(store, **of_tenant("b"))
    assert [task.labels["tenant"] for task in await claim(store, limit=6)].count("b") == 3


async def test_a_tenant_that_was_idle_has_saved_up_no_turns(store: Store) -> None:
    for tenant, count in (("a", 1), ("b", 20)):
        for _ in range(count):
            await add(store, fairness_key=tenant, labels={"tenant": tenant})
    await claimed_order(store, 15)
    for tenant in ("a", "b"):
        for _ in range(6):
            await add(store, fairness_key=tenant, labels={"tenant": tenant})
    order = await claimed_order(store, 18)
    assert order[:12].count("a") == 6, order


async def test_rows_of_keys_that_nobody_uses_are_swept(store: Store) -> None:
    running = await add(store, fairness_key="a", **limited(key="held"))
    await add(store, fairness_key="b", **limited(key="free"), **rated(limit=5))
    await pass_time(store, 60)
    for task in await claim(store, limit=10):
        if task.id != running.id:
            await store.finish(lease(task), DONE)
    assert await store.sweep_keys(unused_seconds=60, limit=100) == 0
    await asyncio.sleep(0.05)
    # The free place, the rate, and the lower rank; not the place that is held, nor the queue's highest rank.
    assert await store.sweep_keys(unused_seconds=0, limit=100) == 3
    assert (await add(store, **limited(key="held"))).blocked
