"""The relay: nothing committed stays unrung, and nothing that rings waits for the broker."""

from __future__ import annotations

from collections.abc import AsyncIterator
from uuid import uuid4

import pytest
from structlog.testing import capture_logs

from ops_core.ports import Ring
from ops_core.services.relay import Relay, spread
from ops_core.tests.unit.worker.fakes import FakeDoorbell, wait_until


@pytest.fixture
def doorbell() -> FakeDoorbell:
    return FakeDoorbell()


@pytest.fixture
async def relay(doorbell: FakeDoorbell) -> AsyncIterator[Relay]:
    relay = Relay(doorbell, retry_min_seconds=0.001, retry_max_seconds=0.01)
    await relay.start()
    yield relay
    await relay.aclose(flush_seconds=0.1)


async def test_a_ring_alone_is_one_ticket_with_its_hint(relay: Relay, doorbell: FakeDoorbell) -> None:
    ring = Ring("default", 1, uuid4(), "00-" + "a" * 32 + "-" + "b" * 16 + "-01")
    relay.announce([ring])
    await wait_until(lambda: doorbell.rung == 1)
    assert doorbell.tickets == [ring]


async def test_many_rings_become_few_tickets(relay: Relay, doorbell: FakeDoorbell) -> None:
    relay.announce([Ring("default", 1, uuid4()) for _ in range(1000)])
    await wait_until(lambda: doorbell.rung == 1000)
    assert len(doorbell.tickets) == 125
    assert doorbell.calls == 2


@pytest.mark.parametrize("count", [1, 2, 7, 8, 9, 16, 63, 64, 65, 100, 1001])
def test_tickets_stand_for_exactly_what_was_rung(count: int) -> None:
    tickets = spread(Ring("q", count))
    assert sum(ticket.count for ticket in tickets) == count
    assert all(1 <= ticket.count <= 8 for ticket in tickets)
    assert len(tickets) >= min(count, 4), "several workers can share"


async def test_what_cannot_be_rung_is_kept_as_a_number_and_rung_when_the_broker_is_back(
    relay: Relay, doorbell: FakeDoorbell
) -> None:
    doorbell.away = True
    for _ in range(5000):
        relay.announce([Ring("default", 1, uuid4()), Ring("other", 2)])
    await wait_until(lambda: relay.broker_is_away and doorbell.calls > 2)
    assert len(relay._pending) <= 2, "one number a queue, however long it lasts"
    doorbell.away = False
    await wait_until(lambda: doorbell.rung == 15_000)
    assert not relay.broker_is_away
    assert relay.pending == 0


async def test_an_absence_of_the_broker_is_told_once_and_its_return_once(relay: Relay, doorbell: FakeDoorbell) -> None:
    with capture_logs() as lines:
        doorbell.away = True
        relay.announce([Ring("default", 3)])
        await wait_until(lambda: doorbell.calls > 4)
        doorbell.away = False
        await wait_until(lambda: doorbell.rung == 3)
        relay.announce([Ring("default", 1)])
        await wait_until(lambda: doorbell.rung == 4)
    told = [(line["event"], line["pending"]) for line in lines if str(line["event"]).startswith("broker.")]
    assert told == [("broker.lost", 3), ("broker.back", 0)]


async def test_closing_rings_what_is_left(doorbell: FakeDoorbell) -> None:
    relay = Relay(doorbell)
    await relay.start()
    relay.announce([Ring("default", 10_000)])
    await relay.aclose()
    assert doorbell.rung == 10_000


async def test_closing_does_not_wait_long_for_a_broker_that_is_away(doorbell: FakeDoorbell) -> None:
    doorbell.away = True
    relay = Relay(doorbell)
    await relay.start()
    relay.announce([Ring("default", 1)])
    await relay.aclose(flush_seconds=0.05)
    await relay.aclose()
    assert doorbell.tickets == []


async def test_a_ring_that_cannot_be_sent_does_not_silence_the_others(doorbell: FakeDoorbell) -> None:
    class Picky(FakeDoorbell):
        async def ring(self, rings: object) -> None:
            if any(ring.queue == "bad" for ring in rings):  # type: ignore[attr-defined]
                raise ValueError("no such queue can be")
            await super().ring(rings)  # type: ignore[arg-type]

    picky = Picky()
    relay = Relay(picky)
    await relay.start()
    relay.announce([Ring("bad")])
    await wait_until(lambda: relay.pending == 0)
    relay.announce([Ring("good")])
    await wait_until(lambda: picky.rung == 1)
    await relay.aclose()
