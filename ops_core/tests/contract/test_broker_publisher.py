"""The doorbell over RabbitMQ when something is wrong: it says so in time, keeps secrets, and works again afterwards."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from urllib.parse import urlsplit

import pytest

from ops_core.broker.by_url import make_broker, make_doorbell
from ops_core.broker.publisher import RabbitmqDoorbell
from ops_core.errors import BrokerUnavailable, ConfigurationInvalid
from ops_core.ports import Ring
from ops_core.tests.free_port import free_port
from ops_core.tests.rabbitmq_node import RabbitmqNode


@pytest.fixture
async def doorbell(rabbitmq_url: str) -> AsyncIterator[RabbitmqDoorbell]:
    doorbell = RabbitmqDoorbell(rabbitmq_url)
    yield doorbell
    await doorbell.aclose()


@pytest.mark.services
async def test_rings_and_questions_at_the_same_time_do_not_mix(doorbell: RabbitmqDoorbell) -> None:
    await asyncio.gather(*(doorbell.ring([Ring(f"q{n % 5}", 3)] * 20) for n in range(20)), doorbell.ready("q0"))
    for n in range(5):
        assert await doorbell.ready(f"q{n}") == 4 * 20 * 8


@pytest.mark.services
async def test_a_queue_that_was_deleted_since_it_was_declared_is_declared_again(
    doorbell: RabbitmqDoorbell, rabbitmq_url: str, rabbitmq_node: RabbitmqNode
) -> None:
    await doorbell.ring([Ring("q"), Ring("other")])
    vhost = rabbitmq_url.rpartition("/")[2]
    await asyncio.to_thread(rabbitmq_node.ctl, "delete_queue", "-p", vhost, "q")
    await doorbell.ring([Ring("q")] * 30 + [Ring("other")] * 30)
    assert await doorbell.ready("q") == 30 * 8
    assert await doorbell.ready("other") == 31 * 8, "what had arrived is not sent twice"


@pytest.mark.services
async def test_after_a_cut_connection_it_connects_again(
    doorbell: RabbitmqDoorbell, rabbitmq_node: RabbitmqNode
) -> None:
    await doorbell.ring([Ring("q")])
    await asyncio.to_thread(rabbitmq_node.ctl, "close_all_connections", "the test says so")
    async with asyncio.timeout(10):
        while True:
            try:
                await doorbell.ring([Ring("q")])
                break
            except BrokerUnavailable:
                await asyncio.sleep(0.05)
    assert await doorbell.ready("q") == 16


@pytest.mark.services
async def test_tickets_survive_a_restart_of_rabbitmq(doorbell: RabbitmqDoorbell, rabbitmq_node: RabbitmqNode) -> None:
    await doorbell.ring([Ring("q")] * 10)
    await asyncio.to_thread(rabbitmq_node.stop)
    with pytest.raises(BrokerUnavailable):
        await doorbell.ring([Ring("q")])
    await asyncio.to_thread(rabbitmq_node.start)
    await asyncio.sleep(0.2)
    assert await doorbell.ready("q") == 80


@pytest.mark.services
async def test_a_broker_that_is_out_of_memory_is_unavailable_in_time(
    rabbitmq_url: str, rabbitmq_node: RabbitmqNode
) -> None:
    doorbell = RabbitmqDoorbell(rabbitmq_url, timeout_seconds=0.5)

    async def ring_until_refused() -> None:
        # The alarm takes a moment to reach the connection.
        while True:
            await doorbell.ring([Ring("q")] * 500)

    await doorbell.ring([Ring("q")])
    await asyncio.to_thread(rabbitmq_node.ctl, "set_vm_memory_high_watermark", "absolute", "1")
    try:
        started_at = time.monotonic()
        with pytest.raises(BrokerUnavailable):
            await ring_until_refused()
        assert time.monotonic() - started_at < 10
    finally:
        await asyncio.to_thread(rabbitmq_node.ctl, "set_vm_memory_high_watermark", "absolute", "512MB")
    await doorbell.aclose()


@pytest.mark.services
async def test_a_wrong_password_is_told_without_telling_it(rabbitmq_url: str) -> None:
    doorbell = RabbitmqDoorbell(rabbitmq_url.replace("guest:guest", "guest:s3cret"))
    with pytest.raises(BrokerUnavailable) as told:
        await doorbell.ping()
    assert "s3cret" not in str(told.value)
    assert str(urlsplit(rabbitmq_url).port) in str(told.value)


async def test_nobody_there_is_told_at_once() -> None:
    doorbell = RabbitmqDoorbell(f"amqp://guest:guest@127.0.0.1:{free_port()}/%2F")
    for ask in (doorbell.ping(), doorbell.ring([Ring("q")]), doorbell.ready("q")):
        with pytest.raises(BrokerUnavailable):
            await ask
    await doorbell.aclose()


async def test_somebody_who_never_answers_is_given_up() -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    doorbell = RabbitmqDoorbell(f"amqp://guest:guest@127.0.0.1:{port}/%2F", timeout_seconds=0.2)
    with pytest.raises(BrokerUnavailable):
        await doorbell.ring([Ring("q")])
    await doorbell.aclose()
    server.close()
    await server.wait_closed()


@pytest.mark.parametrize("url", ["redis://localhost", "", "amqp://[", "amqp://u:s3cret@h:port/"])
def test_a_url_that_cannot_be_used_is_refused_without_telling_its_password(url: str) -> None:
    for make in (make_broker, make_doorbell):
        with pytest.raises(ConfigurationInvalid) as told:
            make(url)
        assert "s3cret" not in str(told.value)


def test_a_doorbell_in_memory_needs_the_broker_of_its_process() -> None:
    with pytest.raises(ConfigurationInvalid, match="OPS_CORE_BROKER_URL"):
        make_doorbell("memory://")
