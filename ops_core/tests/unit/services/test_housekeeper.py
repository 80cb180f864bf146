"""The housekeeper: rings only what is missing, goes on after errors."""

from __future__ import annotations

import time
from collections.abc import Sequence

import pytest

from ops_core.errors import StoreUnavailable
from ops_core.ports import QueueBacklog, Ring
from ops_core.services.housekeeper import Housekeeper
from ops_core.services.relay import Relay
from ops_core.tests.unit.worker.fakes import FakeDoorbell, wait_until


class FakeHousekeepingStore:
    def __init__(self) -> None:
        self.due: list[Ring] = []
        self.expired: list[Ring] = []
        self.overdue = 0
        self.backlog: list[QueueBacklog] = []
        self.away = False
        self.asked = 0

    async def release_due(self, *, limit: int) -> Sequence[Ring]:
        self._ask()
        due, self.due = self.due, []
        return due

    async def seconds_until_due(self) -> float | None:
        self._ask()
        return None

    async def take_back_expired(self, *, limit: int, max_crashes: int) -> Sequence[Ring]:
        self._ask()
        expired, self.expired = self.expired, []
        return expired

    async def fail_overdue(self, *, limit: int) -> tuple[int, Sequence[Ring]]:
        self._ask()
        return self.overdue, ()

    async def forget_left_text(self, *, limit: int) -> int:
        self._ask()
        return 0

    async def forget_silent_workers(self, *, silent_seconds: float) -> int:
        self._ask()
        return 0

    async def backlogs(self) -> Sequence[QueueBacklog]:
        self._ask()
        return self.backlog

    def _ask(self) -> None:
        self.asked += 1
        if self.away:
            raise StoreUnavailable("the database is away")


class House:
    def __init__(self) -> None:
        self.store = FakeHousekeepingStore()
        self.doorbell = FakeDoorbell()
        self.relay = Relay(self.doorbell)
        self.now = 100.0
        self.keeper = Housekeeper(
            self.store,
            self.doorbell,
            self.relay,
            interval_seconds=0.001,
            ring_again_seconds=10,
            max_crashes=5,
            clock=lambda: self.now,
        )

    def rung(self) -> dict[str, int]:
        """What was announced since the last call."""
        pending = {queue: one.count for queue, one in self.relay._pending.items()}
        self.relay._pending.clear()
        return pending


@pytest.fixture
def house() -> House:
    return House()


async def test_what_is_due_or_lost_is_rung(house: House) -> None:
    house.store.due = [Ring("a", 2)]
    house.store.expired = [Ring("a", 1), Ring("b", 1)]
    assert await house.keeper.tick() == 4
    assert house.rung() == {"a": 3, "b": 1}


async def test_only_missing_tickets_are_rung_again(house: House) -> None:
    house.store.backlog = [
        QueueBacklog("enough", claimable=40, oldest_ring_seconds=60),
        QueueBacklog("fresh", claimable=40, oldest_ring_seconds=9),
        QueueBacklog("short", claimable=40, oldest_ring_seconds=60),
    ]
    house.doorbell.ready_tasks = {"enough": 40, "short": 16}
    await house.keeper.tick()
    assert house.rung() == {"short": 24}


async def test_at_most_a_thousand_are_rung_again_in_a_tick(house: House) -> None:
    house.store.backlog = [QueueBacklog("q", claimable=50_000, oldest_ring_seconds=60)]
    await house.keeper.tick()
    assert house.rung() == {"q": 1000}
    await house.keeper.tick()
    assert house.rung() == {"q": 1000}


async def test_tasks_that_nobody_can_run_are_not_rung_for_at_each_tick(house: House) -> None:
    house.store.backlog = [QueueBacklog("q", claimable=3, oldest_ring_seconds=60)]
    await house.keeper.tick()
    assert house.rung() == {"q": 3}
    await house.keeper.tick()
    assert house.rung() == {}
    house.now += 11
    await house.keeper.tick()
    assert house.rung() == {"q": 3}


async def test_while_tasks_are_taken_the_rest_is_rung_for_at_once(house: House) -> None:
    house.store.backlog = [QueueBacklog("q", claimable=30, oldest_ring_seconds=60)]
    await house.keeper.tick()
    house.rung()
    house.store.backlog = [QueueBacklog("q", claimable=20, oldest_ring_seconds=60)]
    await house.keeper.tick()
    assert house.rung() == {"q": 20}


async def test_without_a_broker_nothing_is_rung_again_and_the_other_loops_go_on(house: House) -> None:
    house.store.backlog = [QueueBacklog("q", claimable=3, oldest_ring_seconds=60)]
    house.store.due = [Ring("q", 1)]
    house.doorbell.away = True
    assert await house.keeper.tick() == 1


async def test_loops_go_on_after_the_database_was_away(house: House) -> None:
    house.store.away = True
    await house.keeper.start()
    await wait_until(lambda: house.store.asked > 12)
    house.store.away = False
    house.store.due = [Ring("q", 1)]
    await wait_until(lambda: house.relay.pending == 1)
    await house.keeper.aclose()
    await house.keeper.aclose()


async def test_a_tick_that_hangs_is_given_up(house: House) -> None:
    keeper = Housekeeper(
        house.store,
        house.doorbell,
        house.relay,
        interval_seconds=1,
        ring_again_seconds=10,
        max_crashes=5,
        tick_timeout_seconds=0.0,
    )
    assert await keeper.tick() == 0


class FakeTimedChore:
    """Something that is due soon, and once."""

    def __init__(self, seconds: float) -> None:
        self._due_at = time.monotonic() + seconds
        self.done = self.ticks = 0

    async def tick(self) -> int:
        self.ticks += 1
        self.done += time.monotonic() >= self._due_at and not self.done
        return self.done

    async def seconds_until_due(self) -> float | None:
        return None if self.done else self._due_at - time.monotonic()


async def test_a_chore_with_times_of_its_own_does_not_wait_out_the_pause(house: House) -> None:
    chore = FakeTimedChore(0.1)
    keeper = Housekeeper(
        house.store,
        house.doorbell,
        house.relay,
        interval_seconds=3600,
        ring_again_seconds=10,
        max_crashes=5,
        timed_chores=[("chore", chore)],
    )
    await keeper.start()
    await wait_until(lambda: chore.done == 1)
    await keeper.aclose()
    assert chore.ticks == 2
