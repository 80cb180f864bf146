"""The doorbell over RabbitMQ: persistent tickets, confirmed in batches, on the event loop."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from ops_core.broker.parameters import CONNECTION_ERRORS, addresses, connection_parameters, reason_of
from ops_core.broker.publisher_link import Link
from ops_core.errors import BrokerUnavailable
from ops_core.ports import Ring
from ops_core.wire.ticket import MAX_COUNT, split_ring

#: Tickets that wait for their confirm at once.
_MOST_OUTSTANDING = 500
_RECONNECT_SECONDS = 0.1
#: Of the time a caller waits, how much may go into connecting.
_CONNECT_SHARE = 0.8
_LONGEST_RECONNECT_SECONDS = 1.0


class RabbitmqDoorbell:
    """Connects when it is first needed, and again when it was lost. Belongs to one event loop."""

    def __init__(self, url: str, *, timeout_seconds: float = 5.0) -> None:
        """Raises:
        ConfigurationInvalid: the URL cannot be read.
        """
        self._parameters = connection_parameters(url, connect_seconds=timeout_seconds * _CONNECT_SHARE)
        self._timeout = timeout_seconds
        self._link: Link | None = None
        #: One caller at a time: a connection has one batch under way.
        self._turn = asyncio.Lock()
        self._failures = 0
        self._not_before = 0.0

    async def ring(self, rings: Sequence[Ring]) -> None:
        tickets = [ticket for ring in rings for ticket in split_ring(ring)]
        for start in range(0, len(tickets), _MOST_OUTSTANDING):
            async with self._linked() as link:
                await _publish(link, tickets[start : start + _MOST_OUTSTANDING])

    async def ready(self, queue: str) -> int:
        async with self._linked() as link:
            return (await link.message_count(queue) or 0) * MAX_COUNT

    async def ping(self) -> None:
        """Returns when RabbitMQ can be reached.

        Raises:
            BrokerUnavailable
        """
        async with self._linked():
            pass

    async def aclose(self) -> None:
        link, self._link = self._link, None
        if link is not None:
            await link.aclose()

    @asynccontextmanager
    async def _linked(self) -> AsyncIterator[Link]:
        """A connection that works, for one caller, for a limited time; whatever goes wrong ends the connection, since
        nobody knows what became of what was under way."""
        try:
            async with asyncio.timeout(self._timeout), self._turn:
                link = await self._connect()
                try:
                    yield link
                except BaseException:
                    await self.aclose()
                    raise
        except TimeoutError as error:
            raise BrokerUnavailable(f"RabbitMQ at {self._where} did not answer within {self._timeout:g} s") from error
        except CONNECTION_ERRORS as error:
            raise BrokerUnavailable(f"RabbitMQ at {self._where}: {reason_of(error)}") from error

    async def _connect(self) -> Link:
        if self._link is not None and self._link.is_open:
            return self._link
        await self.aclose()
        if time.monotonic() < self._not_before:
            raise BrokerUnavailable(f"RabbitMQ at {self._where} could not be reached a moment ago")
        try:
            self._link = await Link.open(self._parameters)
        except BaseException:
            pause = min(_LONGEST_RECONNECT_SECONDS, _RECONNECT_SECONDS * 2 ** min(self._failures, 10))
            self._failures += 1
            self._not_before = time.monotonic() + pause
            raise
        self._failures = 0
        return self._link

    @property
    def _where(self) -> str:
        return addresses(self._parameters)


async def _publish(link: Link, tickets: Sequence[Ring]) -> None:
    """Raises:
    BrokerUnavailable: some are not safe.
    """
    for queue in {ticket.queue for ticket in tickets}:
        await link.declare(queue)
    returned = await link.publish(tickets)
    if not returned:
        return
    # Their queue was deleted since we declared it.
    for queue in {ticket.queue for ticket in returned}:
        link.forget(queue)
        await link.declare(queue)
    if await link.publish(returned):
        raise BrokerUnavailable("RabbitMQ has no queue for some tickets although it was just declared")
