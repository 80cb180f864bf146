"""From a submission to a task that may be added: every check that a submit makes, in one place."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime

from ops_core.domain.agent import Agent, AgentDefinition
from ops_core.domain.caller import Caller
from ops_core.domain.task import NewTask, Task, TaskKind
from ops_core.domain.uuid7 import Uuid7Source
from ops_core.errors import (
    AgentNotFound,
    FieldProblem,
    InputSchemaMismatch,
    InvalidInput,
    ModelNotConfigured,
    OpsCoreError,
)
from ops_core.ports import AgentStore, TaskStore
from ops_core.services.agents import RecentAgents, agent_not_found
from ops_core.services.expressions import prepare_expressions
from ops_core.services.input_schema import InputSchemas
from ops_core.services.json_shape import is_nested_deeper
from ops_core.services.limits import TaskLimits
from ops_core.services.submission import Submission, field_problems, request_hash
from ops_core.services.task_keys import TaskKeys, keys_of, makes_keys


class SubmissionCheck:
    """Refuses what cannot run, with everything that is wrong at once; gives what can an id and its agent's version."""

    def __init__(
        self,
        *,
        tasks: TaskStore,
        agents: AgentStore,
        limits: TaskLimits,
        model_check: Callable[[AgentDefinition], str | None],
        clock: Callable[[], datetime],
    ) -> None:
        self._tasks = tasks
        self._agents = agents
        self._recent = RecentAgents(agents)
        self._limits = limits
        self._model_check = model_check
        self._clock = clock
        self._schemas = InputSchemas()
        self._ids = Uuid7Source()

    async def admitted(self, caller: Caller, submission: Submission) -> NewTask | Task:
        """The task to add; or the one that was added before, when this request would be refused by now.

        Raises:
            InvalidInput, AgentNotFound, InputSchemaMismatch, ModelNotConfigured. StoreUnavailable.
        """
        try:
            return await self._checked(caller, submission)
        except (InvalidInput, AgentNotFound):
            # Its `run_at` may have passed, or its agent changed, since the first answer to it was lost.
            first = await self._first_with_key(caller, submission)
            if first is None:
                raise
            return first

    async def all_admitted(self, caller: Caller, submissions: Sequence[Submission]) -> list[NewTask | Task]:
        """Raises:
        OpsCoreError: as `admitted`, for all of them together, with pointers that begin with /tasks/<index>.
        """
        found: list[NewTask | Task] = []
        errors: dict[int, OpsCoreError] = {}
        first_with_key: dict[str, int] = {}
        for index, submission in enumerate(submissions):
            key = submission.idempotency_key
            try:
                if key is not None and first_with_key.setdefault(key, index) != index:
                    detail = f"is the same as that of /tasks/{first_with_key[key]}"
                    raise refusal(InvalidInput, [FieldProblem("/idempotency_key", detail)])
                found.append(await self.admitted(caller, submission))
            except (InvalidInput, AgentNotFound) as exc:
                errors[index] = exc
        if errors:
            raise combined(errors)
        return found

    async def _checked(self, caller: Caller, submission: Submission) -> NewTask:
        problems = field_problems(submission, limits=self._limits, now=self._clock())
        if any(problem.pointer == "/run_at" for problem in problems):
            # By the database's clock it will be run, so by that it is refused: this machine's may be wrong.
            problems = field_problems(submission, limits=self._limits, now=await self._tasks.task_clock())
        if problems:
            raise refusal(InvalidInput, problems)
        agent = await self._recent.get(caller.namespace, submission.agent)
        if agent is None:
            raise await agent_not_found(self._agents, caller.namespace, submission.agent, pointer="/agent")
        if problems := self._schema_problems(agent, submission):
            raise refusal(InputSchemaMismatch, problems)
        if (detail := self._model_check(agent.definition)) is not None:
            raise ModelNotConfigured(detail, problems=[FieldProblem("/agent", detail)])
        if makes_keys(agent.definition):
            await prepare_expressions()
        return self._new_task(caller, submission, agent)

    async def _first_with_key(self, caller: Caller, submission: Submission) -> Task | None:
        key = submission.idempotency_key
        can_be_known = key is not None and key.isascii() and key.isprintable()
        if key is None or not can_be_known or is_nested_deeper(submission.effective_input, self._limits.max_json_depth):
            return None
        return await self._tasks.find_submitted(caller.namespace, key, request_hash=request_hash(submission))

    def _schema_problems(self, agent: Agent, submission: Submission) -> list[FieldProblem]:
        found = self._schemas.problems(agent, submission.effective_input)
        if submission.input is None:
            # The client wrote a goal and no input, so its goal is what does not fit.
            return [FieldProblem("/goal", f"does not make an input for this agent: {one.detail}") for one in found]
        return [FieldProblem("/input" + one.pointer, one.detail) for one in found]

    def _new_task(self, caller: Caller, submission: Submission, agent: Agent) -> NewTask:
        definition = agent.definition
        key = submission.idempotency_key
        keys = _keys(definition, submission)
        return NewTask(
            id=self._ids.new(),
            namespace=caller.namespace,
            kind=TaskKind.agent,
            agent=agent.name,
            agent_digest=agent.digest,
            queue=submission.queue or definition.queue,
            priority=submission.priority,
            input=submission.effective_input,
            labels=dict(submission.labels),
            max_attempts=submission.max_attempts or definition.max_attempts,
            run_at=submission.run_at,
            timeout_seconds=submission.timeout_seconds or definition.timeout_seconds,
            idempotency_key=key,
            request_hash=None if key is None else request_hash(submission),
            queue_timeout_seconds=submission.queue_timeout_seconds or definition.queue_timeout_seconds,
            attempt_timeout_seconds=submission.attempt_timeout_seconds or definition.attempt_timeout_seconds,
            concurrency_key=keys.concurrency_key,
            concurrency_limit=keys.concurrency_limit,
            rate=keys.rate,
            fairness_key=keys.fairness_key,
            session_id=submission.session_id,
            stream=submission.stream,
            schedule_id=submission.schedule_id,
            traceparent=submission.traceparent,
            created_by=caller.subject,
        )


def _keys(definition: AgentDefinition, submission: Submission) -> TaskKeys:
    given = TaskKeys(
        concurrency_key=submission.concurrency_key,
        concurrency_limit=submission.concurrency_limit,
        rate=submission.rate,
        fairness_key=submission.fairness_key,
    )
    keys = keys_of(definition, submission.effective_input, given=given)
    if keys.concurrency_key is not None and keys.concurrency_limit is None:
        detail = "is missing: say how many tasks with concurrency_key may run at once; the agent does not"
        raise refusal(InvalidInput, [FieldProblem("/concurrency_limit", detail)])
    if submission.concurrency_limit is not None and keys.concurrency_key is None:
        detail = "is missing: concurrency_limit bounds the tasks with one key; the agent makes none"
        raise refusal(InvalidInput, [FieldProblem("/concurrency_key", detail)])
    return keys


def combined(errors: Mapping[int, OpsCoreError], *, note: str = "") -> OpsCoreError:
    """One error for several tasks of a batch: of their common kind when they have one, with all their problems."""
    problems = [
        FieldProblem(f"/tasks/{index}{problem.pointer}", problem.detail)
        for index, error in errors.items()
        for problem in error.problems or (FieldProblem("", error.detail),)
    ]
    kinds = {type(error) for error in errors.values()}
    kind = kinds.pop() if len(kinds) == 1 else InvalidInput
    return refusal(kind, problems, note=note)


def refusal(kind: type[OpsCoreError], problems: Sequence[FieldProblem], *, note: str = "") -> OpsCoreError:
    """An error of this kind that says what the first problems are, and holds them all."""
    shown = "; ".join(f"`{problem.pointer[1:].replace('/', '.')}` {problem.detail}" for problem in problems[:3])
    more = f"; and {len(problems) - 3} more, see the errors" if len(problems) > 3 else ""
    return kind(f"{shown}{more}. {note}".rstrip(), problems=problems)
