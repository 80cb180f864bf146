"""HousekeepingStore, AgentStore, LeaseStore and HealthProbe on both databases."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from ops_core.domain.agent import AgentDefinition, AgentLimits, ModelChoice
from ops_core.domain.outcome import Completed, HandedOver
from ops_core.domain.task import RetryFrom, Task, TaskStatus
from ops_core.errors import RunLost
from ops_core.ports import Lease, LeaseStore, QueueBacklog
from ops_core.storage.leases import open_lease_store
from ops_core.storage.store import Store, open_store
from ops_core.tests.contract.store_cases import (
    USAGE,
    claim,
    event_types,
    lease,
    new_task,
    step,
    submit_and_claim,
    worker,
)
from ops_core.tests.contract.wait_cases import send, signal, suspend


@pytest.fixture
def leases(store_url: str) -> Iterator[LeaseStore]:
    opened = open_lease_store(store_url)
    yield opened
    opened.close()


async def expire(leases: LeaseStore, *held: Lease) -> None:
    """Let the leases end: renew them for no time."""
    await asyncio.to_thread(leases.renew, held, worker=worker(), lease_seconds=0.001)
    await asyncio.sleep(0.01)


async def test_a_scheduled_task_is_released_when_it_is_due(store: Store) -> None:
    soon = datetime.now(UTC) + timedelta(seconds=0.3)
    task = (await store.add_task(new_task(run_at=soon, traceparent="00-1-2-01"))).task
    assert await store.release_due(limit=10) == []
    await asyncio.sleep(0.4)
    (ring,) = await store.release_due(limit=10)
    assert (ring.queue, ring.count, ring.task_id, ring.traceparent) == ("default", 1, task.id, "00-1-2-01")
    assert await store.release_due(limit=10) == []
    assert (await event_types(store, task.id))[1:] == ["task.due"]


async def test_a_renewed_lease_is_not_taken_back(store: Store, leases: LeaseStore) -> None:
    task = await submit_and_claim(store, lease_seconds=0.001)
    found = await asyncio.to_thread(leases.renew, [lease(task)], worker=worker(), lease_seconds=30)
    assert found.kept == {lease(task)}
    assert found.cancel == frozenset()
    assert await store.take_back_expired(limit=10, max_crashes=5) == []


async def test_an_expired_lease_is_taken_back_and_fenced(store: Store, leases: LeaseStore) -> None:
    task = await submit_and_claim(store)
    await expire(leases, lease(task))
    (ring,) = await store.take_back_expired(limit=10, max_crashes=5)
    assert (ring.queue, ring.count) == ("default", 1)
    with pytest.raises(RunLost):
        await store.append(lease(task), step("1/llm"))
    (again,) = await claim(store)
    assert (again.attempt, again.crashes) == (1, 1)
    assert again.epoch > task.epoch
    renewal = await asyncio.to_thread(leases.renew, [lease(task), lease(again)], worker=worker(), lease_seconds=30)
    assert renewal.kept == {lease(again)}
    assert await event_types(store, task.id) == ["task.submitted", "task.started", "task.lease_lost", "task.started"]


async def crashed(store: Store, leases: LeaseStore, task: Task) -> Task:
    """The task as it is claimed again, after its worker has fallen silent."""
    await expire(leases, lease(task))
    await asyncio.to_thread(leases.forget, worker().worker_id)
    await store.take_back_expired(limit=10, max_crashes=50)
    (again,) = await claim(store)
    return again


async def test_crashes_without_a_word_in_between_raise_suspicion(store: Store, leases: LeaseStore) -> None:
    task = await submit_and_claim(store)
    for suspicion in range(4):
        assert (task.suspicion, task.crashes) == (suspicion, suspicion)
        task = await crashed(store, leases, task)


async def test_a_task_that_gets_on_between_its_crashes_is_under_no_suspicion(store: Store, leases: LeaseStore) -> None:
    task = await submit_and_claim(store)
    for number in range(1, 5):
        await store.append(lease(task), step(f"{number}/llm"))
        task = await crashed(store, leases, task)
        assert (task.suspicion, task.crashes) == (1, number)
    # What was there before does not count as getting on.
    await store.append(lease(task), step("1/llm"))
    assert (await crashed(store, leases, task)).suspicion == 2


async def test_a_lease_that_is_lost_while_nobody_was_heard_of_raises_no_suspicion(
    store: Store, leases: LeaseStore
) -> None:
    """As after an outage of the database."""
    task = await submit_and_claim(store)
    for crashes in range(3):
        assert (task.suspicion, task.crashes) == (0, crashes)
        await expire(leases, lease(task))
        await store.take_back_expired(limit=10, max_crashes=50)
        (task,) = await claim(store)


async def test_a_lease_that_its_worker_has_outlived_raises_no_suspicion(store: Store, leases: LeaseStore) -> None:
    task = await submit_and_claim(store)
    await expire(leases, lease(task))
    await asyncio.to_thread(leases.renew, [], worker=worker(), lease_seconds=30)
    await store.take_back_expired(limit=10, max_crashes=50)
    (again,) = await claim(store)
    assert (again.suspicion, again.crashes) == (0, 1)


async def test_a_lease_is_lost_by_a_dead_worker_when_another_is_alive(store: Store, leases: LeaseStore) -> None:
    task = await submit_and_claim(store)
    await asyncio.to_thread(leases.renew, [lease(task)], worker=worker(), lease_seconds=1.0)
    await asyncio.sleep(1.1)
    alive = replace(worker(), worker_id="alive")
    await asyncio.to_thread(leases.renew, [], worker=alive, lease_seconds=1.0)
    await store.take_back_expired(limit=10, max_crashes=50)
    (again,) = await claim(store)
    assert (again.suspicion, again.crashes) == (1, 1)


async def test_a_task_that_has_come_to_a_wait_is_under_no_suspicion(store: Store, leases: LeaseStore) -> None:
    task = await crashed(store, leases, await submit_and_claim(store))
    assert task.suspicion == 1
    await suspend(store, task, signal())
    await send(store, task)
    (again,) = await claim(store)
    assert (again.suspicion, again.crashes) == (0, 1)


async def test_a_task_that_loses_its_worker_too_often_fails(store: Store, leases: LeaseStore) -> None:
    task = await submit_and_claim(store)
    await expire(leases, lease(task))
    assert await store.take_back_expired(limit=10, max_crashes=1) == []
    read = await store.get_task("default", task.id)
    assert read is not None
    assert read.status is TaskStatus.failed
    assert read.error is not None
    assert read.error.code == "worker_lost"
    assert (await event_types(store, task.id))[2:] == ["task.lease_lost", "task.failed"]


async def test_a_lost_task_whose_cancel_was_requested_is_canceled(store: Store, leases: LeaseStore) -> None:
    task = await submit_and_claim(store)
    await store.cancel_task("default", task.id, by="me")
    await expire(leases, lease(task))
    assert await store.take_back_expired(limit=10, max_crashes=5) == []
    read = await store.get_task("default", task.id)
    assert read is not None
    assert read.status is TaskStatus.canceled


async def test_a_heartbeat_tells_of_cancel_requests(store: Store, leases: LeaseStore) -> None:
    task, other = await submit_and_claim(store), await submit_and_claim(store)
    await store.cancel_task("default", task.id, by="me")
    held = [lease(task), lease(other), Lease(uuid4(), 1)]
    renewal = await asyncio.to_thread(leases.renew, held, worker=worker(), lease_seconds=30)
    assert renewal.kept == {lease(task), lease(other)}
    assert renewal.cancel == {lease(task)}


async def test_a_heartbeat_without_tasks_keeps_the_worker_on_the_list(store: Store, leases: LeaseStore) -> None:
    for _ in range(2):
        renewal = await asyncio.to_thread(leases.renew, [], worker=worker(busy=0), lease_seconds=30)
        assert renewal.kept == frozenset()
    await asyncio.to_thread(leases.forget, "w1")


async def test_workers_that_fell_silent_are_forgotten_until_they_are_heard_of_again(
    store: Store, leases: LeaseStore
) -> None:
    for name in ("w1", "w2"):
        await asyncio.to_thread(leases.renew, [], worker=worker(name), lease_seconds=30)
    assert await store.forget_silent_workers(silent_seconds=60) == 0
    assert await store.forget_silent_workers(silent_seconds=0) == 2
    await asyncio.to_thread(leases.renew, [], worker=worker("w1"), lease_seconds=30)
    assert await store.forget_silent_workers(silent_seconds=0) == 1


async def test_tasks_past_their_deadline_fail_unless_they_run(store: Store) -> None:
    running = await submit_and_claim(store, timeout_seconds=0.2)
    queued = (await store.add_task(new_task(timeout_seconds=0.2))).task
    later = datetime.now(UTC) + timedelta(hours=1)
    scheduled = (await store.add_task(new_task(timeout_seconds=0.2, run_at=later))).task
    await asyncio.sleep(0.3)
    failed, _ = await store.fail_overdue(limit=10)
    assert failed == 2
    for task in (queued, scheduled):
        read = await store.get_task("default", task.id)
        assert read is not None
        assert read.status is TaskStatus.failed
        assert read.error is not None
        assert read.error.code == "timeout"
    assert (await store.finish(lease(running), Completed(result=1, usage=USAGE))).status is TaskStatus.completed


async def test_a_task_that_nobody_claims_in_time_fails(store: Store) -> None:
    claimed = await submit_and_claim(store, queue_timeout_seconds=0.2)
    await store.finish(lease(claimed), HandedOver(usage=USAGE))
    waits = (await store.add_task(new_task(queue_timeout_seconds=60))).task
    soon = datetime.now(UTC) + timedelta(seconds=0.2)
    later = (await store.add_task(new_task(queue_timeout_seconds=60, run_at=soon))).task
    late = (await store.add_task(new_task(queue_timeout_seconds=0.2, timeout_seconds=0.2))).task
    never = (await store.add_task(new_task(queue_timeout_seconds=0.2))).task
    await asyncio.sleep(0.3)
    failed, _ = await store.fail_overdue(limit=10)
    assert failed == 2
    codes = {}
    for task in (claimed, waits, later, late, never):
        read = await store.get_task("default", task.id)
        assert read is not None
        codes[task.id] = read.error.code if read.error is not None else None
    assert [codes[t.id] for t in (claimed, waits, later, late, never)] == [None, None, None, "timeout", "queue_timeout"]


async def test_a_reopened_task_may_wait_in_the_queue_as_long_again(store: Store) -> None:
    task = (await store.add_task(new_task(queue_timeout_seconds=0.2))).task
    await asyncio.sleep(0.3)
    assert await claim(store) == []
    assert (await store.fail_overdue(limit=10))[0] == 1
    await store.retry_task("default", task.id, by="me", retry_from=RetryFrom.scratch)
    assert [again.id for again in await claim(store)] == [task.id]


async def test_backlogs_count_what_is_claimable_in_each_queue(store: Store) -> None:
    assert await store.backlogs() == []
    for queue in ("a", "b", "b"):
        await store.add_task(new_task(queue=queue))
    await store.add_task(new_task(queue="c", run_at=datetime.now(UTC) + timedelta(hours=1)))
    backlogs = await store.backlogs()
    assert [(b.queue, b.claimable) for b in backlogs] == [("a", 1), ("b", 2)]
    assert all(0 <= b.oldest_ring_seconds < 30 for b in backlogs), backlogs
    assert isinstance(backlogs[0], QueueBacklog)


async def test_two_housekeepers_at_once_do_each_thing_once(store: Store, store_url: str, leases: LeaseStore) -> None:
    await asyncio.gather(*(store.add_task(new_task()) for _ in range(50)))
    held = [lease(task) for task in await claim(store, limit=50)]
    await expire(leases, *held)
    other = await open_store(store_url)
    rings = await asyncio.gather(
        *(s.take_back_expired(limit=100, max_crashes=5) for s in (store, other) for _ in range(3))
    )
    await other.aclose()
    assert sum(ring.count for found in rings for ring in found) == 50


ASSISTANT = AgentDefinition(
    name="assistant",
    model=ModelChoice(provider="demo"),
    tools=("calculator", "github.*"),
    limits=AgentLimits(steps=5),
    input_schema={"type": "object", "properties": {"topic": {"const": "\x00"}}},
)


async def test_agents_are_kept_by_content_and_the_newest_is_current(store: Store) -> None:
    await store.put_agents("default", [ASSISTANT, AgentDefinition(name="another")])
    first = await store.get_agent("default", "assistant")
    await store.put_agents("default", [ASSISTANT])
    assert await store.get_agent("default", "assistant") == first
    changed = replace(ASSISTANT, instructions="be brief")
    await store.put_agents("default", [changed])
    second = await store.get_agent("default", "assistant")
    assert first is not None
    assert second is not None
    assert (first.definition, second.definition) == (ASSISTANT, changed)
    assert await store.get_definition(ASSISTANT.digest) == ASSISTANT
    assert await store.get_definition("0" * 64) is None
    assert [agent.name for agent in await store.list_agents("default")] == ["another", "assistant"]
    assert await store.get_agent("b", "assistant") is None
    assert await store.list_agents("b") == []


async def test_a_version_that_is_only_kept_is_not_the_one_that_new_tasks_get(store: Store) -> None:
    await store.put_agents("default", [ASSISTANT])
    changed = replace(ASSISTANT, instructions="be brief")
    for _ in range(2):
        await store.put_version("default", changed)
    assert await store.get_definition(changed.digest) == changed
    current = await store.get_agent("default", "assistant")
    assert current is not None
    assert current.definition == ASSISTANT


async def test_processes_that_start_together_can_put_the_same_agents(store: Store, store_url: str) -> None:
    other = await open_store(store_url)
    agents = [replace(ASSISTANT, name=f"a{n}") for n in range(10)]
    await asyncio.gather(*(s.put_agents("default", agents) for s in (store, other) for _ in range(5)))
    await other.aclose()
    assert len(await store.list_agents("default")) == 10


async def test_a_migrated_database_is_healthy(store: Store) -> None:
    health = await store.store_health()
    assert (health.reachable, health.migrated) == (True, True)
