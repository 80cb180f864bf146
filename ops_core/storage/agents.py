"""Agent definitions by content, and which version of each new tasks get."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Select, and_, select

from ops_core.domain.agent import Agent, AgentDefinition
from ops_core.storage.json_text import dump_json, refuse_unstorable
from ops_core.storage.reader import Reader
from ops_core.storage.schema import agent_versions, agents
from ops_core.storage.single_write import SingleWrite
from ops_core.storage.writes import AgentPut, Transaction


class SqlAgentStore:
    """See `AgentStore`."""

    def __init__(self, *, single: SingleWrite, reader: Reader) -> None:
        self._single = single
        self._reader = reader

    async def put_agents(self, namespace: str, definitions: Sequence[AgentDefinition]) -> None:
        puts = [_put(namespace, definition) for definition in definitions]
        # In the order of the names: processes that start together put the same agents.
        puts.sort(key=lambda put: put.name)

        async def put(tx: Transaction) -> None:
            await tx.put_agents(puts)

        await self._single.run_repeatable(put)

    async def put_version(self, namespace: str, definition: AgentDefinition) -> None:
        put = _put(namespace, definition)
        await self._single.run_repeatable(lambda tx: tx.put_versions([put]))

    async def get_agent(self, namespace: str, name: str) -> Agent | None:
        row = await self._reader.first(_registered(namespace).where(agents.c.name == name))
        return _agent(row) if row is not None else None

    async def list_agents(self, namespace: str) -> Sequence[Agent]:
        return [_agent(row) for row in await self._reader.rows(_registered(namespace).order_by(agents.c.name))]

    async def get_definition(self, digest: str) -> AgentDefinition | None:
        # Whichever namespace put it: what has the same digest has the same content.
        same = select(agent_versions.c.definition).where(agent_versions.c.digest == digest).limit(1)
        row = await self._reader.first(same)
        return AgentDefinition.from_json(row["definition"]) if row is not None else None


def _put(namespace: str, definition: AgentDefinition) -> AgentPut:
    refuse_unstorable(namespace=namespace, name=definition.name)
    return AgentPut(namespace, definition.name, definition.digest, dump_json(definition.to_json()))


def _registered(namespace: str) -> Select[Any]:
    return (
        select(agents, agent_versions.c.definition)
        .join(
            agent_versions,
            and_(agent_versions.c.digest == agents.c.digest, agent_versions.c.namespace == agents.c.namespace),
        )
        .where(agents.c.namespace == namespace)
    )


def _agent(row: dict[str, Any]) -> Agent:
    return Agent(
        namespace=row["namespace"],
        name=row["name"],
        digest=row["digest"],
        definition=AgentDefinition.from_json(row["definition"]),
        registered_at=row["registered_at"],
    )
