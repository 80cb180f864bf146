"""A run store in memory and a control that tests pull by hand."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

from ops_core.domain.agent import Agent, AgentDefinition
from ops_core.domain.event import Event, EventType, NewEvent, StepPhase
from ops_core.domain.outcome import Canceled, Completed, Failed, HandedOver, Outcome, Retry, Suspended
from ops_core.domain.task import JsonObject, Task, TaskKind, TaskStatus
from ops_core.errors import RunLost, StoreUnavailable
from ops_core.ports import Ended, Lease, Ring, RunStopReason
from ops_core.runner.children import Children
from ops_core.services.limits import TaskLimits
from ops_core.services.submission_check import SubmissionCheck

ENDS: dict[type, TaskStatus] = {
    Completed: TaskStatus.completed,
    Failed: TaskStatus.failed,
    Retry: TaskStatus.scheduled,
    Suspended: TaskStatus.waiting,
    Canceled: TaskStatus.canceled,
    HandedOver: TaskStatus.queued,
}


class FakeRuns:
    """One task's log and outcomes. `away` counts down the calls that find no database."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.outcomes: list[Outcome] = []
        self.last_steps: list[NewEvent | None] = []
        self.parents: list[UUID | None] = []
        self.round = 1
        self.epoch = 1
        self.away = 0
        #: Called with each event that is appended.
        self.on_append: Callable[[NewEvent], None] = lambda event: None

    async def claim(self, queue: str, *, limit: int, worker_id: str, lease_seconds: float) -> Sequence[Task]:
        raise AssertionError("a runner does not claim")

    async def load_journal(self, task_id: UUID, *, round: int) -> Sequence[Event]:
        self._answer()
        return list(self.events)

    async def append(self, lease: Lease, event: NewEvent) -> int:
        self._answer(lease)
        self.on_append(event)
        self.events.append(
            Event(
                task_id=lease.task_id,
                seq=len(self.events) + 1,
                round=self.round,
                type=event.type,
                payload=event.payload,
                at=datetime.now(UTC),
                step_key=event.step_key,
                phase=event.phase,
            )
        )
        return len(self.events)

    async def finish(
        self, lease: Lease, outcome: Outcome, *, last_step: NewEvent | None = None, parent_id: UUID | None = None
    ) -> Ended:
        self._answer(lease)
        self.last_steps.append(last_step)
        if last_step is not None:
            await self.append(lease, last_step)
        self.outcomes.append(outcome)
        self.parents.append(parent_id)
        status = ENDS[type(outcome)]
        return Ended(status, [Ring("default")] if status is TaskStatus.queued else [])

    def begin(self, key: str) -> None:
        """What a store writes when a run is suspended for this wait."""
        self._write_of_wait(EventType.task_waiting, StepPhase.intent, key, {"kind": "wait"})

    def resolve(self, key: str, wait: str, answer: JsonObject) -> None:
        """What a store writes when somebody answers a wait."""
        payload = {"kind": "wait", "wait": wait, "fingerprint": "", "answer": answer, "seconds": 0}
        self._write_of_wait(EventType.task_resumed, StepPhase.result, key, payload)

    def _write_of_wait(self, type: EventType, phase: StepPhase, key: str, payload: JsonObject) -> None:
        self.events.append(
            Event(
                task_id=uuid4(),
                seq=len(self.events) + 1,
                round=self.round,
                type=type,
                payload=payload,
                at=datetime.now(UTC),
                step_key=key,
                phase=phase,
            )
        )

    def _answer(self, lease: Lease | None = None) -> None:
        if self.away > 0:
            self.away -= 1
            raise StoreUnavailable("the database is away")
        if lease is not None and lease.epoch != self.epoch:
            raise RunLost("another worker has the task")


class FakeAgents:
    """Agent definitions by digest."""

    def __init__(self, *definitions: AgentDefinition) -> None:
        self._by_digest = {d.digest: d for d in definitions}

    async def put_agents(self, namespace: str, definitions: Sequence[AgentDefinition]) -> None:
        self._by_digest |= {d.digest: d for d in definitions}

    async def put_version(self, namespace: str, definition: AgentDefinition) -> None:
        self._by_digest[definition.digest] = definition

    async def get_agent(self, namespace: str, name: str) -> Agent | None:
        found = [d for d in self._by_digest.values() if d.name == name]
        return registered(found[-1], namespace) if found else None

    async def list_agents(self, namespace: str) -> Sequence[Agent]:
        return []

    async def get_definition(self, digest: str) -> AgentDefinition | None:
        return self._by_digest.get(digest)


class FakeTasks:
    """Rows of tasks that a runner reads: its own and those above and below it."""

    def __init__(self, *tasks: Task) -> None:
        self.rows = {task.id: task for task in tasks}
        self.reads = 0

    async def get_task(self, namespace: str, task_id: UUID) -> Task | None:
        self.reads += 1
        return self.rows.get(task_id)

    async def list_ancestors(self, task_id: UUID, *, limit: int) -> Sequence[Task]:
        found: list[Task] = []
        next_id: UUID | None = task_id
        while next_id is not None and len(found) < limit:
            found.append(self.rows[next_id])
            next_id = found[-1].parent_id
        return found


def children_of(
    agents: FakeAgents,
    tasks: FakeTasks | None = None,
    *,
    max_depth: int = 8,
    model_check: Callable[[AgentDefinition], str | None] = lambda _: None,
) -> Children:
    """What makes child tasks, over these rows."""
    rows: Any = tasks or FakeTasks()
    store: Any = agents
    check = SubmissionCheck(
        tasks=rows, agents=store, limits=TaskLimits(), model_check=model_check, clock=lambda: datetime.now(UTC)
    )
    return Children(tasks=rows, agents=store, check=check, max_depth=max_depth)


def registered(definition: AgentDefinition, namespace: str = "default") -> Agent:
    return Agent(
        namespace=namespace,
        name=definition.name,
        digest=definition.digest,
        definition=definition,
        registered_at=datetime.now(UTC),
    )


class FakeControl:
    """The right to act, until a test sets a reason to stop."""

    def __init__(self, lease: Lease) -> None:
        self._lease = lease
        self.reason: RunStopReason | None = None
        self.is_undisturbed = False

    @property
    def lease(self) -> Lease:
        return self._lease

    @property
    def stop_reason(self) -> RunStopReason | None:
        return self.reason

    def interrupt(self, running: asyncio.Task[Any], reason: RunStopReason) -> None:
        """As a worker does it."""
        self.reason = reason
        if not self.is_undisturbed:
            running.cancel()

    @contextmanager
    def undisturbed(self) -> Iterator[None]:
        self.is_undisturbed = True
        try:
            yield
        finally:
            self.is_undisturbed = False


def claimed_task(definition: AgentDefinition, goal: str = "What is 6 * 7?", **changes: object) -> Task:
    """A task as a claim returns it."""
    now = datetime.now(UTC)
    fields: dict[str, object] = {
        "id": uuid4(),
        "namespace": "default",
        "kind": TaskKind.agent,
        "status": TaskStatus.running,
        "agent": definition.name,
        "agent_digest": definition.digest,
        "queue": "default",
        "priority": 5,
        "input": {"goal": goal},
        "labels": {},
        "attempt": 1,
        "max_attempts": 3,
        "crashes": 0,
        "round": 1,
        "epoch": 1,
        "seq": 2,
        "created_at": now,
        "claimed_at": now,
        "created_by": "test",
    }
    return Task(**{**fields, **changes})  # type: ignore[arg-type]  # the names are checked by the dataclass itself


def deadline_in(seconds: float, task_claimed_at: datetime) -> datetime:
    return task_claimed_at + timedelta(seconds=seconds)
