"""A runner around one agent whose model is scripted and whose tools count."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from dataclasses import replace

from agentkit import Agent
from agentkit.hooks import RunHooks
from agentkit.journal import Journal
from agentkit.limits import Limits
from agentkit.llm.base import BaseLlmClient
from agentkit.planners.react import ReActPlanner
from agentkit.tools.base import OnUnknown
from agentkit.tools.builtin import ask_person, sleep, wait_for_signal
from agentkit.tools.combined import CombinedTools
from agentkit.tools.registry import ToolRegistry
from agentkit.transcript import ToolCall
from ops_core.domain.agent import Agent as RegisteredAgent
from ops_core.domain.agent import AgentDefinition
from ops_core.domain.task import Task
from ops_core.ports import Lease, Ring
from ops_core.runner.agent_tools import AgentTools
from ops_core.runner.approval_policy import ApprovalPolicy
from ops_core.runner.run_task import TaskRunner
from ops_core.tests.unit.runner.fakes import FakeAgents, FakeControl, FakeRuns, FakeTasks, children_of

DEFINITION = AgentDefinition(name="tester")


class Bench:
    """A runner around one agent whose model is scripted and whose tools count."""

    def __init__(
        self,
        llm: BaseLlmClient,
        *,
        on_unknown: OnUnknown = OnUnknown.ask,
        limits: Limits | None = None,
        definition: AgentDefinition = DEFINITION,
        others: Sequence[AgentDefinition] = (),
    ) -> None:
        self.llm = llm
        self.effects: list[str] = []
        self.runs = FakeRuns()
        self.rings: list[Ring] = []
        self.tools = ToolRegistry([ask_person, sleep, wait_for_signal])
        self.limits = limits
        self.before_tool: asyncio.Event | None = None

        async def charge(amount: int) -> str:
            """Charge an amount."""
            if self.before_tool is not None:
                await self.before_tool.wait()
            self.effects.append(f"charge {amount}")
            return "charged"

        self.tools.add(charge, on_unknown=on_unknown)
        self.tasks = FakeTasks()
        agents = FakeAgents(definition, *others)
        #: Why no child can be made in this process; None when it can.
        self.refusal: str | None = None
        self.runner = TaskRunner(
            runs=self.runs,
            agents=agents,
            builder=self,  # type: ignore[arg-type]  # only `build` is called
            children=children_of(agents, self.tasks, max_depth=3, model_check=lambda _: self.refusal),
            announce=self._announce,
            rng=random.Random(7),
        )

    async def build(
        self,
        definition: AgentDefinition,
        *,
        digest: str,
        journal: Journal,
        hooks: RunHooks | None = None,
        agents: Sequence[RegisteredAgent] = (),
    ) -> Agent:
        return Agent(
            planner=ReActPlanner(self.llm),
            tools=CombinedTools(self.tools, AgentTools(agents)),
            security=ApprovalPolicy(definition.approvals),
            journal=journal,
            hooks=hooks,
            definition=digest,
            limits=self.limits,
        )

    def _announce(self, rings: Sequence[Ring]) -> None:
        self.rings.extend(rings)

    def control(self, task: Task) -> FakeControl:
        return FakeControl(Lease(task.id, task.epoch))


def again(task: Task) -> Task:
    """The task as the next claim returns it."""
    return replace(task, seq=task.seq + 10)


def charges(amount: int = 5) -> list[ToolCall]:
    return [ToolCall("c1", "charge", {"amount": amount})]
