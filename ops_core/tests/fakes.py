"""The ports in memory, for tests that need no database and no broker. They keep the rules of the real ones."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

from ops_core.domain.agent import Agent, AgentDefinition
from ops_core.domain.event import Event, EventType, NewEvent
from ops_core.domain.outcome import Canceled, Completed, Failed, HandedOver, Outcome, Retry, Suspended
from ops_core.domain.task import NewTask, RetryFrom, Task, TaskError, TaskStatus, TaskUsage, check_transition
from ops_core.domain.text import TextDelta
from ops_core.domain.wait import waiting_for
from ops_core.errors import (
    BrokerUnavailable,
    IdempotencyKeyReused,
    RunLost,
    StepNotFound,
    StoreUnavailable,
    TaskFinished,
    TaskNotFinished,
    TaskNotFound,
)
from ops_core.ports import Added, Ended, Glance, Lease, Nudge, NudgeKind, Ring, StoreHealth, TaskQuery


class FakeNudges:
    """A bus within the process; `silent` loses every nudge, as the real one may."""

    def __init__(self) -> None:
        self.sent: list[Nudge] = []
        self.silent = False
        self._listeners: list[Callable[[Nudge], None]] = []

    @property
    def listeners(self) -> int:
        return len(self._listeners)

    def send(self, nudges: Sequence[Nudge]) -> None:
        self.sent.extend(nudges)
        if not self.silent:
            for listener in list(self._listeners):
                for nudge in nudges:
                    listener(nudge)

    def subscribe(self, listener: Callable[[Nudge], None], kinds: Collection[NudgeKind] = ()) -> Callable[[], None]:
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)


class FakeRelay:
    """Keeps what was announced."""

    def __init__(self) -> None:
        self.rings: list[Ring] = []

    def announce(self, rings: Sequence[Ring]) -> None:
        self.rings.extend(rings)


class FakeDoorbell:
    """Keeps what was rung; `away` is a broker that cannot be reached."""

    def __init__(self) -> None:
        self.rung: list[Ring] = []
        self.away = False

    async def ring(self, rings: Sequence[Ring]) -> None:
        self._answer()
        self.rung.extend(rings)

    async def ready(self, queue: str) -> int:
        self._answer()
        return sum(ring.count for ring in self.rung if ring.queue == queue)

    def _answer(self) -> None:
        if self.away:
            raise BrokerUnavailable("no broker here")


class FakeStore:
    """Tasks, events and agents in memory: TaskStore, AgentStore, RunStore and HealthProbe.

    Status changes follow the transition table, events are numbered without gaps, runs are fenced by their epoch.
    `away` is a database that cannot be reached. With `nudges`, each event is nudged as the real store's are.
    """

    def __init__(self, *, nudges: FakeNudges | None = None) -> None:
        self.away = False
        self.migrated = True
        self.tasks: dict[UUID, Task] = {}
        self.log: dict[UUID, list[Event]] = {}
        self.agents: dict[tuple[str, str], Agent] = {}
        self.definitions: dict[str, AgentDefinition] = {}
        self.now = datetime(2026, 11, 21, 10, tzinfo=UTC)
        self.reads = 0
        self.event_reads = 0
        self.nudges = nudges
        #: The saved text of each step that is being written.
        self.texts: dict[UUID, list[TextDelta]] = {}
        self.text_reads = 0
        #: The tasks of each glance.
        self.glances: list[Sequence[UUID]] = []
        self._hashes: dict[UUID, str | None] = {}

    # --- TaskStore

    async def add_task(self, new: NewTask) -> Added:
        await self._answer()
        first = next((task for task in self.tasks.values() if _same_key(task, new)), None)
        if first is not None:
            if self._hashes[first.id] != new.request_hash:
                raise IdempotencyKeyReused("The idempotency key was used before for another request.")
            return Added(first, replayed=True, ring=None)
        # Each row gets a time of its own, so that the order of a list is plain.
        self.now += timedelta(milliseconds=1)
        due_later = new.run_at is not None and new.run_at > self.now
        self.tasks[new.id] = _new_row(new, self.now, TaskStatus.scheduled if due_later else TaskStatus.queued)
        self._hashes[new.id] = new.request_hash
        task = self._write(self.tasks[new.id], NewEvent(type=EventType.task_submitted, payload={"agent": new.agent}))
        ring = None if due_later else Ring(new.queue, 1, new.id, new.traceparent)
        return Added(task, replayed=False, ring=ring)

    async def find_submitted(self, namespace: str, idempotency_key: str, *, request_hash: str) -> Task | None:
        await self._answer()
        for task in self.tasks.values():
            if (task.namespace, task.idempotency_key) == (namespace, idempotency_key):
                return task if self._hashes[task.id] == request_hash else None
        return None

    async def task_clock(self) -> datetime:
        await self._answer()
        return self.now

    async def get_task(self, namespace: str, task_id: UUID) -> Task | None:
        await self._answer()
        self.reads += 1
        task = self.tasks.get(task_id)
        return task if task is not None and task.namespace == namespace else None

    async def list_tasks(self, query: TaskQuery) -> Sequence[Task]:
        await self._answer()
        newest_first = sorted(self.tasks.values(), key=lambda task: (task.created_at, task.id), reverse=True)
        return [task for task in newest_first if _fits(task, query)][: query.limit]

    async def list_events(self, task_id: UUID, *, after_seq: int, limit: int) -> Sequence[Event]:
        await self._answer()
        self.event_reads += 1
        return [event for event in self.log.get(task_id, []) if event.seq > after_seq][:limit]

    async def list_text(self, task_id: UUID, *, epoch: int) -> Sequence[TextDelta]:
        await self._answer()
        self.text_reads += 1
        return [delta for delta in self.texts.get(task_id, []) if delta.epoch == epoch]

    async def list_texts(self, epochs: Mapping[UUID, int]) -> Mapping[UUID, Sequence[TextDelta]]:
        await self._answer()
        self.text_reads += 1
        found = {id: [one for one in self.texts.get(id, []) if one.epoch == epoch] for id, epoch in epochs.items()}
        return {id: deltas for id, deltas in found.items() if deltas}

    async def glance(self, task_ids: Sequence[UUID]) -> Mapping[UUID, Glance]:
        await self._answer()
        self.glances.append(task_ids)
        known = [self.tasks[id] for id in task_ids if id in self.tasks]
        return {one.id: Glance(one.seq, one.epoch if one.status is TaskStatus.running else None) for one in known}

    async def cancel_task(self, namespace: str, task_id: UUID, *, by: str) -> tuple[Task, Sequence[Ring]]:
        task = await self._found(namespace, task_id)
        if task.status.is_final:
            raise TaskFinished(f"Task {task_id} has already finished: it is {task.status}.")
        if task.status is not TaskStatus.running:
            canceled = self._changed(task, TaskStatus.canceled, cancel_requested_at=self.now)
            return self._write(canceled, NewEvent(type=EventType.task_canceled, payload={"by": by})), ()
        if task.cancel_requested_at is not None:
            return task, ()
        requested = replace(task, cancel_requested_at=self.now)
        return self._write(requested, NewEvent(type=EventType.task_cancel_requested, payload={"by": by})), ()

    async def retry_task(
        self, namespace: str, task_id: UUID, *, by: str, retry_from: RetryFrom, before_step: int | None = None
    ) -> tuple[Task, Sequence[Ring]]:
        task = await self._found(namespace, task_id)
        if not task.status.is_final:
            raise TaskNotFinished(f"Task {task_id} has not finished: it is {task.status}.")
        self._check_step(task, before_step)
        reopened = self._changed(
            replace(task, round=task.round + 1, attempt=0, crashes=0, usage=TaskUsage()),
            TaskStatus.queued,
            result=None,
            error=None,
            finished_at=None,
            cancel_requested_at=None,
        )
        event = NewEvent(type=EventType.task_reopened, payload={"by": by, "from": retry_from})
        return self._write(reopened, event), [Ring(task.queue, 1, task.id, task.traceparent)]

    async def fork_task(self, source: Task, new: NewTask) -> Added:
        found = await self._found(source.namespace, source.id)
        if not found.status.is_final:
            raise TaskNotFinished(f"Task {source.id} has not finished: it is {found.status}.")
        assert new.forked_from is not None
        self._check_step(found, new.forked_from.before_step)
        added = await self.add_task(new)
        if not added.replayed:
            self.tasks[new.id] = replace(self.tasks[new.id], forked_from=new.forked_from)
        return replace(added, task=self.tasks[added.task.id])

    async def list_ancestors(self, task_id: UUID, *, limit: int) -> Sequence[Task]:
        await self._answer()
        chain: list[Task] = []
        above: UUID | None = task_id
        while above is not None and len(chain) < limit:
            chain.append(self.tasks[above])
            above = self.tasks[above].parent_id
        return chain

    async def list_children(
        self, namespace: str, task_id: UUID, *, limit: int, after: tuple[datetime, UUID] | None = None
    ) -> Sequence[Task]:
        await self._answer()
        children = [task for task in self.tasks.values() if task.parent_id == task_id and task.namespace == namespace]
        oldest_first = sorted(children, key=lambda task: (task.created_at, task.id))
        return [task for task in oldest_first if after is None or (task.created_at, task.id) > after][:limit]

    def _check_step(self, task: Task, before_step: int | None) -> None:
        keys = [event.step_key for event in self.log[task.id] if event.round == task.round and event.step_key]
        steps = max((int(key.partition("/")[0]) for key in keys), default=0)
        if before_step is not None and before_step > steps + 1:
            raise StepNotFound(f"Task {task.id} has {steps} steps: there is no step {before_step}.")

    # --- AgentStore

    async def put_agents(self, namespace: str, definitions: Sequence[AgentDefinition]) -> None:
        await self._answer()
        for one in definitions:
            self.definitions[one.digest] = one
            self.agents[namespace, one.name] = Agent(
                namespace=namespace, name=one.name, digest=one.digest, definition=one, registered_at=self.now
            )

    async def put_version(self, namespace: str, definition: AgentDefinition) -> None:
        await self._answer()
        self.definitions[definition.digest] = definition

    async def get_agent(self, namespace: str, name: str) -> Agent | None:
        await self._answer()
        self.reads += 1
        return self.agents.get((namespace, name))

    async def list_agents(self, namespace: str) -> Sequence[Agent]:
        await self._answer()
        return [agent for (space, _), agent in self.agents.items() if space == namespace]

    async def get_definition(self, digest: str) -> AgentDefinition | None:
        await self._answer()
        return self.definitions.get(digest)

    # --- RunStore

    async def claim(self, queue: str, *, limit: int, worker_id: str, lease_seconds: float) -> Sequence[Task]:
        await self._answer()
        claimable = [task for task in self.tasks.values() if task.queue == queue and task.status is TaskStatus.queued]
        best_first = sorted(claimable, key=lambda task: (-task.priority, task.created_at))[:limit]
        return [self._claimed(task, worker_id) for task in best_first]

    async def load_journal(self, task_id: UUID, *, round: int) -> Sequence[Event]:
        await self._answer()
        kept = [event for event in self.log[task_id] if event.round == round]
        return [event for event in kept if event.step_key is not None or event.type is EventType.task_reopened]

    async def append(self, lease: Lease, event: NewEvent) -> int:
        task = await self._held(lease)
        for known in self.log[task.id]:
            same_step = (known.round, known.step_key, known.phase) == (task.round, event.step_key, event.phase)
            if event.step_key is not None and same_step:
                return known.seq
        return self._write(task, event).seq

    async def finish(
        self, lease: Lease, outcome: Outcome, *, last_step: NewEvent | None = None, parent_id: UUID | None = None
    ) -> Ended:
        if last_step is not None:
            await self.append(lease, last_step)
        task = await self._held(lease)
        status, event, changes = _ending(outcome, canceling=task.cancel_requested_at is not None, now=self.now)
        task = self._write(self._changed(task, status, **changes), event)
        return Ended(status, [Ring(task.queue, 1, task.id)] if status is TaskStatus.queued else [])

    # --- HealthProbe

    async def store_health(self) -> StoreHealth:
        return StoreHealth(reachable=not self.away, migrated=self.migrated, detail="fake")

    # --- what tests call

    async def run(self, task_id: UUID, outcome: Outcome | None = None, *events: NewEvent) -> Task:
        """Claim the task, write the events, and end the run with the outcome (none: leave it running)."""
        claimed = self._claimed(self.tasks[task_id], "worker-1")
        lease = Lease(task_id, claimed.epoch)
        for event in events:
            await self.append(lease, event)
        if outcome is not None:
            await self.finish(lease, outcome)
        return self.tasks[task_id]

    # --- inside

    async def _answer(self) -> None:
        # A real store lets others run meanwhile.
        await asyncio.sleep(0)
        if self.away:
            raise StoreUnavailable("The database cannot be reached. Try again in a moment.")

    async def _found(self, namespace: str, task_id: UUID) -> Task:
        task = await self.get_task(namespace, task_id)
        if task is None:
            raise TaskNotFound(f"There is no task {task_id}.")
        return task

    async def _held(self, lease: Lease) -> Task:
        await self._answer()
        task = self.tasks[lease.task_id]
        if task.status is not TaskStatus.running or task.epoch != lease.epoch:
            raise RunLost(f"epoch {lease.epoch} of task {task.id} is over")
        return task

    def _claimed(self, task: Task, worker_id: str) -> Task:
        running = self._changed(
            replace(task, epoch=task.epoch + 1, attempt=task.attempt + 1),
            TaskStatus.running,
            started_at=task.started_at or self.now,
            worker_id=worker_id,
        )
        event = NewEvent(type=EventType.task_started, payload={"attempt": running.attempt})
        return replace(self._write(running, event), claimed_at=self.now)

    @staticmethod
    def _changed(task: Task, status: TaskStatus, **changes: object) -> Task:
        check_transition(task.status, status)
        return replace(task, status=status, **changes)  # type: ignore[arg-type] # fields of Task, by name

    def _write(self, task: Task, event: NewEvent) -> Task:
        """Keep the row and its next event; both or neither, as in one transaction."""
        task = replace(task, seq=task.seq + 1)
        self.tasks[task.id] = task
        self.log.setdefault(task.id, []).append(
            Event(
                task_id=task.id,
                seq=task.seq,
                round=task.round,
                type=event.type,
                payload=event.payload,
                at=self.now,
                step_key=event.step_key,
                phase=event.phase,
            )
        )
        if self.nudges is not None:
            self.nudges.send([Nudge(NudgeKind.event, task.id, task.seq)])
        return task


def _same_key(task: Task, new: NewTask) -> bool:
    same_space = task.namespace == new.namespace
    return same_space and new.idempotency_key is not None and task.idempotency_key == new.idempotency_key


def _new_row(new: NewTask, now: datetime, status: TaskStatus) -> Task:
    return Task(
        id=new.id,
        namespace=new.namespace,
        kind=new.kind,
        status=status,
        agent=new.agent,
        agent_digest=new.agent_digest,
        queue=new.queue,
        priority=new.priority,
        input=new.input,
        labels=new.labels,
        attempt=0,
        max_attempts=new.max_attempts,
        crashes=0,
        round=1,
        epoch=0,
        seq=0,
        created_at=now,
        created_by=new.created_by,
        run_at=new.run_at,
        timeout_seconds=new.timeout_seconds,
        deadline_at=None if new.timeout_seconds is None else now + timedelta(seconds=new.timeout_seconds),
        idempotency_key=new.idempotency_key,
        concurrency_key=new.concurrency_key,
        fairness_key=new.fairness_key,
        session_id=new.session_id,
        stream=new.stream,
        traceparent=new.traceparent,
    )


def _fits(task: Task, query: TaskQuery) -> bool:
    return (
        task.namespace == query.namespace
        and (not query.statuses or task.status in query.statuses)
        and query.agent in (None, task.agent)
        and query.queue in (None, task.queue)
        and query.labels.items() <= task.labels.items()
        and (query.created_after is None or task.created_at > query.created_after)
        and (query.created_before is None or task.created_at < query.created_before)
        and task.id.hex.startswith(query.id_prefix or "")
        and (query.before is None or (task.created_at, task.id) < query.before)
    )


def _ending(outcome: Outcome, *, canceling: bool, now: datetime) -> tuple[TaskStatus, NewEvent, dict[str, object]]:
    """Where an outcome leads: the status, the event that says so, and what else changes in the row."""
    usage: dict[str, object] = {"usage": outcome.usage}
    if canceling and isinstance(outcome, Retry | Suspended | HandedOver):
        outcome = Canceled(usage=outcome.usage)
    final: dict[str, object] = {**usage, "finished_at": now, "worker_id": None}
    match outcome:
        case Completed(result=result):
            event = NewEvent(type=EventType.task_completed, payload={"result": result})
            return TaskStatus.completed, event, {**final, "result": result}
        case Failed(error=error):
            return (
                TaskStatus.failed,
                NewEvent(type=EventType.task_failed, payload=_body(error)),
                {**final, "error": error},
            )
        case Canceled():
            return TaskStatus.canceled, NewEvent(type=EventType.task_canceled, payload={}), final
        case Retry(error=error):
            event = NewEvent(type=EventType.task_retrying, payload=_body(error))
            due = now + timedelta(seconds=outcome.delay_seconds)
            return TaskStatus.scheduled, event, {**usage, "run_at": due, "worker_id": None}
        case Suspended(waits=waits):
            shown = waiting_for(waits)
            event = NewEvent(
                type=EventType.task_waiting, payload={"waiting_for": shown, "keys": [w.key for w in waits]}
            )
            return TaskStatus.waiting, event, {**usage, "waiting_for": shown, "worker_id": None}
        case HandedOver():
            event = NewEvent(type=EventType.task_handed_over, payload={})
            return TaskStatus.queued, event, {**usage, "worker_id": None}


def _body(error: TaskError) -> dict[str, object]:
    return {"code": error.code, "message": error.message, "retryable": error.retryable}
