"""The gRPC door to agents."""

# ruff: noqa: N802 - methods have the names that the contract gives them
from __future__ import annotations

from ops_core.rpc.call import Call
from ops_core.services.agents import AgentService
from ops_core.wire.pb.v1 import agents_pb2 as pb
from ops_core.wire.protobuf_agents import agent_message


class AgentServicer:
    """Each method: translate in, call one service method, translate out."""

    def __init__(self, *, agents: AgentService) -> None:
        self._agents = agents

    async def ListAgents(self, request: pb.ListAgentsRequest, call: Call) -> pb.ListAgentsResponse:
        return pb.ListAgentsResponse(agents=map(agent_message, await self._agents.list(call.caller)))

    async def GetAgent(self, request: pb.GetAgentRequest, call: Call) -> pb.Agent:
        return agent_message(await self._agents.get(call.caller, request.name))
