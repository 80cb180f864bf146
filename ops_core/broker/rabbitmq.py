"""Taking tickets from RabbitMQ: Dramatiq's broker, with a consumer that hoards nothing and settles only its own."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pika
import pika.exceptions
from dramatiq import Message
from dramatiq.broker import Consumer, MessageProxy
from dramatiq.brokers.rabbitmq import RabbitmqBroker
from dramatiq.errors import ConnectionClosed

from ops_core.broker.gate import GatedConsumer, OpenGate
from ops_core.broker.parameters import CONNECTION_ERRORS, addresses, connection_parameters, reason_of
from ops_core.broker.tickets import TicketMessage, is_delivered_by, read_message
from ops_core.ports import TicketGate
from ops_core.telemetry import LogEvent, get_logger
from ops_core.wire.ticket import TicketUnreadable

_log = get_logger()

_NOT_FOUND = 404
#: The prefetch is changed when free slots ask for this many times more or less, and not more often than this.
_REFIT_FACTOR = 4
_REFIT_SECONDS = 0.2


class RabbitmqTicketBroker(RabbitmqBroker):
    """Durable queues without delay queues, dead letters or arguments; what is given back is taken again.

    It only consumes: tickets are rung by `publisher.RabbitmqDoorbell`.
    """

    def __init__(self, url: str, *, gate: TicketGate | None = None) -> None:
        """Raises:
        ConfigurationInvalid: the URL cannot be read.
        """
        super().__init__(middleware=[])
        self.parameters = connection_parameters(url)
        self.gate: TicketGate = gate or OpenGate()

    def declare_queue(self, queue_name: str, *, ensure: bool = False) -> None:
        """On the server it is declared by whoever consumes or rings, over their own connection."""
        if queue_name not in self.queues:
            self.queues.add(queue_name)
            self.emit_after("declare_queue", queue_name)

    def consume(self, queue_name: str, prefetch: int = 1, timeout: int = 5000) -> Consumer:
        """Raises:
        ConnectionClosed: RabbitMQ cannot be reached or refuses; try again later.
        """
        return self.consumer_class(self, queue_name, prefetch, timeout)

    def enqueue(self, message: Message[Any], *, delay: int | None = None) -> Message[Any]:
        raise NotImplementedError("ring the doorbell instead: it confirms in batches")

    @property
    def consumer_class(self) -> type[RabbitmqConsumer]:
        return RabbitmqConsumer


class RabbitmqConsumer(GatedConsumer):
    """One connection and one queue, in one thread. Its delivery tags mean nothing to any other consumer.

    `ack` and `nack` only take note and wake the thread, so they never block and never raise: when the connection is
    lost, RabbitMQ gives all unsettled tickets to others by itself.
    """

    def __init__(self, broker: RabbitmqTicketBroker, queue_name: str, prefetch: int, timeout: int) -> None:
        super().__init__(broker.gate, timeout_seconds=timeout / 1000)
        self._queue_name = queue_name
        self._where = addresses(broker.parameters)
        self._most_prefetched = prefetch
        self._prefetch = 0
        self._refitted_at = 0.0
        self._deliveries: Iterator[Any] | None = None
        #: Tags of tickets that were yielded, or wait for a place, and are not settled.
        self._in_hand: set[int] = set()
        #: Tags to settle, and whether they are acknowledged (or else given back).
        self._settled: list[tuple[int, bool]] = []
        self._settled_lock = threading.Lock()
        with _translated(self._where):
            self._connection = pika.BlockingConnection(broker.parameters)
            try:
                self._channel = _open_channel_with(self._connection, queue_name)
                self._start_consuming()
            except BaseException:
                self._connection.close()
                raise
        self._stop_listening = broker.gate.on_room(lambda: self._call(_do_nothing))

    def __next__(self) -> MessageProxy | None:
        with _translated(self._where):
            return super().__next__()

    def ack(self, message: MessageProxy) -> None:
        self._settle(message, acknowledged=True)

    def nack(self, message: MessageProxy) -> None:
        self._settle(message, acknowledged=False)

    def close(self) -> None:
        """Settle what was noted, give back the rest, disconnect. To be called by the consumer's own thread."""
        self._stop_listening()
        try:
            if self._channel.is_open:
                self._flush()
                self._stop()
            if self._connection.is_open:
                self._connection.close()
        except CONNECTION_ERRORS as error:
            _log.debug(LogEvent.broker_lost, queue=self._queue_name, reason=str(error))

    def _receive(self, timeout_seconds: float) -> TicketMessage | None:
        self._refit()
        assert self._deliveries is not None
        try:
            method, _, body = next(self._deliveries)
        except StopIteration:
            # The queue was deleted; connecting again declares it.
            raise _closed("the queue is gone") from None
        if method is None:
            return None
        try:
            message = read_message(body, queue=self._queue_name)
        except TicketUnreadable as error:
            _log.warning(LogEvent.ticket_unreadable, queue=self._queue_name, reason=str(error))
            self._channel.basic_reject(method.delivery_tag, requeue=False)
            return None
        self._in_hand.add(method.delivery_tag)
        return TicketMessage(message, consumer=self, tag=method.delivery_tag)

    def _idle(self, timeout_seconds: float) -> None:
        self._connection.process_data_events(time_limit=timeout_seconds)

    def _stop(self) -> None:
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            self._in_hand.discard(waiting.tag)
            self._channel.basic_nack(waiting.tag, requeue=True)
        if self._deliveries is not None:
            self._deliveries = None
            # Gives back what pika holds; what is still on its way is refused when it comes.
            self._channel.cancel()
            _log.debug(LogEvent.ticket_given_back, queue=self._queue_name)

    def _resume(self) -> None:
        self._start_consuming()

    def _start_consuming(self) -> None:
        self._prefetch = self._wanted_prefetch()
        self._refitted_at = time.monotonic()
        self._channel.basic_qos(prefetch_count=self._prefetch)
        self._deliveries = self._channel.consume(self._queue_name, inactivity_timeout=self._timeout)

    def _wanted_prefetch(self) -> int:
        return max(1, min(self._most_prefetched, self._gate.free()))

    def _refit(self) -> None:
        """Keep no more tickets waiting here than could run, and enough to run at full speed."""
        wanted = self._wanted_prefetch()
        if self._prefetch < wanted * _REFIT_FACTOR and wanted < self._prefetch * _REFIT_FACTOR:
            return
        if time.monotonic() - self._refitted_at >= _REFIT_SECONDS:
            self._stop()
            self._start_consuming()

    def _settle(self, message: MessageProxy, *, acknowledged: bool) -> None:
        if not is_delivered_by(message, self) or message.tag not in self._in_hand:
            return
        with self._settled_lock:
            self._in_hand.discard(message.tag)
            self._settled.append((message.tag, acknowledged))
            wake = len(self._settled) == 1
        if wake:
            self._call(self._flush)

    def _flush(self) -> None:
        """In the consumer's thread."""
        with self._settled_lock:
            settled, self._settled = self._settled, []
            open_from = min(self._in_hand, default=None)
        for tag, acknowledged in settled:
            if not acknowledged:
                self._channel.basic_nack(tag, requeue=True)
        acks = [tag for tag, acknowledged in settled if acknowledged]
        # One acknowledgement speaks for all that came before the first open ticket.
        if together := [tag for tag in acks if open_from is None or tag < open_from]:
            self._channel.basic_ack(max(together), multiple=True)
        for tag in acks:
            if open_from is not None and tag > open_from:
                self._channel.basic_ack(tag)

    def _call(self, callback: Any) -> None:
        """Have the consumer's thread do this; from any thread."""
        try:
            self._connection.add_callback_threadsafe(callback)
        except CONNECTION_ERRORS as error:
            _log.debug(LogEvent.broker_lost, queue=self._queue_name, reason=str(error))


def _open_channel_with(connection: pika.BlockingConnection, queue_name: str) -> Any:
    """A channel on which the queue is known to exist. One that an operator has made keeps its own arguments."""
    channel = connection.channel()
    try:
        channel.queue_declare(queue_name, passive=True)
    except pika.exceptions.ChannelClosedByBroker as closed:
        if closed.reply_code != _NOT_FOUND:
            raise
        channel = connection.channel()
        channel.queue_declare(queue_name, durable=True)
    return channel


@contextmanager
def _translated(where: str) -> Iterator[None]:
    try:
        yield
    except CONNECTION_ERRORS as error:
        raise _closed(f"RabbitMQ at {where}: {reason_of(error)}") from error


def _closed(reason: str) -> ConnectionClosed:
    return ConnectionClosed(reason)  # type: ignore[no-untyped-call]  # Dramatiq's errors are not typed


def _do_nothing() -> None:
    """Waking the thread was all."""
