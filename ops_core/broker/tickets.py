"""Tickets as Dramatiq messages for the actor `ring`."""

from __future__ import annotations

from typing import Any, TypeGuard

from dramatiq import Message
from dramatiq.broker import Consumer, MessageProxy
from dramatiq.errors import DecodeError

from ops_core.ports import Ring
from ops_core.wire.ticket import MAX_TICKET_BYTES, TicketUnreadable, decode_ticket, encode_ticket

RING_ACTOR = "ring"


class TicketMessage(MessageProxy):
    """A ticket in hand, which only the consumer that delivered it can acknowledge or give back."""

    def __init__(self, message: Message[Any], *, consumer: Consumer, tag: int) -> None:
        super().__init__(message)
        self.consumer = consumer
        self.tag = tag
        #: How many places were kept for it as it was let in.
        self.places = 0

    @property
    def tasks(self) -> int:
        """How many tasks it stands for."""
        return int(self.kwargs["count"])


def is_delivered_by(message: MessageProxy, consumer: Consumer) -> TypeGuard[TicketMessage]:
    """False for a ticket of a connection that is gone, whose tag may be one of this consumer's by chance."""
    return isinstance(message, TicketMessage) and message.consumer is consumer


def write_message(ticket: Ring) -> Message[Any]:
    """The message that carries this ticket; its count must be 1 to MAX_COUNT."""
    return Message(queue_name=ticket.queue, actor_name=RING_ACTOR, args=(), kwargs=encode_ticket(ticket), options={})


def read_message(body: bytes, *, queue: str) -> Message[Any]:
    """The message in this body, which came from this queue.

    Raises:
        TicketUnreadable: it is not a ticket; drop it.
    """
    if len(body) > MAX_TICKET_BYTES:
        raise TicketUnreadable(f"{len(body)} bytes are too many for a ticket")
    try:
        message: Message[Any] = Message.decode(body)
        actor, args, fields = message.actor_name, message.args, message.kwargs
    except DecodeError as error:
        raise TicketUnreadable("not a Dramatiq message") from error
    if actor != RING_ACTOR or not isinstance(fields, dict) or not isinstance(message.options, dict):
        raise TicketUnreadable("not a message for the actor `ring`")
    ticket = decode_ticket(args, fields)
    if ticket.queue != queue or message.queue_name != queue:
        raise TicketUnreadable("a ticket of another queue")
    # Options are Dramatiq's (an `eta` would delay it); ours has none.
    return write_message(ticket)
