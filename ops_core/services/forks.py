"""From a finished task to the task that a fork of it adds: what is taken over, what is changed, and what is checked."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from ops_core.domain.agent import Agent, AgentDefinition, ModelChoice
from ops_core.domain.caller import Caller
from ops_core.domain.task import ForkOrigin, JsonObject, NewTask, Task
from ops_core.domain.uuid7 import Uuid7Source
from ops_core.errors import AgentNotFound, FieldProblem, InputSchemaMismatch, InvalidInput, ModelNotConfigured
from ops_core.ports import AgentStore
from ops_core.services.expressions import prepare_expressions
from ops_core.services.input_schema import InputSchemas
from ops_core.services.json_shape import json_problem
from ops_core.services.limits import TaskLimits
from ops_core.services.submission import canonical, idempotency_key_problems
from ops_core.services.submission_check import refusal
from ops_core.services.task_keys import TaskKeys, keys_of_changed, makes_keys

#: No agent has more steps.
_MAX_STEP = 1_000_000
_MAX_NAME_CHARS = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelChange:
    """Another model. What is left out stays; with another provider, nothing of the agent's own choice does."""

    provider: str | None = None
    name: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ForkRequest:
    """Which steps a fork takes over, and what is different from there on; None for the same."""

    #: Steps before this one are taken over.
    before_step: int
    instructions: str | None = None
    model: ModelChange | None = None
    input: JsonObject | None = None
    idempotency_key: str | None = None
    traceparent: str | None = None


class ForkCheck:
    """Refuses a fork that cannot run, as a submit would be; gives what can an id and its agent's version."""

    def __init__(
        self, *, agents: AgentStore, limits: TaskLimits, model_check: Callable[[AgentDefinition], str | None]
    ) -> None:
        self._agents = agents
        self._limits = limits
        self._model_check = model_check
        self._schemas = InputSchemas()
        self._ids = Uuid7Source()

    async def admitted(self, caller: Caller, source: Task, request: ForkRequest) -> NewTask:
        """The task to add. Another version of the agent is kept before this returns.

        Raises:
            InvalidInput, InputSchemaMismatch, ModelNotConfigured. AgentNotFound: the source's version is gone.
        """
        if problems := [*_field_problems(request, self._limits)]:
            raise refusal(InvalidInput, problems)
        definition = await self._agents.get_definition(source.agent_digest)
        if definition is None:
            raise AgentNotFound(f"The version of agent {source.agent!r} that task {source.id} ran is gone.")
        changed = _changed(definition, request)
        input = source.input if request.input is None else request.input
        self._check_input(caller, source, changed, input)
        if (detail := self._model_check(changed)) is not None:
            raise ModelNotConfigured(detail, problems=[FieldProblem("/model", detail)])
        if changed != definition:
            await self._agents.put_version(caller.namespace, changed)
        keys = await _keys(changed, source, input)
        return self._new_task(caller, source, request, digest=changed.digest, input=input, keys=keys)

    def _check_input(self, caller: Caller, source: Task, definition: AgentDefinition, input: JsonObject) -> None:
        version = Agent(
            namespace=caller.namespace,
            name=source.agent,
            digest=definition.digest,
            definition=definition,
            registered_at=source.created_at,
        )
        found = self._schemas.problems(version, input)
        if found:
            raise refusal(InputSchemaMismatch, [FieldProblem("/input" + one.pointer, one.detail) for one in found])

    def _new_task(
        self, caller: Caller, source: Task, request: ForkRequest, *, digest: str, input: JsonObject, keys: TaskKeys
    ) -> NewTask:
        key = request.idempotency_key
        return NewTask(
            id=self._ids.new(),
            namespace=source.namespace,
            kind=source.kind,
            agent=source.agent,
            agent_digest=digest,
            queue=source.queue,
            priority=source.priority,
            input=input,
            labels=dict(source.labels),
            max_attempts=source.max_attempts,
            timeout_seconds=source.timeout_seconds,
            idempotency_key=key,
            request_hash=None if key is None else fork_hash(source, request),
            queue_timeout_seconds=source.queue_timeout_seconds,
            attempt_timeout_seconds=source.attempt_timeout_seconds,
            concurrency_key=keys.concurrency_key,
            concurrency_limit=keys.concurrency_limit,
            rate=keys.rate,
            fairness_key=keys.fairness_key,
            session_id=source.session_id,
            stream=source.stream,
            forked_from=ForkOrigin(task_id=source.id, round=source.round, before_step=request.before_step),
            traceparent=request.traceparent,
            created_by=caller.subject,
        )


def fork_hash(source: Task, request: ForkRequest) -> str:
    """SHA-256 (hex) of what was asked for, the same through every door; the key and trace context are no part of it."""
    model = request.model
    body = {
        "fork_of": str(source.id),
        "before_step": request.before_step,
        "instructions": request.instructions,
        "model": None if model is None else [model.provider, model.name],
        "input": canonical(request.input),
    }
    return hashlib.sha256(json.dumps(body, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


async def _keys(definition: AgentDefinition, source: Task, input: JsonObject) -> TaskKeys:
    """Raises:
    InvalidInput: a rule of the agent makes no key of the changed input.
    """
    keys = TaskKeys(
        concurrency_key=source.concurrency_key,
        concurrency_limit=source.concurrency_limit,
        rate=source.rate,
        fairness_key=source.fairness_key,
    )
    if input == source.input or not makes_keys(definition):
        return keys
    await prepare_expressions()
    return keys_of_changed(definition, keys, source.input, input)


def _changed(definition: AgentDefinition, request: ForkRequest) -> AgentDefinition:
    changed = definition
    if request.instructions is not None:
        changed = replace(changed, instructions=request.instructions)
    if (wanted := request.model) is not None:
        model = changed.model
        if wanted.provider not in (None, model.provider):
            # Another provider's address, name and abilities would be wrong for it.
            model = ModelChoice(provider=wanted.provider, max_output_tokens=model.max_output_tokens)
        changed = replace(changed, model=replace(model, name=wanted.name or model.name))
    return changed


def _field_problems(request: ForkRequest, limits: TaskLimits) -> Iterator[FieldProblem]:
    if not 1 <= request.before_step <= _MAX_STEP:
        yield FieldProblem("/from_step", f"must be the number of a step, from 1 on, not {request.before_step}")
    if request.instructions is not None:
        problem = json_problem(request.instructions, max_depth=1, max_bytes=limits.max_input_bytes)
        if problem is not None:
            yield FieldProblem("/instructions", problem.detail)
        elif len(request.instructions) > limits.max_instructions_chars:
            yield FieldProblem("/instructions", f"must have at most {limits.max_instructions_chars:,} characters")
    if request.model is not None:
        for name in ("provider", "name"):
            value = getattr(request.model, name)
            if value is not None and not (0 < len(value) <= _MAX_NAME_CHARS and value.isprintable()):
                yield FieldProblem(f"/model/{name}", f"must be 1 to {_MAX_NAME_CHARS} printable characters")
    if request.input is not None:
        problem = json_problem(request.input, max_depth=limits.max_json_depth, max_bytes=limits.max_input_bytes)
        if problem is not None:
            yield FieldProblem(f"/input{problem.pointer}", problem.detail)
    yield from idempotency_key_problems(request.idempotency_key, limits)
