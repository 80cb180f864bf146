"""Agents as protobuf messages."""

from __future__ import annotations

from ops_core.domain.agent import Agent, AgentLimits, ModelChoice
from ops_core.services.input_schema import input_schema_of
from ops_core.wire.pb.v1 import agents_pb2 as pb
from ops_core.wire.protobuf_json import json_text, struct_from_json
from ops_core.wire.protobuf_time import timestamp_from

#: An agent file may name more tokens than an int64 holds; both mean "as many as you like".
_INT64_MAX = 2**63 - 1


def agent_message(agent: Agent) -> pb.Agent:
    """The agent as a message."""
    definition = agent.definition
    message = pb.Agent(
        namespace=agent.namespace,
        name=agent.name,
        digest=agent.digest,
        registered_at=timestamp_from(agent.registered_at),
        description=definition.description,
        instructions=definition.instructions,
        model=_model_message(definition.model),
        planner=definition.planner,
        tools=definition.tools,
        mcp_servers=definition.mcp_servers,
        limits=_limits_message(definition.limits),
        queue=definition.queue,
        max_attempts=definition.max_attempts,
        timeout_seconds=definition.timeout_seconds,
    )
    input_schema = input_schema_of(definition)
    if (struct := struct_from_json(input_schema)) is not None:
        message.input_schema.CopyFrom(struct)
    else:
        message.input_schema_json = json_text(input_schema)
    if definition.output_schema is not None:
        if (struct := struct_from_json(definition.output_schema)) is not None:
            message.output_schema.CopyFrom(struct)
        else:
            message.output_schema_json = json_text(definition.output_schema)
    return message


def _model_message(model: ModelChoice) -> pb.ModelChoice:
    return pb.ModelChoice(
        provider=model.provider,
        name=model.name,
        base_url=model.base_url,
        native_tools=model.native_tools,
        max_output_tokens=model.max_output_tokens,
    )


def _limits_message(limits: AgentLimits) -> pb.AgentLimits:
    return pb.AgentLimits(
        steps=limits.steps,
        seconds=limits.seconds,
        tokens=None if limits.tokens is None else min(limits.tokens, _INT64_MAX),
        llm_seconds=limits.llm_seconds,
        tool_seconds=limits.tool_seconds,
        memory_tokens=None if limits.memory_tokens is None else min(limits.memory_tokens, _INT64_MAX),
    )
