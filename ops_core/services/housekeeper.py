"""The housekeeper: what must happen although nobody asks, in loops that any number of processes may run."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

from ops_core.errors import BrokerUnavailable, Unavailable
from ops_core.ports import Doorbell, HousekeepingStore, NudgeBus, QueueBacklog, Ring
from ops_core.services.due import DueAlarm, SupportsDue
from ops_core.services.relay import Relay
from ops_core.telemetry import LogEvent, get_logger

_log = get_logger()

#: Rows changed by one tick; a tick that changed as many has more to do and does not pause.
TICK_LIMIT = 500
#: Tasks rung for again by one tick, in each queue.
RING_AGAIN_LIMIT = 1000
#: A worker process that was not heard of for so long is gone; long enough to be seen on the list as silent before.
WORKER_SILENT_SECONDS = 3600.0


class TimedChore(SupportsDue, Protocol):
    """A tick that has times of its own, such as the firing of schedules."""

    async def tick(self) -> int: ...


class HousekeepingLoop:
    """Calls one tick again and again, with a pause that spreads over processes; an error is logged and it goes on."""

    def __init__(
        self,
        name: str,
        tick: Callable[[], Awaitable[int]],
        *,
        interval_seconds: float,
        timeout_seconds: float,
        limit: int = TICK_LIMIT,
        alarm: DueAlarm | None = None,
    ) -> None:
        """With an `alarm` the pause ends when something is due."""
        self.name = name
        self._tick = tick
        self._interval = interval_seconds
        self._timeout = timeout_seconds
        self._limit = limit
        self._alarm = alarm
        self._failed = False

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            changed = await self.tick()
            if changed >= self._limit:
                await asyncio.sleep(0)
            else:
                await self._pause(self._interval * random.uniform(0.75, 1.25), changed)  # noqa: S311 -- spread

    async def tick(self) -> int:
        """One round: how much it changed, 0 when it failed. An error is logged when it begins, not at each tick."""
        try:
            async with asyncio.timeout(self._timeout):
                changed = await self._tick()
        except (Unavailable, TimeoutError) as error:
            if not self._failed:
                _log.warning(LogEvent.housekeeper_tick_failed, loop=self.name, reason=str(error) or "took too long")
            self._failed = True
            return 0
        except Exception:  # noqa: BLE001 - the driver of the loop
            if not self._failed:
                _log.exception(LogEvent.housekeeper_tick_failed, loop=self.name)
            self._failed = True
            return 0
        self._failed = False
        return changed

    async def _pause(self, seconds: float, changed: int) -> None:
        if self._alarm is not None:
            try:
                await self._alarm.sleep(seconds, found=changed)
            except Exception:  # noqa: BLE001 - the driver of the loop
                _log.exception(LogEvent.housekeeper_tick_failed, loop=self.name)
            else:
                return
        await asyncio.sleep(seconds)


class Housekeeper:
    """Releases what is due, takes back what was lost, fails what is too late, rings for what nobody was told of."""

    def __init__(
        self,
        store: HousekeepingStore,
        doorbell: Doorbell,
        relay: Relay,
        *,
        interval_seconds: float,
        ring_again_seconds: float,
        max_crashes: int,
        tick_timeout_seconds: float = 30.0,
        clock: Callable[[], float] = time.monotonic,
        nudges: NudgeBus | None = None,
        chores: Sequence[tuple[str, Callable[[], Awaitable[int]]]] = (),
        timed_chores: Sequence[tuple[str, TimedChore]] = (),
    ) -> None:
        """With `nudges` it hears of what is due sooner than it expects; without, that waits for the next look.
        `chores` are further ticks by name, each in a loop of its own; `timed_chores` do not wait out their pause when
        something is due."""
        self._store = store
        self._doorbell = doorbell
        self._relay = relay
        self._ring_again_seconds = ring_again_seconds
        self._max_crashes = max_crashes
        self._clock = clock
        #: By queue: what was claimable when we rang again for all of it, and when that was.
        self._rung_again: dict[str, tuple[int, float]] = {}
        self._running: list[asyncio.Task[None]] = []
        self._alarm = DueAlarm(store, nudges, clock=clock)
        alarms = {name: DueAlarm(chore, clock=clock) for name, chore in timed_chores}
        self.loops = tuple(
            HousekeepingLoop(
                name,
                tick,
                interval_seconds=interval_seconds,
                timeout_seconds=tick_timeout_seconds,
                alarm=self._alarm if name == "release_due" else alarms.get(name),
            )
            for name, tick in (
                ("release_due", self._release_due),
                ("take_back_expired", self._take_back_expired),
                ("fail_overdue", self._fail_overdue),
                ("ring_again", self._ring_again),
                ("forget_workers", self._forget_workers),
                ("forget_text", self._forget_text),
                *((name, chore.tick) for name, chore in timed_chores),
                *chores,
            )
        )

    async def start(self) -> None:
        """Begin the loops."""
        if not self._running:
            self._running = [asyncio.create_task(loop.run(), name=f"housekeeper-{loop.name}") for loop in self.loops]

    async def aclose(self) -> None:
        """Stop the loops; what a tick was about to write is written or not, and done again by the next."""
        running, self._running = self._running, []
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        self._alarm.close()

    async def tick(self) -> int:
        """One round of each loop, one after the other: how much they changed together."""
        return sum([await loop.tick() for loop in self.loops])

    async def _release_due(self) -> int:
        return self._announce(await self._store.release_due(limit=TICK_LIMIT))

    async def _take_back_expired(self) -> int:
        rings = await self._store.take_back_expired(limit=TICK_LIMIT, max_crashes=self._max_crashes)
        if rings:
            _log.warning(LogEvent.housekeeper_took_back, tasks=sum(ring.count for ring in rings))
        return self._announce(rings)

    async def _fail_overdue(self) -> int:
        failed, rings = await self._store.fail_overdue(limit=TICK_LIMIT)
        self._announce(rings)
        return failed

    async def _forget_workers(self) -> int:
        return await self._store.forget_silent_workers(silent_seconds=WORKER_SILENT_SECONDS)

    async def _forget_text(self) -> int:
        return await self._store.forget_left_text(limit=TICK_LIMIT)

    async def _ring_again(self) -> int:
        """Rings only what is missing; never as much as to skip the pause before the next look."""
        backlogs = await self._store.backlogs()
        for gone in self._rung_again.keys() - {backlog.queue for backlog in backlogs}:
            del self._rung_again[gone]
        for backlog in backlogs:
            if backlog.claimable and backlog.oldest_ring_seconds > self._ring_again_seconds:
                await self._ring_again_in(backlog)
        return 0

    async def _ring_again_in(self, backlog: QueueBacklog) -> None:
        if self._just_rung_in_vain(backlog):
            return
        try:
            ready = await self._doorbell.ready(backlog.queue)
        except BrokerUnavailable:
            # The relay says that the broker is away, and this loop looks again.
            return
        missing = min(backlog.claimable - ready, RING_AGAIN_LIMIT)
        if missing <= 0:
            return
        if missing < RING_AGAIN_LIMIT:
            self._rung_again[backlog.queue] = (backlog.claimable, self._clock())
        _log.info(LogEvent.housekeeper_rang, queue=backlog.queue, claimable=backlog.claimable, tasks=missing)
        self._announce([Ring(backlog.queue, missing)])

    def _just_rung_in_vain(self, backlog: QueueBacklog) -> bool:
        """All was rung for lately and no less is claimable: whoever took those tickets cannot run these tasks."""
        claimable, at = self._rung_again.get(backlog.queue, (0, 0.0))
        return 0 < claimable <= backlog.claimable and self._clock() - at < self._ring_again_seconds

    def _announce(self, rings: Sequence[Ring]) -> int:
        self._relay.announce(rings)
        return sum(ring.count for ring in rings)
