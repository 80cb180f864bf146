"""The host: claims, holds, stops and hands over; on fake stores."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest

from ops_core.errors import StoreUnavailable
from ops_core.ports import Doorbell, Nudge, NudgeKind, Ring, RunStopReason
from ops_core.services.relay import Relay
from ops_core.telemetry import current_log_fields
from ops_core.tests.unit.worker.fakes import FakeDoorbell, FakeLeaseStore, FakeRunStore, Runs, wait_until
from ops_core.worker.host import AgentHost, NotTaking
from ops_core.worker.slots import Slots


class Rig:
    """A host with everything around it."""

    def __init__(
        self, slots: int = 10, *, lease_seconds: float = 30.0, doorbell: Doorbell | None = None, **options: Any
    ) -> None:
        self.store = FakeRunStore()
        self.leases = FakeLeaseStore()
        self.runs = Runs()
        self.relay = Relay(doorbell or FakeDoorbell())
        self.slots = Slots(slots)
        self.bus = FakeBus()
        self.host = AgentHost(
            run_store=self.store,
            lease_store_factory=lambda: self.leases,
            run_task=lambda task, control: self.runs(task, control),
            relay=self.relay,
            slots=self.slots,
            worker_id="w1",
            queues=("default",),
            lease_seconds=lease_seconds,
            nudges=self.bus,
            **{"drain_seconds": 0.05, "hand_over_seconds": 2.0, "loop_stall_seconds": 30.0, **options},
        )

    async def take(self, count: int = 1) -> None:
        """As the worker does it: enter, then take."""
        assert self.slots.take_up_to(1)
        await self.host.take(Ring("default", count), 1)


class FakeBus:
    def __init__(self) -> None:
        self.listeners: list[Callable[[Nudge], None]] = []

    def send(self, nudges: object) -> None: ...

    def subscribe(self, listener: Callable[[Nudge], None], kinds: Collection[NudgeKind] = ()) -> Callable[[], None]:
        self.listeners.append(listener)
        return lambda: self.listeners.remove(listener)


@asynccontextmanager
async def running(rig: Rig) -> AsyncIterator[Rig]:
    await rig.host.start()
    try:
        yield rig
    finally:
        rig.runs.let_go.set()
        await rig.host.aclose()


@pytest.fixture
async def rig() -> AsyncIterator[Rig]:
    async with running(Rig()) as rig:
        yield rig


async def test_a_ticket_returns_when_its_claim_has_committed_not_when_the_agent_is_done(rig: Rig) -> None:
    rig.store.add(3)
    await rig.take(3)
    assert rig.host.held == 3
    assert rig.slots.used == 3
    rig.runs.let_go.set()
    await wait_until(lambda: rig.host.held == 0)
    assert rig.slots.used == 0


async def test_a_short_claim_is_tried_once_more(rig: Rig) -> None:
    rig.store.add(2)
    rig.store.short = 1
    await rig.take(2)
    assert rig.host.held == 2
    assert rig.store.claims == [2, 2]


async def test_a_ticket_for_nothing_leaves_no_slot_taken(rig: Rig) -> None:
    await rig.take(5)
    assert rig.slots.used == 0
    assert rig.store.claims == [5, 5]


async def test_the_rest_of_a_ticket_is_rung_again() -> None:
    async with running(Rig(slots=3)) as rig:
        rig.store.add(8)
        await rig.take(8)
        assert rig.host.held == 3
        assert rig.relay.pending == 5


async def test_the_places_that_a_ticket_was_let_in_with_are_its_own(rig: Rig) -> None:
    rig.store.add(3)
    assert rig.slots.take_up_to(8) == 8
    await rig.host.take(Ring("default", 8), 8)
    assert rig.store.claims == [8, 5]
    assert (rig.host.held, rig.slots.used) == (3, 3)


async def test_a_doubled_ticket_runs_nothing_twice(rig: Rig) -> None:
    [task] = rig.store.add(1)
    await asyncio.gather(rig.take(), rig.take(), rig.take())
    rig.runs.let_go.set()
    await wait_until(lambda: rig.host.held == 0)
    assert rig.runs.started == [task.id]


async def test_when_the_database_is_away_nothing_is_taken_until_a_pause_is_over(rig: Rig) -> None:
    rig.store.add(1)
    rig.store.failures = 1
    with pytest.raises(StoreUnavailable):
        await rig.take()
    assert rig.slots.used == 0
    assert not rig.slots.take_up_to(1)
    await wait_until(lambda: rig.slots.free() > 0)
    await rig.take()
    assert rig.host.held == 1


async def test_what_a_first_claim_found_runs_although_the_second_failed(rig: Rig) -> None:
    rig.store.add(1)

    original = rig.store.claim

    async def claim(queue: str, *, limit: int, worker_id: str, lease_seconds: float) -> Any:
        if rig.store.claims:
            rig.store.failures = 1
        return await original(queue, limit=limit, worker_id=worker_id, lease_seconds=lease_seconds)

    rig.store.claim = claim  # type: ignore[method-assign]
    await rig.take(4)
    assert rig.host.held == 1
    assert rig.slots.used == 1


async def test_a_claim_that_hangs_is_given_up() -> None:
    async with running(Rig(claim_timeout_seconds=0.01)) as rig:
        rig.store.gate = asyncio.Event()
        with pytest.raises(StoreUnavailable):
            await rig.take()
        assert rig.slots.used == 0


async def test_a_thousand_agents_wait_at_once_in_one_host() -> None:
    async with running(Rig(slots=1000)) as rig:
        rig.store.add(1000)
        await asyncio.gather(*(rig.take(8) for _ in range(125)))
        await wait_until(lambda: rig.runs.most_at_once == 1000)
        rig.runs.let_go.set()
        await wait_until(lambda: rig.host.held == 0)
        assert len(rig.runs.ended) == 1000


async def test_a_run_that_raises_leaves_its_neighbours_alone(rig: Rig) -> None:
    tasks = rig.store.add(2)

    async def body(task: Any, control: Any) -> None:
        if task.id == tasks[0].id:
            raise ValueError("boom")
        await rig.runs.let_go.wait()

    rig.runs.body = body
    await rig.take(2)
    await wait_until(lambda: rig.host.held == 1)
    rig.runs.let_go.set()
    await wait_until(lambda: rig.host.held == 0)
    assert rig.runs.ended == {tasks[1].id: "finished"}
    assert rig.slots.used == 0


async def test_a_lost_lease_stops_just_that_run() -> None:
    async with running(Rig(lease_seconds=0.6)) as rig:
        lost, kept = rig.store.add(2)
        await rig.take(2)
        rig.leases.lost.add(lost.id)
        await wait_until(lambda: lost.id in rig.runs.ended)
        assert rig.runs.ended == {lost.id: "lost"}
        assert rig.runs.running.keys() == {kept.id}


async def test_a_requested_cancel_stops_just_that_run_and_says_why() -> None:
    async with running(Rig(lease_seconds=0.6)) as rig:
        canceled, other = rig.store.add(2)
        await rig.take(2)
        rig.leases.cancel.add(canceled.id)
        await wait_until(lambda: canceled.id in rig.runs.ended)
        assert rig.runs.ended == {canceled.id: "cancel"}
        assert rig.runs.running.keys() == {other.id}


async def test_a_nudge_makes_a_cancel_known_at_once(rig: Rig) -> None:
    [task] = rig.store.add(1)
    await rig.take()
    rig.leases.cancel.add(task.id)
    for listener in rig.bus.listeners:
        listener(Nudge(NudgeKind.cancel, task.id))
    await wait_until(lambda: task.id in rig.runs.ended, seconds=2, what="the next regular renewal is 10 s away")


async def test_a_nudge_asks_about_its_own_task_and_none_of_its_many_neighbours(rig: Rig) -> None:
    canceled, *_ = rig.store.add(3)
    await rig.take(3)
    rig.leases.cancel.add(canceled.id)
    for listener in rig.bus.listeners:
        listener(Nudge(NudgeKind.cancel, canceled.id))
    await wait_until(lambda: canceled.id in rig.runs.ended)
    assert rig.leases.renewed[-1] == {canceled.id}
    assert rig.runs.ended == {canceled.id: "cancel"}


async def test_a_nudge_that_the_database_does_not_confirm_stops_nothing(rig: Rig) -> None:
    [task] = rig.store.add(1)
    await rig.take()
    beats = rig.leases.beats
    for listener in rig.bus.listeners:
        listener(Nudge(NudgeKind.cancel, task.id))
    await wait_until(lambda: rig.leases.beats > beats)
    await asyncio.sleep(0)
    assert rig.runs.running[task.id].stop_reason is None


async def test_without_heartbeat_for_two_thirds_of_a_lease_all_runs_stop() -> None:
    async with running(Rig(lease_seconds=0.6)) as rig:
        rig.store.add(3)
        await rig.take(3)
        await wait_until(lambda: rig.leases.beats > 1)
        rig.leases.away = True
        await wait_until(lambda: len(rig.runs.ended) == 3)
        assert set(rig.runs.ended.values()) == {"lost"}


async def test_heartbeats_come_from_a_thread_of_their_own_and_say_who_we_are(rig: Rig) -> None:
    rig.store.add(2)
    await rig.take(2)
    rig.host._heartbeat.hurry(rig.host._held.all()[0])
    await wait_until(lambda: any(worker.busy == 2 for worker in rig.leases.workers))
    assert rig.leases.threads == {"heartbeat"}
    worker = rig.leases.workers[-1]
    assert (worker.worker_id, worker.queues, worker.slots, worker.draining) == ("w1", ("default",), 10, False)


async def test_draining_lets_runs_reach_a_boundary_and_hands_over_the_rest(rig: Rig) -> None:
    polite, stubborn = rig.store.add(2)

    async def body(task: Any, control: Any) -> None:
        while task.id == polite.id and control.stop_reason is not RunStopReason.drain:
            await asyncio.sleep(0.001)
        if task.id == stubborn.id:
            await asyncio.sleep(60)

    rig.runs.body = body
    await rig.take(2)
    await rig.host.drain()
    assert rig.runs.ended == {polite.id: "finished", stubborn.id: "drain"}
    assert not rig.slots.take_up_to(1)


async def test_draining_a_thousand_agents_is_bounded() -> None:
    async with running(Rig(slots=1000, drain_seconds=0.1)) as rig:
        rig.store.add(1000)
        await asyncio.gather(*(rig.take(8) for _ in range(125)))
        await asyncio.wait_for(rig.host.drain(), 10)
        assert list(rig.runs.ended.values()) == ["drain"] * 1000


async def test_draining_ends_although_a_run_does_not_stop() -> None:
    async with running(Rig(drain_seconds=0.01, hand_over_seconds=0.05)) as rig:
        rig.store.add(1)

        async def body(task: Any, control: Any) -> None:
            while not rig.runs.let_go.is_set():
                try:
                    await rig.runs.let_go.wait()
                except asyncio.CancelledError:
                    continue

        rig.runs.body = body
        await rig.take()
        await asyncio.wait_for(rig.host.drain(), 5)
        assert rig.host.held == 1
        rig.runs.let_go.set()


async def test_a_ticket_that_comes_while_draining_claims_nothing(rig: Rig) -> None:
    rig.store.add(1)
    assert rig.slots.take_up_to(3) == 3
    rig.host.stop_taking()
    with pytest.raises(NotTaking):
        await rig.host.take(Ring("default", 3), 3)
    assert rig.store.claims == []
    assert rig.slots.used == 0


async def test_closing_takes_the_worker_off_the_list() -> None:
    rig = Rig()
    await rig.host.start()
    await wait_until(lambda: rig.leases.beats > 0)
    await rig.host.aclose()
    assert rig.leases.forgotten == ["w1"]
    assert rig.leases.closed
    assert rig.bus.listeners == []


async def test_every_line_of_a_run_names_its_task_agent_epoch_and_trace(rig: Rig) -> None:
    """Lines of libraries too: the fields are bound to the run's context, from which each line takes them."""
    [task] = rig.store.add(1)
    rig.store.queued = [replace(task, traceparent=f"00-{'ab' * 16}-{'cd' * 8}-01")]
    seen: list[dict[str, Any]] = []

    async def body(task: Any, control: Any) -> None:
        seen.append(current_log_fields())

    rig.runs.body = body
    await rig.take()
    await wait_until(lambda: rig.host.held == 0)
    assert seen == [{"task_id": str(task.id), "agent": "assistant", "epoch": 1, "trace_id": "ab" * 16}]
    assert current_log_fields() == {}


@pytest.mark.parametrize("deaf", [True, False])
async def test_a_run_that_swallows_its_cancel_is_given_up_and_keeps_its_slot(deaf: bool) -> None:
    now, swallowed = [1000.0], asyncio.Event()
    async with running(Rig(lease_seconds=3000.0, loop_stall_seconds=0.4, clock=lambda: now[0])) as rig:

        async def body(task: object, control: object) -> None:
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                swallowed.set()
            if deaf:
                await rig.runs.let_go.wait()

        rig.runs.body = body
        (task,) = rig.store.add(1)
        await rig.take()
        rig.leases.cancel.add(task.id)
        rig.bus.listeners[0](Nudge(NudgeKind.cancel, task.id))
        await asyncio.wait_for(swallowed.wait(), 10)
        now[0] += 31.0
        await wait_until(lambda: rig.host.held == 0)
        # The other one has returned.
        await wait_until(lambda: rig.slots.used == (1 if deaf else 0))
        assert [control.stop_reason for control in rig.runs.running.values()] == ([RunStopReason.lost] if deaf else [])
