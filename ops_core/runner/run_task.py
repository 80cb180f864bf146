"""Runs one claimed task to the end of this claim: load the journal, build the agent, run it, write how it ended."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from functools import partial

from agentkit import Agent as RunnableAgent
from agentkit.errors import AgentkitError, ConfigurationError, LlmError, RunRevoked
from agentkit.report import Finished, LimitReached, RunReport
from ops_core.domain.agent import Agent, AgentDefinition
from ops_core.domain.event import EVENT_FORMAT, Event, NewEvent
from ops_core.domain.outcome import Canceled, Completed, Failed, HandedOver, Outcome, Retry, Suspended
from ops_core.domain.retry import RetryPolicy
from ops_core.domain.task import JsonObject, Task, TaskError, TaskStatus, TaskUsage
from ops_core.errors import InvalidInput, RunLost
from ops_core.ports import AgentStore, Ended, Lease, Ring, RunControl, RunStopReason, RunStore
from ops_core.runner.attempts import after_failure, attempt_crashed, attempt_timed_out, policy_of
from ops_core.runner.build_agent import AgentBuilder
from ops_core.runner.children import Children
from ops_core.runner.journal import TaskJournal, retry_until_lost
from ops_core.runner.live_text import LiveTextHooks
from ops_core.runner.run_agent import AgentRun, Ran, Waiting
from ops_core.services.expressions import prepare_expressions
from ops_core.telemetry import LogEvent, get_logger

_log = get_logger()

#: The number of `task.started` in a log that has nothing but `task.submitted` before it.
_SEQ_OF_FIRST_CLAIM = 2
#: How long a task is kept whose journal a newer version has written.
_PASS_ON_SECONDS = 2.0


class TaskRunner:
    """Runs claimed tasks; one object serves all tasks of a process."""

    def __init__(
        self,
        *,
        runs: RunStore,
        agents: AgentStore,
        builder: AgentBuilder,
        children: Children,
        announce: Callable[[Sequence[Ring]], None],
        live: Callable[[Lease], LiveTextHooks] | None = None,
        retry_policy: RetryPolicy | None = None,
        rng: random.Random | None = None,
    ) -> None:
        """`live` makes what tells the model's text of a task that streams; without it no task does."""
        self._runs = runs
        self._agents = agents
        self._builder = builder
        self._children = children
        self._announce = announce
        self._live = live
        self._retry_policy = retry_policy or RetryPolicy()
        # Jitter needs spread, not secrecy.
        self._rng = rng or random.Random()  # noqa: S311
        self._definitions: dict[str, AgentDefinition] = {}
        self._defining = asyncio.Lock()

    async def run(self, task: Task, control: RunControl) -> TaskStatus:
        """Run the task until it ends, waits or must stop, and write which of these it was.

        Raises:
            RunLost: the lease is over; somebody else goes on with the task.
        """
        events = await self._journaled(task, control)
        if any(event.format > EVENT_FORMAT for event in events):
            return await self._pass_on(task, control)
        journal = TaskJournal(self._runs, control, round=task.round, events=events)
        live = self._live(control.lease) if task.stream and self._live is not None else None
        try:
            outcome = await self._execute(task, control, journal, live)
            ended = await self._finish(task, control, outcome, journal.last_step)
            self._announce(ended.rings)
        finally:
            if live is not None:
                await live.aclose()
        _log.info(LogEvent.task_ended, status=ended.status.value, error=_error_code(outcome))
        return ended.status

    async def write_crash(self, task: Task, control: RunControl, evidence: JsonObject) -> TaskStatus:
        """Write that the process in which the task ran alone has died of it: the attempt has failed.

        Raises:
            RunLost: the lease is over; it may also be that the run had written its end before its process died.
        """
        journal = TaskJournal(self._runs, control, round=task.round, events=await self._journaled(task, control))
        definition = await retry_until_lost(control, lambda: self._agents.get_definition(task.agent_digest))
        outcome = after_failure(
            task,
            attempt_crashed(task, evidence),
            journal.usage,
            policy=policy_of(definition.retry if definition else None, self._retry_policy),
            rng=self._rng,
        )
        ended = await self._finish(task, control, outcome)
        self._announce(ended.rings)
        _log.warning(LogEvent.task_ended, status=ended.status.value, error=_error_code(outcome))
        return ended.status

    async def _pass_on(self, task: Task, control: RunControl) -> TaskStatus:
        """Leave the task to workers of the newer version that wrote its journal: read by this one, its steps might be
        done again. After a pause, or two old workers would pass it to and fro without rest."""
        _log.warning(LogEvent.journal_newer, knows_format=EVENT_FORMAT)
        outcome: Outcome = HandedOver(usage=task.usage)
        try:
            if control.stop_reason is None:
                await asyncio.sleep(_PASS_ON_SECONDS)
        except asyncio.CancelledError as stop:
            outcome = _stopped(stop, control, task.usage)
        ended = await self._finish(task, control, outcome)
        self._announce(ended.rings)
        return ended.status

    async def _journaled(self, task: Task, control: RunControl) -> Sequence[Event]:
        """What earlier claims wrote. The log numbers its events without a gap, so the first claim need not look."""
        if task.seq <= _SEQ_OF_FIRST_CLAIM:
            return ()
        with control.undisturbed():
            return await retry_until_lost(control, lambda: self._runs.load_journal(task.id, round=task.round))

    async def _finish(
        self, task: Task, control: RunControl, outcome: Outcome, last_step: NewEvent | None = None
    ) -> Ended:
        def finish(how: Outcome, step: NewEvent | None) -> Awaitable[Ended]:
            ask = partial(self._runs.finish, control.lease, how, last_step=step, parent_id=task.parent_id)
            return retry_until_lost(control, ask)

        with control.undisturbed():
            try:
                return await finish(outcome, last_step)
            except InvalidInput as error:
                # It would be refused as often as the task is run.
                failed = Failed(error=TaskError("result_unstorable", error.detail[:2000]), usage=outcome.usage)
            try:
                return await finish(failed, last_step)
            except InvalidInput:
                # It is the step that is refused.
                return await finish(failed, None)

    async def _execute(
        self,
        task: Task,
        control: RunControl,
        journal: TaskJournal,
        live: LiveTextHooks | None,
    ) -> Outcome:
        """How the run ends. Whatever goes wrong is an outcome; only a lost lease is raised."""
        left, for_attempt = _remaining_seconds(task), task.attempt_timeout_seconds
        limit = asyncio.timeout(min((seconds for seconds in (left, for_attempt) if seconds is not None), default=None))
        try:
            # It may have been told to stop while its journal was read.
            journal.check()
            async with limit:
                ran = await self._run_agent(task, control, journal, live)
        except (asyncio.CancelledError, RunRevoked) as stop:
            return _stopped(stop, control, journal.usage)
        except AgentkitError as error:
            return self._failed(task, error, journal)
        except RunLost:
            raise
        except Exception as error:  # noqa: BLE001  outermost frame of a run: a fault in one task stays in it
            if isinstance(error, TimeoutError) and limit.expired():
                if left is not None and (for_attempt is None or left <= for_attempt):
                    return Failed(error=_timed_out(task), usage=journal.usage)
                return self._after_failure(task, attempt_timed_out(task), journal)
            _log.exception(LogEvent.run_failed)
            return Failed(error=TaskError("internal", f"{type(error).__name__}: {error}"[:2000]), usage=journal.usage)
        return _outcome_of(ran, journal)

    async def _run_agent(
        self,
        task: Task,
        control: RunControl,
        journal: TaskJournal,
        live: LiveTextHooks | None,
    ) -> Ran:
        definition = await retry_until_lost(control, lambda: self._definition(task.agent_digest))

        async def build(agents: Sequence[Agent]) -> RunnableAgent:
            return await self._builder.build(
                definition, digest=task.agent_digest, journal=journal, hooks=live, agents=agents
            )

        run = AgentRun(
            task, journal=journal, control=control, children=self._children, build=build, run_id=run_id_of(task)
        )
        return await run.drive(definition)

    async def _definition(self, digest: str) -> AgentDefinition:
        if digest not in self._definitions:
            # A thousand runs that begin at once ask once.
            async with self._defining:
                if digest not in self._definitions:
                    self._definitions[digest] = await self._found_definition(digest)
        return self._definitions[digest]

    async def _found_definition(self, digest: str) -> AgentDefinition:
        found = await self._agents.get_definition(digest)
        if found is None:
            raise ConfigurationError(f"the agent definition {digest[:12]} is not in the database")
        if any(rule.when is not None for rule in found.approvals):
            await prepare_expressions()
        return found

    def _failed(self, task: Task, error: AgentkitError, journal: TaskJournal) -> Outcome:
        # Only a model's errors can pass: what a tool does wrong is told to the agent, and is no end of a run.
        asked = error.retry_after_seconds if isinstance(error, LlmError) else None
        told = TaskError(error.code, str(error)[:2000], isinstance(error, LlmError) and error.retryable)
        return self._after_failure(task, told, journal, retry_after_seconds=asked)

    def _after_failure(
        self, task: Task, error: TaskError, journal: TaskJournal, *, retry_after_seconds: float | None = None
    ) -> Outcome:
        definition = self._definitions.get(task.agent_digest)
        policy = policy_of(definition.retry if definition else None, self._retry_policy)
        return after_failure(
            task, error, journal.usage, policy=policy, rng=self._rng, retry_after_seconds=retry_after_seconds
        )


def run_id_of(task: Task) -> str:
    """What the idempotency keys of calls that this round begins are made of.

    A call that an earlier round has begun keeps its own key, which stands with its intent: tried again, it is the same
    call to the outside. What a retry does anew is another one, or the outside would take it for done.
    """
    return f"{task.id}/{task.round}"


def _remaining_seconds(task: Task) -> float | None:
    """By the database's clock on both ends, so that this machine's may be wrong."""
    if task.deadline_at is None or task.claimed_at is None:
        return None
    return max(0.0, (task.deadline_at - task.claimed_at).total_seconds())


def _timed_out(task: Task) -> TaskError:
    return TaskError("timeout", f"the task did not finish within its {task.timeout_seconds:g} s")


def _stopped(stop: BaseException, control: RunControl, usage: TaskUsage) -> Outcome:
    match control.stop_reason:
        case RunStopReason.cancel:
            _take_back_cancellation(stop)
            return Canceled(usage=usage)
        case RunStopReason.drain:
            _take_back_cancellation(stop)
            return HandedOver(usage=usage)
        case RunStopReason.lost:
            raise RunLost("the lease is over") from stop
        case None:
            # Nobody of ours stopped it: the process is being torn down, or a journal write was refused.
            if isinstance(stop, RunRevoked):
                raise RunLost(str(stop)) from stop
            raise stop


def _take_back_cancellation(stop: BaseException) -> None:
    """The run has stopped as it was told; what is written now must not look cancelled to asyncio."""
    current = asyncio.current_task()
    if isinstance(stop, asyncio.CancelledError) and current is not None:
        current.uncancel()


def _outcome_of(ran: Ran, journal: TaskJournal) -> Outcome:
    match ran:
        case Waiting(waits):
            return Suspended(waits=waits, usage=journal.usage)
        case TaskError():
            return Failed(error=ran, usage=journal.usage)
        case RunReport():
            return _reported(ran, journal)


def _reported(report: RunReport, journal: TaskJournal) -> Outcome:
    match report.outcome:
        case Finished(answer, output):
            return Completed(result={"answer": answer, "output": output}, usage=journal.usage)
        case LimitReached(limit, detail):
            return Failed(error=TaskError(f"limit_{limit}", detail), usage=journal.usage)


def _error_code(outcome: Outcome) -> str | None:
    return outcome.error.code if isinstance(outcome, Failed | Retry) else None
