"""Child tasks: what becomes of an agent's call of another agent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from uuid import UUID

from ops_core.domain.agent import Agent, AgentDefinition
from ops_core.domain.caller import Caller
from ops_core.domain.task import JsonObject, NewTask, Parent, Task, TaskStatus
from ops_core.domain.uuid7 import Uuid7Source
from ops_core.errors import AgentNotFound, ConfigurationInvalid, InvalidInput
from ops_core.ports import AgentStore, TaskStore
from ops_core.services.agents import RecentAgents
from ops_core.services.submission import Submission
from ops_core.services.submission_check import SubmissionCheck

#: How long a definition is taken to be the agent's current one: every run of an agent with agents asks.
_FRESH_SECONDS = 1.0
#: Tasks that the message about a chain names.
_NAMED = 20


@dataclass(frozen=True, slots=True)
class ChildRefused:
    """No child can be made; the model is told why."""

    code: str
    message: str

    def answer(self) -> JsonObject:
        """What the call is answered with, in place of a child's end."""
        error = {"code": self.code, "message": self.message}
        return {"task_id": None, "status": TaskStatus.rejected.value, "result": None, "error": error}


class Children:
    """Makes child tasks and reads what came of them. All methods raise StoreUnavailable."""

    def __init__(self, *, tasks: TaskStore, agents: AgentStore, check: SubmissionCheck, max_depth: int) -> None:
        """
        Args:
            check: The one that a client's submissions pass, so that a child is held to the same.
            max_depth: How many parents a task may have above it.
        """
        self._tasks = tasks
        self._agents = RecentAgents(agents, fresh_seconds=_FRESH_SECONDS)
        self._check = check
        self._max_depth = max_depth
        self._ids = Uuid7Source()

    async def callable_by(self, namespace: str, definition: AgentDefinition) -> Sequence[Agent]:
        """The agents that it may call, as far as they are registered."""
        found = [await self._agents.get(namespace, name) for name in definition.agents]
        return [agent for agent in found if agent is not None]

    async def new(self, parent: Task, key: str, request: JsonObject) -> NewTask | ChildRefused:
        """The child that the call at this step wants."""
        name = str(request["agent"])
        if parent.depth + 1 > self._max_depth:
            return await self._too_deep(parent, name)
        agent = await self._agents.get(parent.namespace, name)
        if agent is None:
            return ChildRefused(AgentNotFound.code, f"There is no agent named {name!r}.")
        submission = Submission(
            agent=name,
            input=request["input"],
            priority=parent.priority,
            labels=parent.labels,
            session_id=parent.session_id,
            traceparent=parent.traceparent,
        )
        caller = Caller(namespace=parent.namespace, subject=parent.created_by)
        try:
            child = await self._check.admitted(caller, submission)
        except (InvalidInput, AgentNotFound, ConfigurationInvalid) as error:
            return ChildRefused(error.code, error.detail)
        assert isinstance(child, NewTask), "without an idempotency key there is no earlier task"
        return _inheriting(child, parent, key, agent.definition)

    def begun(self, parent: Task, key: str, request: JsonObject) -> NewTask:
        """What stands for the child that this round has added before; the store keeps that one as it is."""
        return NewTask(
            id=self._ids.new(),
            namespace=parent.namespace,
            kind=parent.kind,
            agent=str(request["agent"]),
            agent_digest=parent.agent_digest,
            queue=parent.queue,
            priority=parent.priority,
            input=request["input"],
            labels=parent.labels,
            max_attempts=parent.max_attempts,
            parent=Parent(task_id=parent.id, round=parent.round, step_key=key),
            depth=parent.depth + 1,
        )

    async def completed(self, namespace: str, answer: JsonObject) -> JsonObject:
        """The answer with the child's result, which stands in the child's row alone."""
        if answer.get("status") != TaskStatus.completed or answer.get("result") is not None or not answer["task_id"]:
            return answer
        child = await self._tasks.get_task(namespace, UUID(str(answer["task_id"])))
        if child is None or child.status is not TaskStatus.completed:
            error = {"code": "result_gone", "message": "the result was deleted, or its task is being retried"}
            return {**answer, "status": TaskStatus.failed.value, "error": error}
        return {**answer, "result": child.result}

    async def _too_deep(self, parent: Task, name: str) -> ChildRefused:
        above = await self._tasks.list_ancestors(parent.id, limit=_NAMED)
        names = [task.agent for task in reversed(above)]
        cut = "… → " if above and above[-1].depth > 0 else ""
        chain = cut + " → ".join([*names, name])
        limit = f"agents may call each other {self._max_depth} levels deep"
        return ChildRefused("depth_limit", f"{limit}, and this would be one more: {chain}. Do it without that agent.")


def _inheriting(child: NewTask, parent: Task, key: str, definition: AgentDefinition) -> NewTask:
    """A child counts under its parent's keys, so that nobody gets around a limit by way of another agent; what its own
    agent says about keys comes first."""
    if definition.concurrency is None:
        limits = {"concurrency_key": parent.concurrency_key, "concurrency_limit": parent.concurrency_limit}
        child = replace(child, **limits)  # type: ignore[arg-type]  # the names are checked by the dataclass itself
    if definition.fairness is None:
        child = replace(child, fairness_key=parent.fairness_key)
    origin = Parent(task_id=parent.id, round=parent.round, step_key=key)
    return replace(child, parent=origin, depth=parent.depth + 1)
