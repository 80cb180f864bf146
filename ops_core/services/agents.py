"""What callers may ask about agents."""

from __future__ import annotations

import asyncio
import difflib
import time
from collections.abc import Callable, Sequence

from ops_core.domain.agent import Agent
from ops_core.domain.caller import Caller, Operation
from ops_core.errors import AgentNotFound, FieldProblem
from ops_core.ports import AgentStore
from ops_core.services.permission import require

_MAX_NAMED = 20


class AgentService:
    """Lists and shows the agents of the caller's namespace."""

    def __init__(self, *, agents: AgentStore) -> None:
        self._agents = agents

    async def list(self, caller: Caller) -> Sequence[Agent]:
        """All agents, by name."""
        require(caller, Operation.look)
        return sorted(await self._agents.list_agents(caller.namespace), key=lambda agent: agent.name)

    async def get(self, caller: Caller, name: str) -> Agent:
        """Raises:
        AgentNotFound: says which there are.
        """
        require(caller, Operation.look)
        agent = await self._agents.get_agent(caller.namespace, name)
        if agent is None:
            raise await agent_not_found(self._agents, caller.namespace, name)
        return agent


async def agent_not_found(agents: AgentStore, namespace: str, name: str, *, pointer: str = "") -> AgentNotFound:
    """The error for an unknown name: which agents there are, and the one that was probably meant."""
    names = sorted(agent.name for agent in await agents.list_agents(namespace))
    if not names:
        detail = "names no agent: none is registered. Put a definition into the agents folder and restart"
    else:
        close = difflib.get_close_matches(name, names, n=1)
        hint = f"; did you mean {close[0]!r}?" if close else "."
        listed = ", ".join(names[:_MAX_NAMED]) + (
            f" and {len(names) - _MAX_NAMED} more" if len(names) > _MAX_NAMED else ""
        )
        detail = f"names no agent{hint} Agents here: {listed}"
    problems = [FieldProblem(pointer, detail)] if pointer else []
    return AgentNotFound(f"{name[:200]!r} {detail}.", problems=problems)


class RecentAgents:
    """Agents as the store had them a moment ago, so that a burst of submits does not read the same row each time.
    Belongs to one event loop."""

    def __init__(
        self, agents: AgentStore, *, fresh_seconds: float = 0.2, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._agents = agents
        self._fresh_seconds = fresh_seconds
        self._monotonic = monotonic
        self._seen: dict[tuple[str, str], tuple[float, Agent]] = {}
        #: Reads that are under way, and since when: all who ask meanwhile wait for the one.
        self._reading: dict[tuple[str, str], tuple[float, asyncio.Task[Agent | None]]] = {}

    async def get(self, namespace: str, name: str) -> Agent | None:
        """The agent, at most `fresh_seconds` old. That there is none is never remembered.

        Raises:
            StoreUnavailable
        """
        key = (namespace, name)
        now = self._monotonic()
        known = self._seen.get(key)
        if known is not None and now - known[0] < self._fresh_seconds:
            return known[1]
        under_way = self._reading.get(key)
        if under_way is not None and now - under_way[0] < self._fresh_seconds:
            agent = await asyncio.shield(under_way[1])
            if agent is not None:
                return agent
        # Nobody reads it, or somebody began to before it was registered, or too long ago.
        asked_at = self._monotonic()
        reading = asyncio.create_task(self._read(key, asked_at), name="read-agent")
        self._reading[key] = asked_at, reading
        reading.add_done_callback(lambda done: self._forget(key, done))
        return await asyncio.shield(reading)

    async def _read(self, key: tuple[str, str], asked_at: float) -> Agent | None:
        agent = await self._agents.get_agent(*key)
        if agent is None:
            self._seen.pop(key, None)
        elif asked_at >= self._seen.get(key, (asked_at, agent))[0]:
            self._seen[key] = (asked_at, agent)
        return agent

    def _forget(self, key: tuple[str, str], done: asyncio.Task[Agent | None]) -> None:
        if key in self._reading and self._reading[key][1] is done:
            del self._reading[key]
        if not done.cancelled():
            # Looked at: whoever waits is told, and there may be nobody any more.
            done.exception()
