"""One behaviour on both brokers: a ticket is taken only with a place for it, settled by its consumer, never lost."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any, cast
from uuid import uuid4

import pytest
from dramatiq import Message
from dramatiq.broker import Broker, Consumer, MessageProxy

from ops_core.broker.by_url import BrokerDoorbell, make_broker, make_doorbell
from ops_core.ports import Ring
from ops_core.wire.ticket import MAX_COUNT, decode_ticket
from ops_core.worker.slots import Slots

#: Short, so that tests that expect nothing do not take long.
POLL_MS = 50


class World:
    """A broker of one kind, with a doorbell, for as many workers as the test wants."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.shared = make_broker(url) if url.startswith("memory") else None
        self.doorbell: BrokerDoorbell = make_doorbell(url, broker=self.shared)
        self.consumers: list[Consumer] = []

    def consumer(self, slots: Slots, queue: str = "q", prefetch: int = 8) -> Consumer:
        """A consumer of another process, so to speak."""
        broker: Any = self.shared if self.shared is not None else make_broker(self.url)
        broker.gate = slots
        broker.declare_queue(queue)
        consumer = cast(Broker, broker).consume(queue, prefetch=prefetch, timeout=POLL_MS)
        self.consumers.append(consumer)
        return consumer

    async def ready(self, queue: str = "q") -> int:
        """Tickets, not tasks."""
        return await self.doorbell.ready(queue) // MAX_COUNT

    async def wait_until_ready(self, count: int, *, pump: Consumer | None = None) -> None:
        end = time.monotonic() + 5
        while await self.ready() != count:
            assert time.monotonic() < end, f"{await self.ready()} tickets are ready, not {count}"
            if pump is not None:
                await asyncio.to_thread(next, pump)

    def put(self, body: bytes, queue: str = "q") -> None:
        """Put anything into the queue."""
        if self.shared is not None:
            self.shared.declare_queue(queue)
            self.shared.queues[queue].put(body)
            return
        import pika

        connection = pika.BlockingConnection(pika.URLParameters(self.url))
        channel = connection.channel()
        channel.queue_declare(queue, durable=True)
        channel.basic_publish("", queue, body)
        connection.close()


@pytest.fixture(params=["memory", pytest.param("rabbitmq", marks=pytest.mark.services)])
async def world(request: pytest.FixtureRequest) -> AsyncIterator[World]:
    world = World("memory://" if request.param == "memory" else request.getfixturevalue("rabbitmq_url"))
    yield world
    for consumer in world.consumers:
        await asyncio.to_thread(consumer.close)
    await world.doorbell.aclose()


async def take(consumer: Consumer, *, tries: int = 40) -> MessageProxy:
    for _ in range(tries):
        message = await asyncio.to_thread(next, consumer)
        if message is not None:
            return message
    raise AssertionError("no ticket came")


async def take_none(consumer: Consumer, *, tries: int = 3) -> None:
    for _ in range(tries):
        assert await asyncio.to_thread(next, consumer) is None


def ticket_in(message: MessageProxy) -> Ring:
    return decode_ticket(message.args, message.kwargs)


async def test_a_ticket_arrives_as_it_was_rung(world: World) -> None:
    ring = Ring("q", 3, uuid4(), "00-" + "a" * 32 + "-" + "b" * 16 + "-01")
    await world.doorbell.ring([ring])
    slots = Slots(5)
    assert ticket_in(await take(world.consumer(slots))) == ring
    assert slots.used == 3, "it was let in with a place for each of its tasks"


async def test_a_ticket_is_let_in_with_as_many_places_as_there_are_and_keeps_no_more_tickets_than_that(
    world: World,
) -> None:
    """Were each let in with one place, as many tickets as there are slots would claim one task each."""
    await world.doorbell.ring([Ring("q", 8)] * 3)
    slots = Slots(11)
    consumer = world.consumer(slots)
    assert [(await take(consumer)).places, (await take(consumer)).places] == [8, 3]
    await take_none(consumer)
    assert slots.used == 11


async def test_a_queue_that_nobody_knows_has_nothing_ready(world: World) -> None:
    assert await world.doorbell.ready("unheard-of") == 0


async def test_ready_counts_each_ticket_as_a_full_one(world: World) -> None:
    await world.doorbell.ring([Ring("q", 20)])
    await world.wait_until_ready(3)
    assert await world.doorbell.ready("q") == 24


async def test_thousands_of_tickets_are_rung_in_one_call(world: World) -> None:
    await world.doorbell.ring([Ring("q", 1)] * 2345)
    await world.wait_until_ready(2345)


async def test_an_acknowledged_ticket_is_gone(world: World) -> None:
    await world.doorbell.ring([Ring("q")])
    consumer = world.consumer(Slots(5))
    consumer.ack(await take(consumer))
    await take_none(consumer)
    consumer.close()
    await world.wait_until_ready(0)


async def test_a_ticket_given_back_is_taken_again(world: World) -> None:
    await world.doorbell.ring([Ring("q")])
    slots = Slots(5)
    consumer = world.consumer(slots)
    consumer.nack(await take(consumer))
    consumer.ack(await take(consumer))
    await take_none(consumer)


async def test_an_unsettled_ticket_goes_to_somebody_else_when_its_consumer_closes(world: World) -> None:
    await world.doorbell.ring([Ring("q")])
    first = world.consumer(Slots(5))
    await take(first)
    await asyncio.to_thread(first.close)
    await take(world.consumer(Slots(5)))


async def test_of_tickets_settled_together_each_gets_its_own_end(world: World) -> None:
    """The trap: one acknowledgement for several speaks for all that came before, settled or not."""
    await world.doorbell.ring([Ring("q", 1, uuid4()) for _ in range(6)])
    consumer = world.consumer(Slots(7))
    taken = [await take(consumer) for _ in range(6)]
    for place in (1, 3, 4, 0):
        consumer.ack(taken[place])
    consumer.nack(taken[2])
    back = await take(consumer)
    assert ticket_in(back).task_id == ticket_in(taken[2]).task_id
    await asyncio.to_thread(consumer.close)
    await world.wait_until_ready(2)
    left = [ticket_in(await take(other)).task_id for other in [world.consumer(Slots(2))] for _ in range(2)]
    assert set(left) == {ticket_in(taken[2]).task_id, ticket_in(taken[5]).task_id}


async def test_a_ticket_of_another_consumer_is_never_settled(world: World) -> None:
    await world.doorbell.ring([Ring("q")])
    first = world.consumer(Slots(5))
    stale = await take(first)
    await asyncio.to_thread(first.close)
    second = world.consumer(Slots(5))
    fresh = await take(second)
    second.ack(stale)
    second.nack(stale)
    first.ack(stale)
    await take_none(second)
    await asyncio.to_thread(second.close)
    await world.wait_until_ready(1)
    assert fresh.tag == stale.tag, "the trap: both deliveries have the same tag"


async def test_a_full_worker_gives_its_tickets_to_others(world: World) -> None:
    await world.doorbell.ring([Ring("q")] * 4)
    full = world.consumer(Slots(1))
    await take(full)
    await world.wait_until_ready(3, pump=full)
    other = world.consumer(Slots(5))
    for _ in range(3):
        other.ack(await take(other))


async def test_a_full_worker_takes_tickets_again_when_a_slot_is_free(world: World) -> None:
    await world.doorbell.ring([Ring("q")] * 3)
    slots = Slots(1)
    consumer = world.consumer(slots)
    consumer.ack(await take(consumer))
    await world.wait_until_ready(2, pump=consumer)
    waiting = asyncio.create_task(take(consumer))
    slots.release()
    consumer.ack(await waiting)


async def test_a_free_slot_wakes_a_waiting_worker_at_once(world: World) -> None:
    await world.doorbell.ring([Ring("q")] * 2)
    slots = Slots(1)
    broker: Any = world.shared if world.shared is not None else make_broker(world.url)
    broker.gate = slots
    broker.declare_queue("q")
    consumer = await asyncio.to_thread(broker.consume, "q", 8, 30_000)
    world.consumers.append(consumer)
    consumer.ack(await take(consumer))
    await asyncio.to_thread(next, consumer)
    await asyncio.to_thread(next, consumer)
    waiting = asyncio.create_task(take(consumer))
    await world.wait_until_ready(1)
    slots.release()
    await asyncio.wait_for(waiting, 5)


@pytest.mark.services
async def test_no_more_tickets_wait_in_a_worker_than_it_has_free_slots(rabbitmq_url: str) -> None:
    world = World(rabbitmq_url)
    await world.doorbell.ring([Ring("q")] * 64)
    slots = Slots(64)
    consumer = world.consumer(slots, prefetch=64)
    consumer.ack(await take(consumer))
    await world.wait_until_ready(0, pump=None)
    slots.take_up_to(59)
    for _ in range(2):
        consumer.ack(await take(consumer))
        await asyncio.sleep(0.25)  # longer than the pause between two changes of the prefetch
    assert slots.free() == 2
    consumer.ack(await take(consumer))
    await world.wait_until_ready(64 - 4 - 1)
    await asyncio.to_thread(consumer.close)
    await world.doorbell.aclose()


RUBBISH = [
    b"",
    b"\xff\xfe",
    b"[]",
    b"{}",
    b'{"actor_name": "ring"}',
    b"x" * 100_000,
    Message("q", "unknown", (), {}, {}).encode(),
    Message("q", "ring", (), {}, {}).encode(),
    Message("q", "ring", (), {"v": 2, "queue": "q", "count": 1}, {}).encode(),
    Message("q", "ring", (1, 2), {"v": 1, "queue": "q", "count": 1}, {}).encode(),
    Message("q", "ring", (), {"v": 1, "queue": "q", "count": 10**9}, {}).encode(),
    Message("q", "ring", (), {"v": 1, "queue": "q", "count": True}, {}).encode(),
    Message("q", "ring", (), {"v": 1, "queue": "other", "count": 1}, {}).encode(),
    Message("elsewhere", "ring", (), {"v": 1, "queue": "q", "count": 1}, {}).encode(),
]


async def test_rubbish_is_dropped_and_what_follows_is_taken(world: World) -> None:
    for body in RUBBISH:
        await asyncio.to_thread(world.put, body)
    await world.doorbell.ring([Ring("q")])
    slots = Slots(5)
    consumer = world.consumer(slots)
    consumer.ack(await take(consumer))
    await take_none(consumer)
    await asyncio.to_thread(consumer.close)
    await world.wait_until_ready(0)
    assert slots.used == 1, "no rubbish has entered the gate"


async def test_a_ticket_with_options_of_dramatiq_is_not_delayed(world: World) -> None:
    message: Message[Any] = Message("q", "ring", (), {"v": 1, "queue": "q", "count": 1}, {"eta": 10**18})
    await asyncio.to_thread(world.put, message.encode())
    consumer = world.consumer(Slots(5))
    assert (await take(consumer)).options == {}


@pytest.fixture(scope="module", autouse=True)
def quiet_pika() -> Iterator[None]:
    import logging

    logging.getLogger("pika").setLevel(logging.CRITICAL)
    yield
    logging.getLogger("pika").setLevel(logging.NOTSET)
