"""One connection of the publisher: pika's callbacks on the event loop as things to await."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import pika
import pika.exceptions
from pika.adapters.asyncio_connection import AsyncioConnection

from ops_core.broker.tickets import write_message
from ops_core.errors import BrokerUnavailable
from ops_core.ports import Ring

_NOT_FOUND = 404
_CLOSE_SECONDS = 1.0
#: 2 is AMQP's word for persistent.
_PERSISTENT = 2


class Link:
    """A connection with a channel in confirm mode. Whatever is awaited raises when the connection ends.

    Waits have no limit of their own: the caller sets one, and closes the link when it is over.
    """

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self._loop = asyncio.get_running_loop()
        self._closed = asyncio.Event()
        self._answers: set[asyncio.Future[Any]] = set()
        self._declared: set[str] = set()
        self._channel: Any = None
        self._last_tag = 0
        self._unconfirmed: set[int] = set()
        self._refused = False
        self._returned: list[int] = []
        self._batch: asyncio.Future[None] | None = None
        connection.add_on_close_callback(lambda _, reason: self._end(reason))

    @classmethod
    async def open(cls, parameters: Sequence[pika.URLParameters]) -> Link:
        """Raises:
        pika's errors: no address can be reached, or RabbitMQ refuses.
        """
        link = cls(await _connect(parameters))
        try:
            await link._open_publishing_channel()
        except BaseException:
            await link.aclose()
            raise
        return link

    @property
    def is_open(self) -> bool:
        return bool(self._connection.is_open and self._channel is not None and self._channel.is_open)

    async def declare(self, queue: str) -> None:
        """Make sure of a durable queue; one that an operator has made keeps its own arguments."""
        if queue in self._declared:
            return
        if await self.message_count(queue) is None:
            channel = await self._open_channel()
            await self._answer(lambda done: channel.queue_declare(queue, durable=True, callback=done))
            channel.close()
        self._declared.add(queue)

    def forget(self, queue: str) -> None:
        """It may be gone: declare it again next time."""
        self._declared.discard(queue)

    async def message_count(self, queue: str) -> int | None:
        """How many messages are ready; None when there is no such queue."""
        # A passive declare of a queue that is not there closes the channel, so it gets one of its own.
        channel = await self._open_channel()
        try:
            frame = await self._answer(
                lambda done: channel.queue_declare(queue, passive=True, callback=done), closed_by=channel
            )
        except pika.exceptions.ChannelClosedByBroker as closed:
            if closed.reply_code == _NOT_FOUND:
                return None
            raise
        channel.close()
        return int(frame.method.message_count)

    async def publish(self, tickets: Sequence[Ring]) -> list[Ring]:
        """Returns when RabbitMQ has answered for all of them, with those for which there is no queue.

        Raises:
            BrokerUnavailable: RabbitMQ refused some.
        """
        self._returned, self._refused = [], False
        self._batch = self._new_answer()
        for number, ticket in enumerate(tickets):
            self._last_tag += 1
            self._unconfirmed.add(self._last_tag)
            self._channel.basic_publish(
                exchange="",
                routing_key=ticket.queue,
                body=write_message(ticket).encode(),
                properties=pika.BasicProperties(delivery_mode=_PERSISTENT, message_id=str(number)),
                mandatory=True,
            )
        await self._wait_for(self._batch)
        if self._refused:
            raise BrokerUnavailable("RabbitMQ refused some tickets")
        return [tickets[number] for number in self._returned]

    async def aclose(self) -> None:
        """Disconnect; gives up waiting for the other end after a moment."""
        if not (self._connection.is_closed or self._connection.is_closing):
            self._connection.close()
        try:
            async with asyncio.timeout(_CLOSE_SECONDS):
                await self._closed.wait()
        except TimeoutError:
            self._end(pika.exceptions.ConnectionWrongStateError("gave up waiting for the connection to close"))

    async def _open_publishing_channel(self) -> None:
        channel = self._channel = await self._open_channel()
        channel.add_on_close_callback(lambda _, reason: self._end(reason))
        channel.add_on_return_callback(lambda _, __, properties, ___: self._returned.append(int(properties.message_id)))
        await self._answer(lambda done: channel.confirm_delivery(ack_nack_callback=self._on_confirm, callback=done))

    async def _open_channel(self) -> Any:
        return await self._answer(lambda done: self._connection.channel(on_open_callback=done))

    def _on_confirm(self, frame: Any) -> None:
        tag = frame.method.delivery_tag
        self._refused = self._refused or isinstance(frame.method, pika.spec.Basic.Nack)
        if frame.method.multiple:
            self._unconfirmed = {one for one in self._unconfirmed if one > tag}
        else:
            self._unconfirmed.discard(tag)
        if not self._unconfirmed and self._batch is not None and not self._batch.done():
            self._batch.set_result(None)

    async def _answer(self, ask: Callable[[Callable[[Any], None]], object], *, closed_by: Any = None) -> Any:
        """What pika calls back with."""
        answer = self._new_answer()

        def done(value: Any) -> None:
            if not answer.done():
                answer.set_result(value)

        def refused(_: Any, reason: BaseException) -> None:
            if not answer.done():
                answer.set_exception(reason)

        if closed_by is not None:
            closed_by.add_on_close_callback(refused)
        ask(done)
        return await self._wait_for(answer)

    def _new_answer(self) -> asyncio.Future[Any]:
        return self._loop.create_future()

    async def _wait_for(self, answer: asyncio.Future[Any]) -> Any:
        self._answers.add(answer)
        try:
            return await answer
        finally:
            self._answers.discard(answer)

    def _end(self, reason: BaseException) -> None:
        """The connection, or the channel that publishes, is over: nobody waits any longer."""
        if self._connection.is_closed or isinstance(reason, pika.exceptions.ConnectionWrongStateError):
            self._closed.set()
        for answer in list(self._answers):
            if not answer.done():
                answer.set_exception(reason)


async def _connect(parameters: Sequence[pika.URLParameters]) -> Any:
    opened: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

    def on_done(result: Any) -> None:
        if opened.done():
            # Too late: the caller has given up.
            if not isinstance(result, BaseException):
                result.close()
        elif isinstance(result, BaseException):
            opened.set_exception(result)
        else:
            opened.set_result(result)

    # What this returns could be aborted, but not midway through the handshake (an assertion of pika's fails); so a
    # caller who gives up leaves it to pika's own time limit, which whoever made the parameters has set.
    AsyncioConnection.create_connection(list(parameters), on_done)
    return await opened
