"""Workers on both brokers, from the relay's ring to the agent's end: nothing is lost, nothing runs twice."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack

import pytest

from ops_core.broker.by_url import make_broker, make_doorbell
from ops_core.ports import QueueBacklog, Ring
from ops_core.services.housekeeper import Housekeeper
from ops_core.services.relay import Relay
from ops_core.tests.rabbitmq_node import RabbitmqNode
from ops_core.tests.unit.worker.fakes import FakeLeaseStore, FakeRunStore, Runs, wait_until
from ops_core.worker.actors import TicketWorker, make_worker
from ops_core.worker.host import AgentHost
from ops_core.worker.slots import Slots


class Town:
    """One store, one relay, any number of workers."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.shared = make_broker(url) if url.startswith("memory") else None
        self.doorbell = make_doorbell(url, broker=self.shared)
        self.relay = Relay(self.doorbell, retry_min_seconds=0.05, retry_max_seconds=0.2)
        self.store = FakeRunStore()
        self.stack = AsyncExitStack()

    async def submit(self, count: int) -> None:
        """One after the other, as clients do."""
        for _ in range(count):
            self.store.add(1)
            self.relay.announce([Ring("default")])
            await asyncio.sleep(0)

    async def worker(self, slots: int, runs: Runs) -> tuple[AgentHost, TicketWorker]:
        gate = Slots(slots)
        broker = make_broker(self.url, gate=gate) if self.shared is None else self.shared
        if self.shared is not None:
            broker.gate = gate  # type: ignore[attr-defined]  # there is one worker in a process
        host = AgentHost(
            run_store=self.store,
            lease_store_factory=FakeLeaseStore,
            run_task=runs,
            relay=self.relay,
            slots=gate,
            worker_id=f"w{id(gate)}",
            queues=("default",),
            lease_seconds=30,
            drain_seconds=0.1,
            loop_stall_seconds=30,
        )
        worker = make_worker(broker, host)
        await host.start()
        worker.start()
        self.stack.push_async_callback(host.aclose)
        self.stack.callback(runs.let_go.set)
        self.stack.push_async_callback(worker.aclose)
        return host, worker

    async def tickets(self) -> int:
        return await self.doorbell.ready("default") // 8

    async def wait_for_tickets(self, count: int) -> None:
        async with asyncio.timeout(5):
            while await self.tickets() != count:
                await asyncio.sleep(0.01)


async def _town(url: str) -> AsyncIterator[Town]:
    town = Town(url)
    await town.relay.start()
    yield town
    await town.stack.aclose()
    await town.relay.aclose()
    await town.doorbell.aclose()


@pytest.fixture(params=["memory", pytest.param("rabbitmq", marks=pytest.mark.services)])
async def town(request: pytest.FixtureRequest) -> AsyncIterator[Town]:
    url = "memory://" if request.param == "memory" else request.getfixturevalue("rabbitmq_url")
    async for town in _town(url):
        yield town


@pytest.fixture
async def rabbit_town(rabbitmq_url: str) -> AsyncIterator[Town]:
    async for town in _town(rabbitmq_url):
        yield town


def finished(runs: Runs) -> int:
    return sum(1 for end in runs.ended.values() if end == "finished")


async def test_tasks_run_and_every_ticket_is_used_up(town: Town) -> None:
    runs = Runs()
    runs.let_go.set()
    await town.worker(20, runs)
    await town.submit(300)
    await wait_until(lambda: finished(runs) == 300)
    assert len(runs.started) == 300
    await town.wait_for_tickets(0)


async def test_tickets_doubled_three_times_run_nothing_twice(town: Town) -> None:
    runs = Runs()
    runs.let_go.set()
    await town.worker(20, runs)
    town.store.add(100)
    for _ in range(3):
        town.relay.announce([Ring("default", 100)])
    await wait_until(lambda: finished(runs) == 100)
    await town.wait_for_tickets(0)
    assert sorted(runs.started) == sorted(set(runs.started))


async def test_a_thousand_agents_wait_at_once_and_the_worker_closes_within_about_a_second(town: Town) -> None:
    runs = Runs()
    host, worker = await town.worker(1000, runs)
    await town.submit(1100)
    await wait_until(lambda: runs.most_at_once == 1000)
    await asyncio.wait_for(worker.aclose(), 2.5)
    assert host.held == 1000, "agents go on"


async def test_a_worker_that_closes_keeps_no_ticket(town: Town) -> None:
    runs = Runs()
    host, worker = await town.worker(1, runs)
    town.store.add(5)
    await town.doorbell.ring([Ring("default", 1)] * 5)
    await wait_until(lambda: host.held == 1)
    await worker.aclose()
    await town.wait_for_tickets(4)


@pytest.mark.services
async def test_what_a_full_worker_cannot_run_another_runs(rabbit_town: Town) -> None:
    busy, idle = Runs(), Runs()
    host, _ = await rabbit_town.worker(2, busy)
    await rabbit_town.submit(2)
    await wait_until(lambda: host.held == 2)
    await rabbit_town.submit(40)
    idle.let_go.set()
    await rabbit_town.worker(10, idle)
    await wait_until(lambda: finished(idle) == 40)
    assert len(busy.started) == 2


@pytest.mark.services
async def test_after_a_ticket_too_large_for_one_worker_others_get_the_rest(rabbit_town: Town) -> None:
    small, large = Runs(), Runs()
    host, _ = await rabbit_town.worker(3, small)
    rabbit_town.store.add(8)
    await rabbit_town.doorbell.ring([Ring("default", 8)])
    await wait_until(lambda: host.held == 3)
    await rabbit_town.worker(10, large)
    await wait_until(lambda: len(large.started) == 5)


@pytest.mark.services
async def test_when_connections_are_cut_nothing_is_lost_and_nothing_runs_twice(
    rabbit_town: Town, rabbitmq_node: RabbitmqNode
) -> None:
    runs = Runs()
    runs.let_go.set()
    await rabbit_town.worker(4, runs)
    await rabbit_town.worker(4, runs)
    cut = asyncio.create_task(asyncio.to_thread(rabbitmq_node.ctl, "close_all_connections", "the test says so"))
    while not cut.done():
        await rabbit_town.submit(50)
        await asyncio.sleep(0.02)
    await cut
    await rabbit_town.submit(50)
    submitted = len(runs.started) + len(rabbit_town.store.queued)
    await wait_until(lambda: not rabbit_town.store.queued, seconds=20)
    await wait_until(lambda: finished(runs) == submitted)
    assert sorted(runs.started) == sorted(set(runs.started))
    await rabbit_town.wait_for_tickets(0)


@pytest.mark.services
async def test_when_rabbitmq_is_killed_under_load_nothing_is_lost_and_nothing_runs_twice(
    rabbit_town: Town, rabbitmq_node: RabbitmqNode
) -> None:
    """Without a housekeeper: what RabbitMQ has confirmed is on its disk, and the relay rings again for the rest."""
    runs = Runs()
    runs.let_go.set()
    await rabbit_town.worker(4, runs)
    await rabbit_town.worker(4, runs)
    submitted = 0
    for _ in range(3):
        # Its tickets are under way when the node dies: rung, held by the worker, or not yet acknowledged.
        await rabbit_town.submit(20)
        submitted += 20
        killed = asyncio.create_task(asyncio.to_thread(_kill_and_start, rabbitmq_node))
        while not killed.done():
            await rabbit_town.submit(2)
            submitted += 2
            await asyncio.sleep(0.02)
        await killed
    await wait_until(lambda: finished(runs) == submitted, seconds=40)
    assert len(runs.started) == submitted
    assert sorted(runs.started) == sorted(set(runs.started))


def _kill_and_start(node: RabbitmqNode) -> None:
    node.kill()
    node.start()


@pytest.mark.services
async def test_what_is_submitted_while_rabbitmq_is_down_runs_when_it_is_back(
    rabbit_town: Town, rabbitmq_node: RabbitmqNode
) -> None:
    runs = Runs()
    runs.let_go.set()
    await rabbit_town.worker(10, runs)
    await rabbit_town.submit(1)
    await wait_until(lambda: finished(runs) == 1)
    await asyncio.to_thread(rabbitmq_node.stop)
    try:
        await rabbit_town.submit(100)
        await wait_until(lambda: rabbit_town.relay.broker_is_away)
        assert rabbit_town.relay.pending <= 100
    finally:
        await asyncio.to_thread(rabbitmq_node.start)
    await wait_until(lambda: finished(runs) == 101, seconds=30)


@pytest.mark.services
async def test_a_queue_that_is_deleted_is_made_again(rabbit_town: Town, rabbitmq_node: RabbitmqNode) -> None:
    runs = Runs()
    runs.let_go.set()
    await rabbit_town.worker(10, runs)
    await rabbit_town.submit(1)
    await wait_until(lambda: finished(runs) == 1)
    vhost = rabbit_town.url.rpartition("/")[2]
    await asyncio.to_thread(rabbitmq_node.ctl, "delete_queue", "-p", vhost, "default")
    await rabbit_town.submit(5)
    await wait_until(lambda: finished(runs) == 6)


@pytest.mark.services
async def test_a_quorum_queue_that_an_operator_has_made_is_used_as_it_is(rabbit_town: Town) -> None:
    import pika

    connection = pika.BlockingConnection(pika.URLParameters(rabbit_town.url))
    connection.channel().queue_declare("default", durable=True, arguments={"x-queue-type": "quorum"})
    connection.close()
    runs = Runs()
    runs.let_go.set()
    await rabbit_town.worker(10, runs)
    await rabbit_town.submit(20)
    await wait_until(lambda: finished(runs) == 20)


class Backlogs:
    """A housekeeping store over the run store in memory."""

    def __init__(self, store: FakeRunStore) -> None:
        self.store = store

    async def release_due(self, *, limit: int) -> Sequence[Ring]:
        return []

    async def take_back_expired(self, *, limit: int, max_crashes: int) -> Sequence[Ring]:
        return []

    async def fail_overdue(self, *, limit: int) -> tuple[int, Sequence[Ring]]:
        return 0, ()

    async def forget_left_text(self, *, limit: int) -> int:
        return 0

    async def forget_silent_workers(self, *, silent_seconds: float) -> int:
        return 0

    async def seconds_until_due(self) -> float | None:
        return None

    async def backlogs(self) -> Sequence[QueueBacklog]:
        return [QueueBacklog("default", len(self.store.queued), 60.0)]


async def test_tasks_whose_tickets_were_all_lost_are_rung_for_again_and_run(town: Town) -> None:
    runs = Runs()
    runs.let_go.set()
    town.store.add(200)
    await town.worker(10, runs)
    town.store.add(1)
    await town.doorbell.ring([Ring("default")])
    await wait_until(lambda: len(runs.started) == 1)
    assert len(town.store.queued) == 200, "the control: without tickets nobody takes them"
    keeper = Housekeeper(
        Backlogs(town.store), town.doorbell, town.relay, interval_seconds=0.05, ring_again_seconds=10, max_crashes=5
    )
    assert await keeper.tick() == 0
    await wait_until(lambda: finished(runs) == 201)


async def test_a_backlog_that_has_its_tickets_is_not_rung_for_again(town: Town) -> None:
    town.store.add(100)
    await town.doorbell.ring([Ring("default", 100)])
    keeper = Housekeeper(
        Backlogs(town.store), town.doorbell, town.relay, interval_seconds=0.05, ring_again_seconds=10, max_crashes=5
    )
    before = await town.tickets()
    await keeper.tick()
    assert town.relay.pending == 0
    assert await town.tickets() == before


@pytest.mark.services
async def test_a_worker_that_starts_before_rabbitmq_works_once_it_is_there(
    rabbit_town: Town, rabbitmq_node: RabbitmqNode
) -> None:
    await asyncio.to_thread(rabbitmq_node.stop)
    runs = Runs()
    runs.let_go.set()
    try:
        await rabbit_town.worker(10, runs)
        await rabbit_town.submit(10)
        await wait_until(lambda: rabbit_town.relay.broker_is_away)
    finally:
        await asyncio.to_thread(rabbitmq_node.start)
    await wait_until(lambda: finished(runs) == 10, seconds=30)


@pytest.mark.services
async def test_a_worker_closes_quickly_while_rabbitmq_is_away(rabbit_town: Town, rabbitmq_node: RabbitmqNode) -> None:
    _, worker = await rabbit_town.worker(10, Runs())
    await asyncio.to_thread(rabbitmq_node.stop)
    try:
        await asyncio.wait_for(worker.aclose(), 3)
    finally:
        await asyncio.to_thread(rabbitmq_node.start)
