"""The relay: rings the doorbell for what has been committed, and keeps what it could not ring until it can."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol
from uuid import UUID

from ops_core.errors import BrokerUnavailable
from ops_core.ports import Doorbell, Ring
from ops_core.telemetry import LogEvent, get_logger

_log = get_logger()

#: Under load a ticket stands for up to this many tasks.
_MOST_PER_TICKET = 8
#: As long as there are fewer tickets than this to share, tickets stay small: several workers may be waiting.
_TICKETS_TO_SHARE = 4
#: Tickets in one call of the doorbell: writing them takes the loop for a few ms, which requests wait for.
_MOST_TICKETS = 100
#: More queues than this can only be a mistake; the housekeeper rings for those left out.
_MOST_QUEUES = 1000
#: After a batch at least this large, wait a moment for company.
_BUSY_TICKETS = 4
_LINGER_SECONDS = 0.005


class SupportsAnnounce(Protocol):
    """The relay, as those see it who commit what is to be rung."""

    def announce(self, rings: Sequence[Ring]) -> None:
        """Never blocks, never fails."""


@dataclass(slots=True)
class _Pending:
    """What is to be rung in one queue. While the broker is away only the number grows."""

    count: int = 0
    task_id: UUID | None = None
    traceparent: str | None = None


class Relay:
    """Rings in batches, after the commits. All methods belong to one event loop."""

    def __init__(self, doorbell: Doorbell, *, retry_min_seconds: float = 0.1, retry_max_seconds: float = 2.0) -> None:
        self._doorbell = doorbell
        self._retry_min = retry_min_seconds
        self._retry_max = retry_max_seconds
        self._pending: dict[str, _Pending] = {}
        self._wake = asyncio.Event()
        self._loop: asyncio.Task[None] | None = None
        self._closing = False
        self._failures = 0

    @property
    def pending(self) -> int:
        """How many tasks are still to be rung for."""
        return sum(one.count for one in self._pending.values())

    @property
    def broker_is_away(self) -> bool:
        """True from the first ring that failed to the next that did not."""
        return self._failures > 0

    def announce(self, rings: Sequence[Ring]) -> None:
        """Have the doorbell rung for these soon. Never blocks, never fails, takes no more room as it counts up."""
        for ring in rings:
            if ring.queue not in self._pending and len(self._pending) >= _MOST_QUEUES:
                continue
            pending = self._pending.setdefault(ring.queue, _Pending(0, ring.task_id, ring.traceparent))
            pending.count += max(0, ring.count)
        if self._pending:
            self._wake.set()

    async def start(self) -> None:
        """Begin to ring."""
        if self._loop is None:
            self._closing = False
            self._loop = asyncio.create_task(self._run(), name="relay")

    async def aclose(self, *, flush_seconds: float = 2.0) -> None:
        """Ring what is left, for at most this long, and stop; the housekeeper rings for the rest."""
        loop, self._loop = self._loop, None
        if loop is None:
            return
        self._closing = True
        self._wake.set()
        _, late = await asyncio.wait([loop], timeout=flush_seconds)
        for task in late:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    async def _run(self) -> None:
        while not (self._closing and not self._pending):
            await self._wake.wait()
            tickets = self._take_tickets()
            if await self._ring(tickets):
                if len(tickets) >= _BUSY_TICKETS and not self._closing:
                    await asyncio.sleep(_LINGER_SECONDS)
            else:
                self.announce(tickets)
                await asyncio.sleep(self._pause_seconds())

    async def _ring(self, tickets: Sequence[Ring]) -> bool:
        """True when these are done with."""
        if not tickets:
            return True
        try:
            await self._doorbell.ring(tickets)
        except BrokerUnavailable as error:
            if self._failures == 0:
                waiting = self.pending + sum(ticket.count for ticket in tickets)
                _log.warning(LogEvent.broker_lost, reason=error.detail, pending=waiting)
            self._failures += 1
            return False
        except Exception:  # noqa: BLE001 - the driver of the loop: one ring that cannot be sent must not silence all others
            _log.exception(LogEvent.broker_failed, dropped=len(tickets))
            return True
        if self._failures:
            _log.info(LogEvent.broker_back, pending=self.pending)
            self._failures = 0
        _log.debug(LogEvent.doorbell_rung, tickets=len(tickets), tasks=sum(ticket.count for ticket in tickets))
        return True

    def _take_tickets(self) -> list[Ring]:
        """Up to _MOST_TICKETS tickets, out of what is pending."""
        tickets: list[Ring] = []
        for queue in list(self._pending):
            room = _MOST_TICKETS - len(tickets)
            if room <= 0:
                break
            pending = self._pending.pop(queue)
            taken = spread(Ring(queue, pending.count, pending.task_id, pending.traceparent))
            tickets += taken[:room]
            left = sum(ticket.count for ticket in taken[room:])
            if left:
                self._pending[queue] = _Pending(left)
        if not self._pending and not self._closing:
            self._wake.clear()
        return tickets

    def _pause_seconds(self) -> float:
        longest: float = min(self._retry_max, self._retry_min * 2 ** min(self._failures, 16))
        return longest * (0.5 + random.random() / 2)  # noqa: S311 -- spread, not secrecy


def spread(ring: Ring) -> list[Ring]:
    """The ring as tickets: one a task when there are few, so that workers share; up to 8 tasks each when many."""
    size = min(_MOST_PER_TICKET, max(1, ring.count // _TICKETS_TO_SHARE))
    tickets: list[Ring] = []
    left = ring.count
    while left > 0:
        hint = (ring.task_id, ring.traceparent) if not tickets else (None, None)
        tickets.append(Ring(ring.queue, min(size, left), *hint))
        left -= size
    return tickets
