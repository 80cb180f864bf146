"""Agents over HTTP."""

from __future__ import annotations

from fastapi import APIRouter, Response

from ops_core.api.door import PREFIX, DoorDep, reply
from ops_core.api.openapi import answers
from ops_core.wire.agents import AGENT_EXAMPLE, AgentListOut, AgentOut

router = APIRouter(prefix=f"{PREFIX}/agents", tags=["agents"])


@router.get("", responses=answers(AgentListOut, {"data": [AGENT_EXAMPLE], "next_cursor": None}, "All agents, by name."))
async def list_agents(door: DoorDep) -> Response:
    """List the agents that tasks can be submitted to."""
    return reply(AgentListOut.from_domain(await door.services.agents.list(door.caller)))


@router.get("/{name}", responses=answers(AgentOut, AGENT_EXAMPLE, "The agent."))
async def get_agent(name: str, door: DoorDep) -> Response:
    """Show an agent: the version that new tasks get."""
    return reply(AgentOut.from_domain(await door.services.agents.get(door.caller, name)))
