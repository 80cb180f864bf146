"""Tickets within one process: Dramatiq's stub broker made fit for service, and the doorbell over it."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Sequence
from queue import Empty, Queue
from typing import Any

from dramatiq import Message
from dramatiq.broker import Consumer, MessageProxy
from dramatiq.brokers.stub import StubBroker
from dramatiq.errors import BrokerError, QueueNotFound

from ops_core.broker.gate import GatedConsumer, OpenGate
from ops_core.broker.tickets import TicketMessage, is_delivered_by, read_message, write_message
from ops_core.errors import BrokerUnavailable
from ops_core.ports import Ring, TicketGate
from ops_core.telemetry import LogEvent, get_logger
from ops_core.wire.ticket import MAX_COUNT, TicketUnreadable, split_ring

_log = get_logger()


class QueueFull(BrokerError):
    """The queue holds all the tickets it may; the relay keeps the rest as a number."""

    def __init__(self, message: str) -> None:
        super().__init__(message)  # type: ignore[no-untyped-call]  # Dramatiq's errors are not typed


class InProcessBroker(StubBroker):
    """Queues in memory: bounded, without delay queues and dead letters; what is given back is taken again."""

    def __init__(self, *, gate: TicketGate | None = None, max_tickets: int = 100_000) -> None:
        super().__init__(middleware=[])
        self.gate: TicketGate = gate or OpenGate()
        self.max_tickets = max_tickets
        self._declaring = threading.Lock()

    def declare_queue(self, queue_name: str) -> None:
        with self._declaring:
            if queue_name in self.queues:
                return
            self.queues[queue_name] = Queue()
        self.emit_after("declare_queue", queue_name)

    def enqueue(self, message: Message[Any], *, delay: int | None = None) -> Message[Any]:
        """Raises:
        QueueFull: nothing was added.
        """
        if delay is not None:
            raise ValueError("a ticket is never delayed: the row of its task is")
        self.declare_queue(message.queue_name)
        queue = self.queues[message.queue_name]
        if queue.qsize() >= self.max_tickets:
            raise QueueFull(f"queue {message.queue_name!r} holds {self.max_tickets} tickets")
        queue.put(message.encode())
        return message

    def size(self, queue_name: str) -> int:
        """How many tickets are ready."""
        queue = self.queues.get(queue_name)
        return queue.qsize() if queue is not None else 0

    def consume(self, queue_name: str, prefetch: int = 1, timeout: int = 100) -> Consumer:
        if queue_name not in self.queues:
            raise QueueNotFound(queue_name)  # type: ignore[no-untyped-call]  # Dramatiq's errors are not typed
        return InProcessConsumer(self.queues[queue_name], queue_name, self.gate, timeout_seconds=timeout / 1000)


class InProcessConsumer(GatedConsumer):
    """Takes tickets from a queue in memory. The gate bounds what it has in hand, so it needs no prefetch."""

    def __init__(self, queue: Queue[bytes], queue_name: str, gate: TicketGate, *, timeout_seconds: float) -> None:
        super().__init__(gate, timeout_seconds=timeout_seconds)
        self._queue = queue
        self._queue_name = queue_name
        self._tags = itertools.count(1)
        self._in_hand: dict[int, bytes] = {}
        self._room = threading.Event()
        self._stop_listening = gate.on_room(self._room.set)

    def ack(self, message: MessageProxy) -> None:
        if is_delivered_by(message, self) and self._in_hand.pop(message.tag, None) is not None:
            self._queue.task_done()

    def nack(self, message: MessageProxy) -> None:
        if is_delivered_by(message, self):
            self._give_back(message.tag)

    def close(self) -> None:
        """Give back everything in hand: nobody can acknowledge it any more."""
        self._stop_listening()
        self._waiting = None
        for tag in list(self._in_hand):
            self._give_back(tag)

    def _give_back(self, tag: int) -> None:
        body = self._in_hand.pop(tag, None)
        if body is not None:
            self._queue.put(body)
            self._queue.task_done()

    def _receive(self, timeout_seconds: float) -> TicketMessage | None:
        try:
            body = self._queue.get(timeout=timeout_seconds)
        except Empty:
            return None
        try:
            message = TicketMessage(read_message(body, queue=self._queue_name), consumer=self, tag=next(self._tags))
        except TicketUnreadable as error:
            self._queue.task_done()
            _log.warning(LogEvent.ticket_unreadable, queue=self._queue_name, reason=str(error))
            return None
        self._in_hand[message.tag] = body
        return message

    def _idle(self, timeout_seconds: float) -> None:
        self._room.wait(timeout_seconds)
        self._room.clear()

    def _stop(self) -> None:
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            self.nack(waiting)
            _log.debug(LogEvent.ticket_given_back, queue=self._queue_name)

    def _resume(self) -> None:
        """The queue is there to be asked."""


class InProcessDoorbell:
    """Rings by putting tickets into the queues of this process."""

    def __init__(self, broker: InProcessBroker) -> None:
        self._broker = broker

    async def ring(self, rings: Sequence[Ring]) -> None:
        try:
            for ring in rings:
                for ticket in split_ring(ring):
                    self._broker.enqueue(write_message(ticket))
        except QueueFull as full:
            raise BrokerUnavailable(str(full)) from full

    async def ready(self, queue: str) -> int:
        return self._broker.size(queue) * MAX_COUNT

    async def ping(self) -> None:
        """Always there."""

    async def aclose(self) -> None:
        """Nothing to close: the broker belongs to whoever made it."""
