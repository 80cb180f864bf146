"""What callers can do with tasks: submit, look, wait, watch, cancel, retry, fork."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from contextlib import aclosing, contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from uuid import UUID

from ops_core.domain.agent import AgentDefinition
from ops_core.domain.caller import Caller, Operation
from ops_core.domain.event import Event
from ops_core.domain.task import NewTask, RetryFrom, Task, TaskStatus
from ops_core.domain.text import TextDelta
from ops_core.errors import (
    FieldProblem,
    IdempotencyKeyReused,
    InvalidInput,
    OpsCoreError,
    PayloadTooLarge,
    StepNotFound,
    TaskNotFinished,
    TaskNotFound,
)
from ops_core.ports import Added, AgentStore, Nudge, NudgeBus, NudgeKind, TaskQuery, TaskStore
from ops_core.services.cursors import ListOfTask, cut_page, decode_cursor
from ops_core.services.forks import ForkCheck, ForkRequest, fork_hash
from ops_core.services.id_prefixes import id_digits
from ops_core.services.limits import TaskLimits
from ops_core.services.permission import require
from ops_core.services.relay import SupportsAnnounce
from ops_core.services.submission import Submission
from ops_core.services.submission_check import SubmissionCheck, combined
from ops_core.services.text_watch import TextWatch
from ops_core.services.watch import TaskWatch
from ops_core.telemetry import LogEvent, get_logger

__all__ = ["Submission", "Submitted", "SupportsAnnounce", "TaskFilter", "TaskLimits", "TaskPage", "TaskService"]

_EVENTS_A_READ = 200
_MAX_EVENTS = 1_000
#: No agent has more steps.
_MAX_STEP = 1_000_000


@dataclass(frozen=True, slots=True)
class Submitted:
    """What became of a submission."""

    task: Task
    #: True when its idempotency key was known: this is the first task, nothing was added.
    replayed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskFilter:
    """Which tasks to list; what is left out does not narrow."""

    statuses: frozenset[TaskStatus] = frozenset()
    agent: str | None = None
    queue: str | None = None
    labels: dict[str, str] = field(default_factory=dict)
    created_after: datetime | None = None
    created_before: datetime | None = None
    #: Beginning of an id, with or without dashes.
    id_prefix: str | None = None


@dataclass(frozen=True, slots=True)
class TaskPage:
    """Some tasks, in the order of their list, and where it goes on."""

    tasks: Sequence[Task]
    next_cursor: str | None


class TaskService:
    """Tasks of the caller's namespace. All methods raise StoreUnavailable when the database cannot be reached, and
    PermissionDenied when the caller's roles do not allow them."""

    def __init__(
        self,
        *,
        tasks: TaskStore,
        agents: AgentStore,
        relay: SupportsAnnounce,
        nudges: NudgeBus,
        limits: TaskLimits,
        model_check: Callable[[AgentDefinition], str | None],
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._tasks = tasks
        self._relay = relay
        self._nudges = nudges
        self._limits = limits
        self._check = SubmissionCheck(tasks=tasks, agents=agents, limits=limits, model_check=model_check, clock=clock)
        self._fork_check = ForkCheck(agents=agents, limits=limits, model_check=model_check)
        self._watch = TaskWatch(nudges, tasks)
        self._log = get_logger()

    async def submit(self, caller: Caller, submission: Submission) -> Submitted:
        """Add one task. With a known idempotency key and the same request: the task that was added then.

        Raises:
            InvalidInput: what is wrong is in its problems. AgentNotFound, InputSchemaMismatch, ModelNotConfigured,
            IdempotencyKeyReused.
        """
        require(caller, Operation.submit)
        added = await self._added(await self._check.admitted(caller, submission))
        self._announce([added])
        return Submitted(added.task, added.replayed)

    async def check(self, caller: Caller, submission: Submission) -> None:
        """Add nothing: say what a submit would be refused for.

        Raises:
            As `submit`, but for IdempotencyKeyReused.
        """
        require(caller, Operation.submit)
        await self._check.admitted(caller, submission)

    async def submit_batch(self, caller: Caller, submissions: Sequence[Submission]) -> Sequence[Submitted]:
        """Add several tasks, in order; all are checked before the first is added. No one transaction: when the
        database fails half-way some are added, and the same batch with idempotency keys can be sent again.

        Raises:
            As `submit`, with pointers that begin with /tasks/<index>. PayloadTooLarge: over `max_batch`.
        """
        require(caller, Operation.submit)
        if len(submissions) > self._limits.max_batch:
            raise PayloadTooLarge(f"A batch has at most {self._limits.max_batch} tasks, not {len(submissions)}.")
        if not submissions:
            detail = "must hold at least one task"
            raise InvalidInput(f"`tasks` {detail}.", problems=[FieldProblem("/tasks", detail)])
        admitted = await self._check.all_admitted(caller, submissions)
        outcomes = await asyncio.gather(*map(self._added, admitted), return_exceptions=True)
        added = [outcome for outcome in outcomes if isinstance(outcome, Added)]
        self._announce(added)
        _raise_failed(outcomes, len(added))
        return [Submitted(one.task, one.replayed) for one in added]

    async def _added(self, admitted: NewTask | Task) -> Added:
        if isinstance(admitted, Task):
            return Added(admitted, replayed=True, ring=None)
        return await self._tasks.add_task(admitted)

    def _announce(self, added: Sequence[Added]) -> None:
        self._relay.announce([one.ring for one in added if one.ring is not None])
        for one in added:
            if not one.replayed:
                self._log.info(
                    LogEvent.task_submitted, task_id=str(one.task.id), agent=one.task.agent, queue=one.task.queue
                )

    async def get(self, caller: Caller, task_id: UUID) -> Task:
        """Raises:
        TaskNotFound: no such task in the caller's namespace.
        """
        require(caller, Operation.look)
        return await self._found(caller, task_id)

    async def _found(self, caller: Caller, task_id: UUID) -> Task:
        task = await self._tasks.get_task(caller.namespace, task_id)
        if task is None:
            raise TaskNotFound(f"There is no task {task_id}. List tasks to find the one you mean.")
        return task

    async def list(self, caller: Caller, filter: TaskFilter, *, limit: int, cursor: str | None) -> TaskPage:
        """Newest first.

        Raises:
            CursorMalformed, InvalidInput.
        """
        require(caller, Operation.look)
        query = self._query(caller, filter, limit)
        if cursor is not None:
            query = replace(query, before=decode_cursor(query, cursor))
        found = await self._tasks.list_tasks(replace(query, limit=limit + 1))
        return TaskPage(*cut_page(query, found, limit, place_of=_place_of))

    def _query(self, caller: Caller, filter: TaskFilter, limit: int) -> TaskQuery:
        _check_between("limit", limit, 1, self._limits.max_page)
        for name in ("created_after", "created_before"):
            when: datetime | None = getattr(filter, name)
            if when is not None and when.utcoffset() is None:
                _refuse(name, "must have a time zone, such as 2026-01-31T09:00:00Z")
        return TaskQuery(
            namespace=caller.namespace,
            statuses=filter.statuses,
            agent=filter.agent,
            queue=filter.queue,
            labels=filter.labels,
            created_after=filter.created_after,
            created_before=filter.created_before,
            id_prefix=id_digits(filter.id_prefix),
            limit=limit,
        )

    async def cancel(self, caller: Caller, task_id: UUID) -> Task:
        """Cancel it: at once, or, while it runs, as soon as its worker has heard of it.

        Raises:
            TaskNotFound, TaskFinished.
        """
        require(caller, Operation.cancel)
        task, rings = await self._tasks.cancel_task(caller.namespace, task_id, by=caller.subject)
        self._relay.announce(rings)
        self._nudges.send([Nudge(NudgeKind.event, task.id, task.seq), Nudge(NudgeKind.cancel, task.id, task.seq)])
        self._log.info(LogEvent.task_cancel_requested, task_id=str(task.id), by=caller.subject)
        return task

    async def retry(
        self, caller: Caller, task_id: UUID, *, retry_from: RetryFrom, before_step: int | None = None
    ) -> Task:
        """Reopen a finished task in its next round. `before_step` goes with `step`: the first one to be done anew.

        Raises:
            TaskNotFound, TaskNotFinished, StepNotFound, InvalidInput.
        """
        require(caller, Operation.retry)
        if (retry_from is RetryFrom.step) != (before_step is not None):
            _refuse("step", "goes with a retry from a step, and only with it")
        if before_step is not None:
            _check_between("step", before_step, 1, _MAX_STEP)
        with _pointing_at("/step"):
            task, rings = await self._tasks.retry_task(
                caller.namespace, task_id, by=caller.subject, retry_from=retry_from, before_step=before_step
            )
        self._relay.announce(rings)
        self._nudges.send([Nudge(NudgeKind.event, task.id, task.seq)])
        self._log.info(LogEvent.task_reopened, task_id=str(task.id), by=caller.subject, retry_from=retry_from.value)
        return task

    async def fork(self, caller: Caller, task_id: UUID, request: ForkRequest) -> Submitted:
        """Add a task that begins with the steps of a finished one. With a known idempotency key and the same request:
        the task that was added then.

        Raises:
            TaskNotFound, TaskNotFinished, StepNotFound, IdempotencyKeyReused. InvalidInput, InputSchemaMismatch,
            ModelNotConfigured: as a submit.
        """
        require(caller, Operation.fork)
        source = await self._found(caller, task_id)
        try:
            new = await self._fork_check.admitted(caller, source, request)
            with _pointing_at("/from_step"):
                added = await self._tasks.fork_task(source, new)
        except (InvalidInput, TaskNotFinished):
            # The source may have been reopened, since the first answer to this request was lost.
            first = await self._first_fork(caller, source, request)
            if first is None:
                raise
            return Submitted(first, replayed=True)
        self._announce([added])
        if not added.replayed:
            self._log.info(LogEvent.task_forked, task_id=str(added.task.id), source=str(task_id), by=caller.subject)
        return Submitted(added.task, added.replayed)

    async def _first_fork(self, caller: Caller, source: Task, request: ForkRequest) -> Task | None:
        key = request.idempotency_key
        if key is None or not (key.isascii() and key.isprintable()):
            return None
        return await self._tasks.find_submitted(caller.namespace, key, request_hash=fork_hash(source, request))

    async def children(self, caller: Caller, task_id: UUID, *, limit: int, cursor: str | None) -> TaskPage:
        """The tasks it has called, of all rounds, oldest first.

        Raises:
            TaskNotFound, CursorMalformed, InvalidInput.
        """
        _check_between("limit", limit, 1, self._limits.max_page)
        await self.get(caller, task_id)
        query = ListOfTask("children", caller.namespace, task_id)
        after = None if cursor is None else decode_cursor(query, cursor)
        found = await self._tasks.list_children(caller.namespace, task_id, limit=limit + 1, after=after)
        return TaskPage(*cut_page(query, found, limit, place_of=_place_of))

    async def ancestors(self, caller: Caller, task_id: UUID) -> Sequence[Task]:
        """The task, the one that called it, that one's caller, and so on up.

        Raises:
            TaskNotFound.
        """
        await self.get(caller, task_id)
        return await self._tasks.list_ancestors(task_id, limit=self._limits.max_page)

    async def wait(self, caller: Caller, task_id: UUID, *, timeout_seconds: float) -> Task:
        """The task once it is final, or as it is when the time is over.

        Raises:
            TaskNotFound. InvalidInput: the time is negative or over `max_wait_seconds`.
        """
        _check_between("wait", timeout_seconds, 0, self._limits.max_wait_seconds)
        until = time.monotonic() + timeout_seconds
        with self._watch.listen(task_id) as bell:
            while True:
                task = await self.get(caller, task_id)
                left = until - time.monotonic()
                if task.status.is_final or left <= 0:
                    return task
                bell.known_seq = task.seq
                await bell.wait(left)
                bell.take_news()

    async def events(self, caller: Caller, task_id: UUID, *, after_seq: int, limit: int) -> Sequence[Event]:
        """The task's events after `after_seq`, in order.

        Raises:
            TaskNotFound, InvalidInput.
        """
        _check_between("after", after_seq, 0, 2**63 - 1)
        _check_between("limit", limit, 1, _MAX_EVENTS)
        await self.get(caller, task_id)
        return await self._tasks.list_events(task_id, after_seq=after_seq, limit=limit)

    async def watch(self, caller: Caller, task_id: UUID, *, after_seq: int) -> AsyncGenerator[Event | TextDelta, None]:
        """The task's events after `after_seq` as they are committed, until it is final and the last one is given; and
        between them, of a task that streams, the text that its model is writing: at first as far as it is there.

        Close it (`contextlib.aclosing`) when you leave early.

        Raises:
            TaskNotFound, InvalidInput: before the first event.
        """
        _check_between("after", after_seq, 0, 2**63 - 1)
        with self._watch.listen(task_id) as bell:
            texts = TextWatch(bell, self._tasks)
            while True:
                # Read before the events: when it is final its seq is the last there will be in this round.
                task = await self.get(caller, task_id)
                bell.known_seq = task.seq
                while after_seq < task.seq:
                    events = await self._tasks.list_events(task_id, after_seq=after_seq, limit=_EVENTS_A_READ)
                    for event in events:
                        yield event
                        texts.see(event)
                        after_seq = event.seq
                    if not events:
                        break
                if task.status.is_final:
                    return
                async with aclosing(texts.until_news(task)) as told:
                    async for delta in told:
                        yield delta


def _place_of(task: Task) -> tuple[datetime, UUID]:
    return task.created_at, task.id


def _check_between(name: str, value: float, least: float, most: float) -> None:
    # Written so that NaN, which compares with nothing, is refused.
    if not least <= value <= most:
        _refuse(name, f"must be between {least:g} and {most:g}, not {value:g}")


@contextmanager
def _pointing_at(pointer: str) -> Iterator[None]:
    """Says which field of the request named the step that there is not."""
    try:
        yield
    except StepNotFound as error:
        raise StepNotFound(error.detail, problems=[FieldProblem(pointer, error.detail)]) from error


def _refuse(name: str, detail: str) -> None:
    raise InvalidInput(f"`{name}` {detail}.", problems=[FieldProblem(f"/{name}", detail)])


def _raise_failed(outcomes: Sequence[Added | BaseException], added: int) -> None:
    """Raises what kept some of a batch from being added: all reused keys together, or else the first error."""
    failed = {index: outcome for index, outcome in enumerate(outcomes) if isinstance(outcome, BaseException)}
    if not failed:
        return
    reused = {index: error for index, error in failed.items() if isinstance(error, IdempotencyKeyReused)}
    if len(reused) < len(failed):
        raise next(error for error in failed.values() if not isinstance(error, IdempotencyKeyReused))
    problem = [FieldProblem("/idempotency_key", "was used before for another request")]
    by_index: dict[int, OpsCoreError] = {i: IdempotencyKeyReused(e.detail, problems=problem) for i, e in reused.items()}
    raise combined(by_index, note=f"The other {added} tasks of the batch are added." if added else "")
