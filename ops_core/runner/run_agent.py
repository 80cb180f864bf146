"""Drives a task's agent, after the word of a person where one is wanted, until it answers, gives up or must wait."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from agentkit import Agent as RunnableAgent
from agentkit.report import RunReport
from agentkit.waits import RunSuspended, WaitKind
from agentkit.waits import Wait as AgentWait
from ops_core.domain.agent import Agent, AgentDefinition
from ops_core.domain.task import Task, TaskError
from ops_core.domain.wait import ChildWait, Wait
from ops_core.ports import RunControl
from ops_core.runner.children import ChildRefused, Children
from ops_core.runner.journal import TaskJournal, retry_until_lost
from ops_core.runner.task_approval import permitted
from ops_core.runner.waits import wait_of


@dataclass(frozen=True, slots=True)
class Waiting:
    """The run has stopped, and is run again once there are answers."""

    waits: tuple[Wait, ...]


Ran: TypeAlias = RunReport | Waiting | TaskError


class AgentRun:
    """One claim's run of one agent."""

    def __init__(
        self,
        task: Task,
        *,
        journal: TaskJournal,
        control: RunControl,
        children: Children,
        build: Callable[[Sequence[Agent]], Awaitable[RunnableAgent]],
        run_id: str,
    ) -> None:
        """
        Args:
            build: Makes the agent, with those that it may call; called anew for each time it is run.
        """
        self._task = task
        self._journal = journal
        self._control = control
        self._children = children
        self._build = build
        self._run_id = run_id

    async def drive(self, definition: AgentDefinition) -> Ran:
        """Run it until it stops; a wait that cannot be begun is answered so at once, and the run goes on.

        Raises:
            AgentkitError: as `agentkit.Agent.run`. RunLost, RunRevoked: the lease is over.
        """
        try:
            task = permitted(self._task, definition, self._journal)
        except RunSuspended as stop:
            return Waiting(await self._begun(stop.waits))
        if isinstance(task, TaskError):
            return task
        await self._complete_child_answers()
        callable_agents: Sequence[Agent] = ()
        if definition.agents:
            callable_agents = await retry_until_lost(
                self._control, lambda: self._children.callable_by(task.namespace, definition)
            )
        while True:
            agent = await self._build(callable_agents)
            try:
                return await agent.run(goal_of(task), run_id=self._run_id)
            except RunSuspended as stop:
                if waits := await self._begun(stop.waits):
                    return Waiting(waits)

    async def _begun(self, waits: Sequence[AgentWait]) -> tuple[Wait, ...]:
        """All of them as the store keeps them; none when one was refused, and so has its answer now."""
        begun: list[Wait] = []
        for wait in waits:
            found = await retry_until_lost(self._control, lambda wait=wait: self._wait_of(wait))  # type: ignore[misc]  # the default binds
            if isinstance(found, ChildRefused):
                await self._journal.refuse_child(wait, found.answer())
            else:
                begun.append(found)
        return tuple(begun) if len(begun) == len(waits) else ()

    async def _wait_of(self, wait: AgentWait) -> Wait | ChildRefused:
        if wait.kind is WaitKind.child and self._journal.has_begun(wait):
            # It runs already: whether it could be begun today is no question any more.
            return ChildWait(key=wait.key, child=self._children.begun(self._task, wait.key, wait.request))
        return await wait_of(wait, task=self._task, children=self._children)

    async def _complete_child_answers(self) -> None:
        for key, answer in self._journal.child_answers.items():
            whole = await retry_until_lost(
                self._control,
                lambda answer=answer: self._children.completed(self._task.namespace, answer),  # type: ignore[misc]  # as above
            )
            self._journal.complete_answer(key, whole)


def goal_of(task: Task) -> str:
    """The goal as the agent reads it: the text of `goal`, and whatever else the input holds as JSON below it."""
    rest = dict(task.input)
    goal = rest.pop("goal", None)
    if not isinstance(goal, str):
        return json.dumps(task.input, ensure_ascii=False, indent=2)
    return f"{goal}\n\nInput:\n{json.dumps(rest, ensure_ascii=False, indent=2)}" if rest else goal
