"""A definition and a journal in, an agentkit agent out; holds what the agents of one process share."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from agentkit import Agent
from agentkit.errors import ConfigurationError
from agentkit.hooks import RunHooks
from agentkit.journal import Journal
from agentkit.limits import Limits
from agentkit.llm.base import BaseLlmClient
from agentkit.llm.select import make_llm
from agentkit.mcp.config import McpServer
from agentkit.mcp.connections import McpConnections
from agentkit.mcp.tools import MCP_PROXY_TOOL, McpTools, mcp_proxy_tool
from agentkit.memory.short_term import ShortTermMemory
from agentkit.planners.base import BasePlanner
from agentkit.planners.one_call import OneCallPlanner
from agentkit.planners.plan_execute import PlanExecutePlanner
from agentkit.planners.react import ReActPlanner
from agentkit.security.base import BaseSecurityManager
from agentkit.tools.allowed import AllowedTools
from agentkit.tools.base import BaseToolManager
from agentkit.tools.combined import CombinedTools
from ops_core.domain.agent import Agent as CallableAgent
from ops_core.domain.agent import AgentDefinition, ModelChoice
from ops_core.runner.agent_tools import AgentTools
from ops_core.runner.approval_policy import ApprovalPolicy
from ops_core.runner.mock_llm import MockLlm


@dataclass(frozen=True, slots=True)
class _Parts:
    """What all runs of a definition share, since nothing of it changes."""

    planner: BasePlanner
    tool_sets: tuple[BaseToolManager, ...]
    security: BaseSecurityManager
    limits: Limits


class AgentBuilder:
    """Builds agents for one event loop. Model clients and MCP connections are shared by all agents it builds."""

    def __init__(
        self,
        *,
        tools: Sequence[BaseToolManager],
        mcp_servers: Mapping[str, McpServer],
        mock_delay_ms: int | None = None,
    ) -> None:
        self._tools = tools
        self._mcp_servers = mcp_servers
        self._mcp = McpConnections(mcp_servers)
        self._mock_delay_ms = mock_delay_ms
        self._models: dict[ModelChoice, BaseLlmClient] = {}
        self._making = asyncio.Lock()
        self._parts: dict[str, _Parts] = {}

    async def build(
        self,
        definition: AgentDefinition,
        *,
        digest: str,
        journal: Journal,
        hooks: RunHooks | None = None,
        agents: Sequence[CallableAgent] = (),
    ) -> Agent:
        """The agent, with a tool for each of these others.

        Raises:
            ConfigurationError: a model, key, planner or MCP server that the definition names is not to be had here.
        """
        parts = self._parts.get(digest)
        if parts is None:
            parts = self._parts[digest] = await self._made_parts(definition)
        return Agent(
            planner=parts.planner,
            memory=_memory(definition),
            tools=_toolset(parts.tool_sets, agents),
            security=parts.security,
            limits=parts.limits,
            journal=journal,
            hooks=hooks,
            instructions=definition.instructions,
            output=definition.output_schema,
            definition=digest,
        )

    async def aclose(self) -> None:
        """Close model clients and MCP connections; ends the MCP servers that were started."""
        await self._mcp.aclose()
        models = list(self._models.values())
        self._models.clear()
        self._parts.clear()
        for model in models:
            await model.aclose()

    async def _made_parts(self, definition: AgentDefinition) -> _Parts:
        return _Parts(
            planner=await self._planner(definition),
            tool_sets=self._tool_sets(definition),
            security=ApprovalPolicy(definition.approvals),
            limits=_limits(definition),
        )

    async def _planner(self, definition: AgentDefinition) -> BasePlanner:
        model = await self._model(definition.model)
        if definition.planner == "one_call":
            return OneCallPlanner(model)
        protocol: Literal["text", "auto"] = "text" if definition.model.native_tools is False else "auto"
        if definition.planner == "plan_execute":
            return PlanExecutePlanner(model, protocol=protocol)
        return ReActPlanner(model, protocol=protocol)

    async def _model(self, choice: ModelChoice) -> BaseLlmClient:
        if choice not in self._models:
            async with self._making:
                if choice not in self._models:
                    # The first import of a vendor's SDK takes up to a second, in which other agents want to go on.
                    self._models[choice] = await asyncio.to_thread(self._new_model, choice)
        return self._models[choice]

    def _new_model(self, choice: ModelChoice) -> BaseLlmClient:
        if self._mock_delay_ms is not None:
            return MockLlm(self._mock_delay_ms)
        return make_llm(
            choice.provider, choice.name, base_url=choice.base_url, max_output_tokens=choice.max_output_tokens
        )

    def _tool_sets(self, definition: AgentDefinition) -> tuple[BaseToolManager, ...]:
        unknown = sorted(set(definition.mcp_servers) - set(self._mcp_servers))
        if unknown:
            known = ", ".join(sorted(self._mcp_servers)) or "none"
            raise ConfigurationError(
                f"agent {definition.name!r} names MCP servers that are not configured here: {', '.join(unknown)} "
                f"(configured: {known})"
            )
        sets: list[BaseToolManager] = [AllowedTools(each, definition.tools) for each in self._tools]
        # A model that only waits calls no tool: no server is started for it.
        if definition.mcp_servers and self._mock_delay_ms is None:
            sets.append(McpTools(self._mcp, definition.mcp_servers))
        if MCP_PROXY_TOOL in definition.tools:
            sets.append(mcp_proxy_tool(self._mcp))
        return tuple(sets)


def _toolset(sets: Sequence[BaseToolManager], agents: Sequence[CallableAgent]) -> BaseToolManager:
    """Of one run: sets that are combined keep in mind which tool is whose."""
    if len(sets) == 1 and not agents:
        return sets[0]
    return CombinedTools(*sets, AgentTools(agents)) if agents else CombinedTools(*sets)


def _memory(definition: AgentDefinition) -> ShortTermMemory:
    budget = definition.limits.memory_tokens
    return ShortTermMemory() if budget is None else ShortTermMemory(token_budget=budget)


def _limits(definition: AgentDefinition) -> Limits:
    given = {
        "steps": definition.limits.steps,
        "seconds": definition.limits.seconds,
        "tokens": definition.limits.tokens,
        "llm_seconds": definition.limits.llm_seconds,
        "tool_seconds": definition.limits.tool_seconds,
    }
    return Limits(**{name: value for name, value in given.items() if value is not None})  # type: ignore[arg-type]  # the two Nones are gone
