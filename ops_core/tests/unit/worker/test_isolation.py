"""Isolation, with real processes: how a run ends there is told, and nothing of it stays."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ops_core.domain.task import JsonObject, Task
from ops_core.errors import RunLost
from ops_core.ports import Ring, RunControl, RunStopReason
from ops_core.tests.unit.worker.fakes import new_task, wait_until
from ops_core.tests.unit.worker.isolated_bodies import BEGUN
from ops_core.worker.held import HeldRun, lease_clock
from ops_core.worker.isolation import Isolation, IsolationFailed

BODIES = "ops_core.tests.unit.worker.isolated_bodies"
#: Nobody renews it here, unless a test is about that.
LEASE_SECONDS = 120.0
SHORT_LEASE_SECONDS = 12.0


class Town:
    """A worker's end of isolation: what it was told of each run."""

    def __init__(self, begun: Path, *, stall_seconds: float = 30.0, at_once: int = 2, memory_mb: int = 300) -> None:
        self.begun = begun
        self.lease_seconds = LEASE_SECONDS
        self.stall_seconds = stall_seconds
        self.at_once = at_once
        self.memory_mb = memory_mb
        self.here: list[RunStopReason | None] = []
        self.crashes: list[JsonObject] = []
        self.rings: list[Ring] = []

    def isolation(self, body: str, **options: Any) -> Isolation:
        python = [sys.executable, "-m"]
        warden = [*python, "ops_core.entrypoints.isolated_warden", str(self.stall_seconds), "30"]
        return Isolation(
            write_crash=self._write_crash,
            announce=self.rings.extend,
            command=[*warden, *python, BODIES, body, str(self.memory_mb)],
            environment={**os.environ, BEGUN: str(self.begun)},
            lease_seconds=self.lease_seconds,
            at_once=self.at_once,
            **{"run_here": self._run_here, **options},
        )

    async def run(self, body: str, **changes: Any) -> None:
        task, held = suspect(**changes)
        await self.isolation(body).run(task, held)

    async def crash(self, body: str) -> JsonObject:
        """The evidence that this body leaves."""
        await asyncio.wait_for(self.run(body), 60)
        (evidence,) = self.crashes
        return evidence

    async def _run_here(self, task: Task, control: RunControl) -> None:
        self.here.append(control.stop_reason)

    async def _write_crash(self, task: Task, control: RunControl, evidence: JsonObject) -> None:
        self.crashes.append(evidence)


def suspect(*, suspicion: int = 2, lease_seconds: float = LEASE_SECONDS, **changes: Any) -> tuple[Task, HeldRun]:
    task = replace(new_task(), crashes=7, suspicion=suspicion, epoch=5, **changes)
    return task, HeldRun(task, claimed_at=lease_clock(), lease_seconds=lease_seconds, clock=lease_clock)


@pytest.fixture
def town(tmp_path: Path) -> Town:
    return Town(tmp_path / "begun")


async def test_a_task_that_is_hardly_suspect_runs_where_it_is(town: Town) -> None:
    await town.run("dies_of_a_null_pointer", suspicion=1)
    assert (town.here, town.crashes) == ([None], [])


async def test_a_run_that_swallows_its_time_limit_loses_its_lease_and_one_that_has_time_does_not(town: Town) -> None:
    (late, late_held), (early, early_held) = suspect(suspicion=0, attempt_timeout_seconds=0.05), suspect(suspicion=0)
    end = asyncio.Event()

    async def swallow(task: Task, control: RunControl) -> None:
        while not end.is_set():
            with suppress(asyncio.CancelledError):
                await end.wait()

    isolation = town.isolation("waits", run_here=swallow, late_seconds=0.05)
    runs = [(late, late_held), (replace(early, attempt_timeout_seconds=3600.0), early_held)]
    running = [asyncio.create_task(_in_host(isolation, *one)) for one in runs]
    await wait_until(lambda: late_held.stop_reason is not None)
    assert (late_held.stop_reason, early_held.stop_reason) == (RunStopReason.lost, None)
    end.set()
    await asyncio.gather(*running)


async def test_a_run_that_ends_well_is_nobodys_crash_and_what_it_rings_is_rung(town: Town) -> None:
    await town.run("ends_well")
    assert (town.here, town.crashes, town.rings) == ([], [], [Ring("other", 2, None, "00-1-2-01")])


@pytest.mark.parametrize(
    ("body", "status", "signal", "said"),
    [
        ("dies_of_a_null_pointer", None, "SIGSEGV", "dies_of_a_null_pointer"),
        ("leaves", 3, None, "last words"),
        ("leaves_as_if_all_were_well", 0, None, ""),
        ("says_exit", 7, None, ""),
        ("kills_itself", None, "SIGKILL", ""),
        ("kills_its_group", None, "SIGKILL", ""),
        ("eats_memory", 1, None, "MemoryError"),
        ("eats_memory_behind_pythons_back", None, "SIGSEGV", "eats_memory_behind_pythons_back"),
        ("recurses", None, "SIGSEGV", "deeper"),
        ("floods", 4, None, "xxxx"),
    ],
)
async def test_a_run_that_ends_its_process_has_crashed_with_evidence(
    town: Town, body: str, status: int | None, signal: str | None, said: str
) -> None:
    evidence = await town.crash(body)
    assert (evidence["status"], evidence["signal"], evidence["stalled"]) == (status, signal, False)
    assert said in evidence["output"]
    assert len(evidence["output"]) <= 4096
    assert 1 < evidence["peak_memory_mb"] < 400
    assert town.here == []


@pytest.mark.parametrize("body", ["turns_in_circles", "holds_the_interpreter"])
async def test_a_run_whose_loop_stands_still_is_ended_and_says_where_it_stood(town: Town, body: str) -> None:
    town.stall_seconds = 1.5
    evidence = await town.crash(body)
    assert (evidence["stalled"], evidence["signal"]) == (True, "SIGABRT")
    assert body in evidence["output"]


async def test_nothing_that_a_run_has_started_outlives_it(town: Town) -> None:
    before = processes()
    await town.crash("leaves_others_behind")
    assert processes() - before == set()


async def test_a_run_that_is_canceled_stops_at_once_and_says_so_itself(town: Town) -> None:
    seconds = await stopped(town, "waits", RunStopReason.cancel)
    assert (town.here, town.crashes) == ([], [])
    assert seconds < 2


async def test_a_run_that_heeds_no_cancel_is_killed_and_canceled_all_the_same(town: Town) -> None:
    assert await stopped(town, "heeds_nothing", RunStopReason.cancel) < 10
    assert (town.here, town.crashes) == ([RunStopReason.cancel], [])


async def test_a_draining_worker_lets_a_run_reach_its_step_boundary(town: Town) -> None:
    task, held = suspect()
    running = asyncio.create_task(_in_host(town.isolation("waits_for_a_step_boundary"), task, held))
    await wait_until(town.begun.exists, seconds=20, what="the run's beginning")
    held.stop(RunStopReason.drain)
    await asyncio.wait_for(running, 20)
    assert (town.here, town.crashes) == ([], [])


async def test_a_run_whose_lease_was_taken_away_is_killed_and_nothing_is_written(town: Town) -> None:
    with pytest.raises(RunLost):
        await stopped(town, "heeds_nothing", RunStopReason.lost)
    assert (town.here, town.crashes) == ([], [])


async def test_a_run_that_finds_its_lease_over_is_no_crash(town: Town) -> None:
    with pytest.raises(RunLost):
        await town.run("finds_its_lease_over")
    assert town.crashes == []


async def test_a_run_ends_when_its_worker_does_not_renew_its_lease(town: Town) -> None:
    """As when the worker is stopped: it cannot tell the run, which finds out by the clock."""
    town.lease_seconds = SHORT_LEASE_SECONDS
    task, held = suspect(lease_seconds=SHORT_LEASE_SECONDS)
    # The host hears of it no sooner, and does not stop the run itself here.
    began = time.monotonic()
    with pytest.raises(RunLost):
        await asyncio.wait_for(town.isolation("heeds_nothing").run(task, held), 30)
    assert time.monotonic() - began >= SHORT_LEASE_SECONDS * 2 / 3 - 1


async def test_a_lease_that_is_renewed_is_heard_of(town: Town) -> None:
    town.lease_seconds = SHORT_LEASE_SECONDS
    task, held = suspect(lease_seconds=SHORT_LEASE_SECONDS)
    running = asyncio.create_task(_in_host(town.isolation("waits"), task, held))
    end = time.monotonic() + SHORT_LEASE_SECONDS
    while time.monotonic() < end:
        held.renewed_at = lease_clock()
        assert not running.done()
        await asyncio.sleep(0.2)
    held.interrupt(RunStopReason.cancel)
    await asyncio.wait_for(running, 20)
    assert (town.here, town.crashes) == ([], [])


async def test_a_process_that_dies_before_it_comes_to_its_task_convicts_nobody(town: Town) -> None:
    with pytest.raises(IsolationFailed):
        await town.run("dies_before_it_begins")
    assert town.crashes == []


async def test_a_run_that_waits_for_its_turn_can_be_canceled(town: Town) -> None:
    town.at_once = 1
    isolation = town.isolation("waits")
    (first, first_held), (second, second_held) = suspect(), suspect()
    running = [asyncio.create_task(_in_host(isolation, *one)) for one in ((first, first_held), (second, second_held))]
    await wait_until(town.begun.exists, seconds=20, what="the first one's turn")
    second_held.interrupt(RunStopReason.cancel)
    await asyncio.wait_for(running[1], 5)
    assert town.here == [RunStopReason.cancel]
    first_held.interrupt(RunStopReason.cancel)
    await asyncio.wait_for(running[0], 20)


async def test_a_worker_that_is_killed_leaves_no_isolated_run_behind(tmp_path: Path) -> None:
    before = processes()
    begun = tmp_path / "begun"
    script = f"import asyncio; from {__name__} import hold; asyncio.run(hold({str(begun)!r}))"
    worker = await asyncio.create_subprocess_exec(sys.executable, "-c", script)
    await wait_until(begun.exists, seconds=30, what="the run's beginning")
    assert len(processes() - before) >= 3
    worker.kill()
    await worker.wait()
    await wait_until(lambda: not processes() - before, seconds=10, what="all of them gone")


async def hold(begun: str) -> None:
    """A worker with one isolated run."""
    task, held = suspect()
    await Town(Path(begun)).isolation("heeds_nothing").run(task, held)


async def stopped(town: Town, body: str, reason: RunStopReason) -> float:
    """Stop the run once it is on its way, as the host does; returns how long it then took."""
    task, held = suspect()
    running = asyncio.create_task(_in_host(town.isolation(body), task, held))
    await wait_until(town.begun.exists, seconds=20, what="the run's beginning")
    held.interrupt(reason)
    began = time.monotonic()
    await asyncio.wait_for(running, 30)
    return time.monotonic() - began


async def _in_host(isolation: Isolation, task: Task, held: HeldRun) -> None:
    held.begin()
    await isolation.run(task, held)


def processes() -> set[int]:
    """All live ones that run something of this test, or sleep for it."""
    found: set[int] = set()
    for entry in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            command = (entry / "cmdline").read_bytes()
            if BODIES.encode() in command or b"time.sleep(3600)" in command or b"import hold" in command:
                found.add(int(entry.name))
    return found
