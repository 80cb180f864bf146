"""DueAlarm: a loop sleeps until something is due, hears of what is due sooner, and never spins."""

from __future__ import annotations

import asyncio
import time
from itertools import pairwise
from uuid import uuid4

import pytest

from ops_core.errors import StoreUnavailable
from ops_core.ports import Nudge, NudgeKind
from ops_core.services import due
from ops_core.services.due import DueAlarm
from ops_core.tests.fakes import FakeNudges

LONG = 30.0


class FakeClock:
    """A store that says when something is due, and counts how often it is asked."""

    def __init__(self, seconds: float | None) -> None:
        self.seconds = seconds
        self.asked = 0
        self.away = False

    async def seconds_until_due(self) -> float | None:
        self.asked += 1
        if self.away:
            raise StoreUnavailable("the database is away")
        return self.seconds


def alarm(store: FakeClock, nudges: FakeNudges | None = None) -> DueAlarm:
    return DueAlarm(store, nudges)


async def slept(sleeping: DueAlarm, at_most: float, *, found: int = 0) -> float:
    began = time.monotonic()
    async with asyncio.timeout(10):
        await sleeping.sleep(at_most, found=found)
    return time.monotonic() - began


async def test_it_sleeps_until_something_is_due() -> None:
    assert 0.1 <= await slept(alarm(FakeClock(0.1)), LONG) < 5


@pytest.mark.parametrize("seconds", [None, 600.0])
async def test_it_sleeps_no_longer_than_it_is_told(seconds: float | None) -> None:
    assert 0.1 <= await slept(alarm(FakeClock(seconds)), 0.1) < 5


async def test_while_the_database_is_away_it_sleeps_as_long_as_it_is_told() -> None:
    store = FakeClock(0.0)
    store.away = True
    assert 0.1 <= await slept(alarm(store), 0.1) < 5


async def test_a_nudge_ends_a_long_sleep_when_that_is_due() -> None:
    nudges = FakeNudges()
    sleeping = alarm(FakeClock(None), nudges)
    asleep = asyncio.create_task(slept(sleeping, LONG))
    await asyncio.sleep(0)
    nudges.send([Nudge(NudgeKind.event, uuid4(), 9), Nudge(NudgeKind.due, uuid4(), 100)])
    assert 0.1 <= await asleep < 5
    sleeping.close()
    assert nudges.listeners == 0


async def test_a_nudge_of_something_later_does_not_wake() -> None:
    nudges = FakeNudges()
    asleep = asyncio.create_task(slept(alarm(FakeClock(0.1), nudges), LONG))
    await asyncio.sleep(0)
    nudges.send([Nudge(NudgeKind.due, uuid4(), 20_000)])
    assert 0.1 <= await asleep < 5


async def test_what_is_due_and_held_by_others_is_looked_at_ever_less_often() -> None:
    store = FakeClock(-1.0)
    sleeping = alarm(store)
    pauses = [await slept(sleeping, LONG) for _ in range(4)]
    assert pauses == sorted(pauses)
    assert sum(pauses) > 0.02 * (2 + 4 + 8 + 16)
    # Something was released: the next look comes soon.
    assert await slept(sleeping, LONG, found=1) < pauses[-1]


async def test_however_many_nudges_come_the_looks_keep_their_distance() -> None:
    nudges = FakeNudges()
    sleeping = alarm(FakeClock(None), nudges)
    looks: list[float] = [time.monotonic()]

    async def look() -> None:
        while True:
            await sleeping.sleep(LONG, found=0)
            looks.append(time.monotonic())

    looking = asyncio.create_task(look())
    async with asyncio.timeout(20):
        while len(looks) < 5:
            nudges.send([Nudge(NudgeKind.due, uuid4(), 0)])
            await asyncio.sleep(0)
    looking.cancel()
    assert min(later - sooner for sooner, later in pairwise(looks[1:])) >= due._SHORTEST_SECONDS * 0.9
