"""A held run: why it must stop, and that it is interrupted once."""

from __future__ import annotations

import asyncio
import time
from contextlib import nullcontext

import pytest

from ops_core.ports import RunStopReason
from ops_core.tests.unit.worker.fakes import new_task
from ops_core.worker.held import HeldRun, lease_clock


class Held(HeldRun):
    def __init__(self) -> None:
        self.now = 0.0
        super().__init__(new_task(), claimed_at=0.0, lease_seconds=30, clock=lambda: self.now)


def test_a_stronger_reason_replaces_a_weaker_one_and_never_the_other_way() -> None:
    run = Held()
    seen = []
    for reason in (RunStopReason.drain, RunStopReason.cancel, RunStopReason.drain, RunStopReason.lost):
        run.stop(reason)
        seen.append(run.stop_reason)
    run.stop(RunStopReason.cancel)
    assert [*seen, run.stop_reason] == ["drain", "cancel", "cancel", "lost", "lost"]


def test_a_lease_not_renewed_for_two_thirds_of_its_length_counts_as_lost() -> None:
    run = Held()
    seen = []
    for run.now, run.renewed_at in [(19.9, 0.0), (20.1, 0.0), (20.1, 20.0)]:
        seen.append(run.stop_reason)
    assert seen == [None, RunStopReason.lost, None]


async def test_a_run_is_interrupted_once_so_that_it_can_write_how_it_ended() -> None:
    run, interruptions = Held(), 0

    async def body() -> None:
        nonlocal interruptions
        run.begin()
        for _ in range(3):
            try:
                await asyncio.sleep(0.01)
            except asyncio.CancelledError:
                interruptions += 1

    task = asyncio.create_task(body())
    await asyncio.sleep(0)
    assert run.interrupt(RunStopReason.cancel)
    assert not run.interrupt(RunStopReason.cancel)
    assert not run.interrupt(RunStopReason.lost)
    await task
    assert interruptions == 1
    assert run.stop_reason is RunStopReason.lost


async def test_a_run_stopped_before_its_first_step_still_gets_to_write_how_it_ended() -> None:
    run, ended = Held(), []

    async def body() -> None:
        run.begin()
        try:
            await asyncio.sleep(10)
        except asyncio.CancelledError:
            ended.append(run.stop_reason)

    task = asyncio.create_task(body())
    run.interrupt(RunStopReason.cancel)
    await asyncio.wait_for(task, 1)
    assert ended == ["cancel"]


@pytest.mark.parametrize("undisturbed", [True, False])
async def test_an_undisturbed_run_is_told_and_not_cancelled(undisturbed: bool) -> None:
    run, ready = Held(), asyncio.Event()

    async def body() -> RunStopReason | None:
        run.begin()
        with run.undisturbed() if undisturbed else nullcontext():
            ready.set()
            await asyncio.sleep(0.01)
        return run.stop_reason

    task = asyncio.create_task(body())
    await asyncio.wait_for(ready.wait(), 5)
    assert run.interrupt(RunStopReason.cancel)
    (ended,) = await asyncio.gather(task, return_exceptions=True)
    assert ended is RunStopReason.cancel if undisturbed else isinstance(ended, asyncio.CancelledError)


@pytest.mark.skipif(not hasattr(time, "CLOCK_BOOTTIME"), reason="only Linux has this clock")
def test_the_clock_of_leases_goes_on_while_the_machine_sleeps() -> None:
    before = time.clock_gettime(time.CLOCK_BOOTTIME)
    assert before <= lease_clock() <= time.clock_gettime(time.CLOCK_BOOTTIME)


async def test_a_run_that_was_interrupted_long_ago_is_deaf() -> None:
    run = Held()

    async def body() -> None:
        run.begin()
        run.now = 100.0
        seen.append(run.is_deaf())
        run.interrupt(RunStopReason.cancel)
        for run.now in (129.9, 130.1):
            seen.append(run.is_deaf())

    seen: list[bool] = []
    await asyncio.gather(body(), return_exceptions=True)
    assert seen == [False, False, True]
