"""Stores in memory, and other stand-ins, for the tests of worker and services."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from uuid import UUID, uuid4

from ops_core.domain.event import Event, NewEvent
from ops_core.domain.outcome import Outcome
from ops_core.domain.task import Task, TaskKind, TaskStatus
from ops_core.errors import BrokerUnavailable, StoreUnavailable
from ops_core.ports import Ended, Lease, Renewal, Ring, RunControl, WorkerInfo


async def wait_until(condition: Callable[[], bool], *, seconds: float = 10.0, what: str = "") -> None:
    """Returns when the condition holds; fails the test when it does not in time."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"did not happen within {seconds} s: {what or condition}"
        await asyncio.sleep(0.005)


def new_task(queue: str = "default") -> Task:
    return Task(
        id=uuid4(),
        namespace="default",
        kind=TaskKind.agent,
        status=TaskStatus.queued,
        agent="assistant",
        agent_digest="d",
        queue=queue,
        priority=5,
        input={},
        labels={},
        attempt=0,
        max_attempts=3,
        crashes=0,
        round=1,
        epoch=0,
        seq=1,
        created_at=datetime.now(UTC),
        created_by="test",
    )


class FakeRunStore:
    """Queued tasks of one process; a claim takes the oldest."""

    def __init__(self) -> None:
        self.queued: list[Task] = []
        self.claims: list[int] = []
        self.claimed: list[UUID] = []
        #: The next claims raise this many times.
        self.failures = 0
        #: The next claims find nothing this many times.
        self.short = 0
        #: Set: claims wait for it.
        self.gate: asyncio.Event | None = None

    def add(self, count: int, queue: str = "default") -> list[Task]:
        tasks = [new_task(queue) for _ in range(count)]
        self.queued += tasks
        return tasks

    async def claim(self, queue: str, *, limit: int, worker_id: str, lease_seconds: float) -> Sequence[Task]:
        self.claims.append(limit)
        if self.gate is not None:
            await self.gate.wait()
        if self.failures:
            self.failures -= 1
            raise StoreUnavailable("the database is away")
        if self.short:
            self.short -= 1
            return []
        taken = [task for task in self.queued if task.queue == queue][:limit]
        self.queued = [task for task in self.queued if task not in taken]
        self.claimed += [task.id for task in taken]
        return [replace(task, status=TaskStatus.running, epoch=task.epoch + 1) for task in taken]

    async def load_journal(self, task_id: UUID, *, round: int) -> Sequence[Event]:
        return []

    async def append(self, lease: Lease, event: NewEvent) -> int:
        return 1

    async def finish(
        self, lease: Lease, outcome: Outcome, *, last_step: NewEvent | None = None, parent_id: UUID | None = None
    ) -> Ended:
        return Ended(TaskStatus.completed)


@dataclass
class FakeLeaseStore:
    """Keeps every lease but those told otherwise."""

    lost: set[UUID] = field(default_factory=set)
    cancel: set[UUID] = field(default_factory=set)
    away: bool = False
    beats: int = 0
    workers: list[WorkerInfo] = field(default_factory=list)
    #: The tasks of each renewal.
    renewed: list[set[UUID]] = field(default_factory=list)
    forgotten: list[str] = field(default_factory=list)
    threads: set[str] = field(default_factory=set)
    closed: bool = False

    def renew(self, held: Sequence[Lease], *, worker: WorkerInfo, lease_seconds: float) -> Renewal:
        self.threads.add(threading.current_thread().name)
        if self.away:
            raise StoreUnavailable("the database is away")
        self.beats += 1
        self.workers.append(worker)
        self.renewed.append({lease.task_id for lease in held})
        kept = frozenset(lease for lease in held if lease.task_id not in self.lost)
        return Renewal(kept=kept, cancel=frozenset(lease for lease in kept if lease.task_id in self.cancel))

    def forget(self, worker_id: str) -> None:
        self.forgotten.append(worker_id)

    def close(self) -> None:
        self.closed = True


class FakeDoorbell:
    """Remembers what was rung."""

    def __init__(self) -> None:
        self.tickets: list[Ring] = []
        self.calls = 0
        self.away = False
        self.ready_tasks: dict[str, int] = {}

    @property
    def rung(self) -> int:
        return sum(ticket.count for ticket in self.tickets)

    async def ring(self, rings: Sequence[Ring]) -> None:
        self.calls += 1
        if self.away:
            raise BrokerUnavailable("the broker is away")
        self.tickets += rings

    async def ready(self, queue: str) -> int:
        if self.away:
            raise BrokerUnavailable("the broker is away")
        return self.ready_tasks.get(queue, 0)


class Runs:
    """A stand-in for the runner: what happens in each run is said by the test; how each ended is noted."""

    def __init__(self, body: Callable[[Task, RunControl], Awaitable[None]] | None = None) -> None:
        self.body = body
        self.let_go = asyncio.Event()
        self.running: dict[UUID, RunControl] = {}
        self.most_at_once = 0
        self.ended: dict[UUID, str] = {}
        self.started: list[UUID] = []

    async def __call__(self, task: Task, control: RunControl) -> None:
        self.started.append(task.id)
        self.running[task.id] = control
        self.most_at_once = max(self.most_at_once, len(self.running))
        try:
            if self.body is not None:
                await self.body(task, control)
            else:
                await self.let_go.wait()
            self.ended[task.id] = "finished"
        except asyncio.CancelledError:
            self.ended[task.id] = str(control.stop_reason)
        finally:
            del self.running[task.id]
