"""Tickets on the in-process broker reach the host and are acknowledged after the claim."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from ops_core.broker.inprocess import InProcessBroker, InProcessDoorbell
from ops_core.ports import Ring
from ops_core.tests.unit.worker.fakes import wait_until
from ops_core.tests.unit.worker.test_host import Rig
from ops_core.worker.actors import TicketWorker, make_worker


class InProcess(Rig):
    """A host that takes its tickets from the in-process broker."""

    def __init__(self, slots: int = 10) -> None:
        self.broker = InProcessBroker()
        super().__init__(slots, doorbell=InProcessDoorbell(self.broker))
        self.broker.gate = self.slots

    async def ring(self, *counts: int) -> None:
        await InProcessDoorbell(self.broker).ring([Ring("default", count) for count in counts])

    @property
    def unacknowledged(self) -> int:
        count: int = self.broker.queues["default"].unfinished_tasks
        return count


@asynccontextmanager
async def consuming(rig: InProcess) -> AsyncIterator[TicketWorker]:
    worker = make_worker(rig.broker, rig.host)
    await rig.relay.start()
    await rig.host.start()
    worker.start()
    try:
        yield worker
    finally:
        await worker.aclose()
        rig.runs.let_go.set()
        await rig.host.aclose()
        await rig.relay.aclose()


async def test_tasks_run_end_to_end_in_process() -> None:
    rig = InProcess(slots=100)
    rig.runs.let_go.set()
    async with consuming(rig):
        rig.store.add(500)
        await rig.ring(500)
        await wait_until(lambda: len(rig.runs.ended) == 500)
        await wait_until(lambda: rig.unacknowledged == 0)


async def test_a_ticket_is_acknowledged_only_after_the_claim() -> None:
    rig = InProcess()
    rig.store.gate = asyncio.Event()
    async with consuming(rig):
        rig.store.add(1)
        await rig.ring(1)
        await wait_until(lambda: rig.store.claims == [1])
        assert rig.unacknowledged == 1
        rig.store.gate.set()
        await wait_until(lambda: rig.unacknowledged == 0)
        assert rig.host.held == 1


async def test_a_ticket_whose_claim_failed_goes_back_and_is_taken_again() -> None:
    rig = InProcess()
    rig.store.failures = 1
    async with consuming(rig):
        rig.store.add(1)
        await rig.ring(1)
        await wait_until(lambda: rig.host.held == 1)
        assert len(rig.store.claims) == 2


async def test_a_full_host_takes_no_tickets_and_goes_on_when_a_slot_is_free() -> None:
    rig = InProcess(slots=1)
    async with consuming(rig):
        rig.store.add(4)
        await rig.ring(1, 1, 1, 1)
        await wait_until(lambda: rig.host.held == 1)
        await wait_until(lambda: rig.broker.size("default") == 3, seconds=2, what="none is kept in hand")
        rig.runs.let_go.set()
        await wait_until(lambda: len(rig.runs.ended) == 4)


async def test_tickets_in_hand_go_back_when_the_worker_closes() -> None:
    rig = InProcess(slots=1)
    async with consuming(rig):
        rig.store.add(4)
        await rig.ring(1, 1, 1, 1)
        await wait_until(lambda: rig.host.held == 1)
    assert rig.broker.size("default") == 3
