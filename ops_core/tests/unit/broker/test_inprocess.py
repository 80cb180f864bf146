"""The in-process broker: bounded, without what Dramatiq's stub hoards."""

from __future__ import annotations

import pytest
from dramatiq import Message

from ops_core.broker.inprocess import InProcessBroker, InProcessDoorbell
from ops_core.broker.tickets import read_message, write_message
from ops_core.errors import BrokerUnavailable
from ops_core.ports import Ring
from ops_core.wire.ticket import TicketUnreadable


async def test_a_queue_holds_only_so_many_tickets() -> None:
    broker = InProcessBroker(max_tickets=3)
    with pytest.raises(BrokerUnavailable, match="holds 3 tickets"):
        await InProcessDoorbell(broker).ring([Ring("q")] * 4)
    assert broker.size("q") == 3


def test_there_are_no_middlewares_delay_queues_or_dead_letters() -> None:
    broker = InProcessBroker()
    broker.declare_queue("q")
    assert broker.middleware == []
    assert broker.get_declared_queues() == {"q"}
    assert broker.get_declared_delay_queues() == set()
    consumer = broker.consume("q", timeout=10)
    broker.enqueue(write_message(Ring("q")))
    for _ in range(100):
        message = next(consumer)
        assert message is not None
        consumer.nack(message)
    assert broker.dead_letters == []
    assert broker.size("q") == 1


def test_a_ticket_cannot_be_delayed() -> None:
    with pytest.raises(ValueError, match="never delayed"):
        InProcessBroker().enqueue(write_message(Ring("q")), delay=10)


def test_what_is_written_can_be_read() -> None:
    message = write_message(Ring("q", 4))
    assert read_message(message.encode(), queue="q").kwargs == message.kwargs


@pytest.mark.parametrize(
    "body",
    [
        b"null",
        b'"text"',
        b"{" * 4000,
        Message("q", "ring", (), {"v": 1, "queue": "q", "count": 1}, None).encode(),  # type: ignore[arg-type]
        Message("q", "ring", (), [], {}).encode(),  # type: ignore[arg-type]
    ],
)
def test_what_is_no_ticket_is_unreadable_and_nothing_worse(body: bytes) -> None:
    with pytest.raises(TicketUnreadable):
        read_message(body, queue="q")
