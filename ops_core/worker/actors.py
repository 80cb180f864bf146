"""The actor `ring` and the Dramatiq worker around it: tickets reach the event loop in bulk and hold no thread."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable
from typing import Any, cast

import dramatiq
from dramatiq.broker import Broker, MessageProxy
from dramatiq.errors import BrokerConnectionError
from dramatiq.worker import ConsumerThread, Worker

from ops_core.errors import StoreUnavailable
from ops_core.telemetry import LogEvent, get_logger
from ops_core.wire.ticket import decode_ticket
from ops_core.worker.host import AgentHost, NotTaking

_log = get_logger()

#: How long a consumer waits for a ticket before it looks whether it shall stop.
_POLL_MILLISECONDS = 200
#: The most tickets in hand for each queue; the gate keeps it below the free slots.
_MOST_PREFETCHED = 64
_RECONNECT_SECONDS = 0.25
_LONGEST_RECONNECT_SECONDS = 3.0
#: How long a stopping worker waits for claims that are under way.
_SETTLE_SECONDS = 1.0
_JOIN_SECONDS = 3.0

#: Takes a ticket from the arguments of the message; returns when the claim has committed.
RingActor = Callable[..., Awaitable[None]]


def make_worker(broker: Broker, host: AgentHost) -> TicketWorker:
    """The worker that takes tickets for this host, from its queues. The broker's gate must be `host.slots`."""
    for queue in host.queues:
        broker.declare_queue(queue)
    return TicketWorker(broker, host=host, ring=declare_ring(broker, host))


def declare_ring(broker: Broker, host: AgentHost) -> RingActor:
    """Declare the actor on the broker; returns its coroutine function, which our worker awaits without a thread."""

    async def ring(*args: object, places: int = 1, **fields: object) -> None:
        await host.take(decode_ticket(args, fields), places)

    actor = dramatiq.actor(actor_name="ring", queue_name=host.queues[0], broker=broker)(ring)
    return cast(RingActor, actor.fn.__wrapped__)  # type: ignore[attr-defined]  # what Dramatiq keeps of an async actor


class TicketWorker(Worker):
    """Dramatiq's consumer threads, one a queue; in place of its worker threads, the host's event loop."""

    def __init__(self, broker: Broker, *, host: AgentHost, ring: RingActor) -> None:
        super().__init__(broker, queues=set(host.queues), worker_timeout=_POLL_MILLISECONDS, worker_threads=0)
        # Without this it would be 2 x 0, which means unlimited on RabbitMQ.
        self.queue_prefetch = min(host.slots.total, _MOST_PREFETCHED)
        self._host = host
        self._ring = ring
        self._loop: asyncio.AbstractEventLoop | None = None
        self._inbox: list[MessageProxy] = []
        self._inbox_lock = threading.Lock()
        self._in_hand: set[asyncio.Task[None]] = set()

    def start(self) -> None:
        """Begin to take tickets, onto the running loop."""
        self._loop = asyncio.get_running_loop()
        super().start()

    async def aclose(self) -> None:
        """Take no more tickets and give back those in hand, within about a second; agents go on."""
        self._host.stop_taking()
        # Claims under way come first: a ticket whose consumer has closed cannot be acknowledged any more.
        await asyncio.sleep(0)
        if self._in_hand:
            await asyncio.wait(set(self._in_hand), timeout=_SETTLE_SECONDS)
        await asyncio.to_thread(self.stop, int(_JOIN_SECONDS * 1000))
        for task in self._in_hand:
            task.cancel()

    def stop(self, timeout: int = 600_000) -> None:
        """As Dramatiq's, but each consumer is closed by its own thread: what pika holds is not thread-safe."""
        self.broker.emit_before("worker_shutdown", self)
        deadline = time.monotonic() + timeout / 1000
        for consumer in self.consumers.values():
            consumer.stop()
        for consumer in self.consumers.values():
            consumer.join(max(0.0, deadline - time.monotonic()))
        self.broker.emit_after("worker_shutdown", self)

    def _add_consumer(self, queue_name: str, *, delay: bool = False) -> None:
        if delay or queue_name in self.consumers or queue_name not in self._host.queues:
            return
        consumer = TicketConsumerThread(
            deliver=self._deliver,
            broker=self.broker,
            queue_name=queue_name,
            prefetch=self.queue_prefetch,
            work_queue=self.work_queue,
            worker_timeout=self.worker_timeout,
        )
        self.consumers[queue_name] = consumer
        consumer.start()

    def _deliver(self, message: MessageProxy) -> None:
        """From a consumer thread: one wake-up of the loop takes all that has gathered."""
        assert self._loop is not None
        with self._inbox_lock:
            self._inbox.append(message)
            wake = len(self._inbox) == 1
        if wake:
            try:
                self._loop.call_soon_threadsafe(self._open_inbox)
            except RuntimeError:
                # The loop is closed; the broker gives the ticket to somebody else when the connection ends.
                return

    def _open_inbox(self) -> None:
        assert self._loop is not None
        with self._inbox_lock:
            messages, self._inbox = self._inbox, []
        for message in messages:
            task = self._loop.create_task(self._settle(message))
            self._in_hand.add(task)
            task.add_done_callback(self._in_hand.discard)

    async def _settle(self, message: MessageProxy) -> None:
        """Acknowledge the ticket once its claim has committed; give it back when it failed."""
        try:
            await self._ring(*message.args, places=message.places, **message.kwargs)
        except NotTaking:
            message.fail()
        except StoreUnavailable as error:
            _log.warning(LogEvent.ticket_given_back, queue=message.queue_name, reason=error.detail)
            message.fail()
        except Exception:  # noqa: BLE001 - a door: whatever is wrong with one ticket, the others are taken
            _log.exception(LogEvent.ticket_given_back, queue=message.queue_name)
            message.fail()
        self.consumers[message.queue_name].post_process_message(message)


class TicketConsumerThread(ConsumerThread):
    """Keeps one consumer on one queue, connecting again when it is lost. A failed message is given back."""

    def __init__(self, *, deliver: Callable[[MessageProxy], None], **options: Any) -> None:
        super().__init__(**options)
        self.name = f"consumer-{self.queue_name}"
        self._deliver = deliver
        self._stopping = threading.Event()
        self._failures = 0

    def run(self) -> None:
        self.broker.emit_after("consumer_thread_boot", self)
        while not self._stopping.is_set():
            try:
                self._consume()
            except BrokerConnectionError as error:
                self._say_lost(str(error))
            except Exception:  # noqa: BLE001 - the driver of the thread: without it the queue would never be looked at again
                _log.exception(LogEvent.broker_failed, queue=self.queue_name)
                self._failures += 1
            finally:
                self.close()
            self._stopping.wait(min(_LONGEST_RECONNECT_SECONDS, _RECONNECT_SECONDS * 2 ** min(self._failures, 10)))
        self.broker.emit_before("consumer_thread_shutdown", self)

    def stop(self) -> None:
        self._stopping.set()

    def _consume(self) -> None:
        """Until it is told to stop, or the connection is lost."""
        self.consumer = self.broker.consume(
            queue_name=self.queue_name, prefetch=self.prefetch, timeout=self.worker_timeout
        )
        self._say_back()
        for message in self.consumer:
            if message is not None:
                self._deliver(message)
            if self._stopping.is_set():
                return

    def _say_lost(self, reason: str) -> None:
        if self._failures == 0:
            _log.warning(LogEvent.broker_lost, queue=self.queue_name, reason=reason)
        self._failures += 1

    def _say_back(self) -> None:
        if self._failures:
            _log.info(LogEvent.broker_back, queue=self.queue_name)
        self._failures = 0
