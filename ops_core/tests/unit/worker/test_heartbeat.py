"""The heartbeat's own duties: a stalled loop ends the process, a stopped process does not."""

from __future__ import annotations

import subprocess
import sys

from ops_core.worker.heartbeat import STALLED_EXIT_STATUS
from ops_core.worker.stall_watch import StallWatch

STALL = """
import asyncio, time
from ops_core.ports import Ring
from ops_core.services.relay import Relay
from ops_core.tests.unit.worker.fakes import FakeDoorbell, FakeLeaseStore, FakeRunStore
from ops_core.worker.host import AgentHost
from ops_core.worker.slots import Slots

async def run_task(task, control):
    stand_still()

def stand_still():
    time.sleep(30)

async def main():
    store = FakeRunStore()
    slots = Slots(1)
    host = AgentHost(
        run_store=store, lease_store_factory=FakeLeaseStore, run_task=run_task, relay=Relay(FakeDoorbell()),
        slots=slots, worker_id="w", queues=("default",), lease_seconds=30, drain_seconds=1, loop_stall_seconds=0.3,
    )
    await host.start()
    print(store.add(1)[0].id, flush=True)
    slots.take_up_to(1)
    await host.take(Ring("default"), 1)
    await asyncio.sleep(60)

asyncio.run(main())
"""


def test_a_process_whose_loop_stands_still_says_where_and_ends_itself() -> None:
    done = subprocess.run([sys.executable, "-c", STALL], capture_output=True, text=True, timeout=20)
    assert done.returncode == STALLED_EXIT_STATUS, done.stderr
    assert "stand_still" in done.stderr, "the stack"
    assert f"task-{done.stdout.split()[0]}" in done.stdout + done.stderr, "the task that holds the loop"


def test_a_loop_without_pulse_is_stalled_after_a_while() -> None:
    watch = StallWatch(10.0, 1.0)
    assert not any(watch.is_stalled(float(now), 1) for now in range(11))
    assert watch.is_stalled(11.0, 1)


def test_a_pulse_begins_the_count_anew() -> None:
    watch = StallWatch(10.0, 1.0)
    assert not any(watch.is_stalled(float(now), now // 8) for now in range(100))


def test_a_process_that_was_stopped_and_goes_on_is_not_stalled() -> None:
    watch = StallWatch(10.0, 1.0)
    watch.is_stalled(0.0, 1)
    assert not watch.is_stalled(3600.0, 1)
