"""Where agents are kept."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from ops_core.domain.agent import Agent, AgentDefinition


class AgentStore(Protocol):
    """Agent definitions, by content."""

    async def put_agents(self, namespace: str, definitions: Sequence[AgentDefinition]) -> None:
        """Keep each version, and make it the one that new tasks get."""

    async def put_version(self, namespace: str, definition: AgentDefinition) -> None:
        """Keep the version for tasks that are pinned to it; new tasks go on with the one they get now."""

    async def get_agent(self, namespace: str, name: str) -> Agent | None: ...

    async def list_agents(self, namespace: str) -> Sequence[Agent]: ...

    async def get_definition(self, digest: str) -> AgentDefinition | None: ...
