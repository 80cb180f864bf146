"""Agents as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from ops_core.domain.agent import Agent
from ops_core.services.input_schema import DEFAULT_INPUT_SCHEMA, input_schema_of
from ops_core.wire.tasks import RESPONSE
from ops_core.wire.times import TimeOut

AGENT_EXAMPLE: dict[str, Any] = {
    "namespace": "default",
    "name": "assistant",
    "description": "Answers questions with the help of a few tools.",
    "digest": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    "instructions": "You are a careful assistant.",
    "model": {
        "provider": "openai",
        "name": "gpt-5",
        "base_url": None,
        "native_tools": None,
        "max_output_tokens": None,
    },
    "planner": "react",
    "tools": ["calculator"],
    "mcp_servers": ["demo"],
    "limits": {
        "steps": 25,
        "seconds": 600,
        "tokens": None,
        "llm_seconds": None,
        "tool_seconds": None,
        "memory_tokens": None,
    },
    "input_schema": DEFAULT_INPUT_SCHEMA,
    "output_schema": None,
    "queue": "default",
    "max_attempts": 3,
    "timeout_seconds": None,
    "registered_at": "2026-11-21T09:58:00Z",
}


class ModelOut(BaseModel):
    """Which model an agent asks; null means the process's default."""

    model_config = RESPONSE

    provider: str | None = None
    name: str | None = None
    base_url: str | None = None
    native_tools: bool | None = None
    max_output_tokens: int | None = None


class AgentLimitsOut(BaseModel):
    """Bounds on one run; null leaves the default."""

    model_config = RESPONSE

    steps: int | None = None
    seconds: float | None = None
    tokens: int | None = None
    llm_seconds: float | None = None
    tool_seconds: float | None = None
    memory_tokens: int | None = None


class AgentOut(BaseModel):
    """A registered agent, in the version that new tasks get."""

    model_config = ConfigDict(**RESPONSE, json_schema_extra={"examples": [AGENT_EXAMPLE]})

    namespace: str
    name: str
    description: str
    digest: str = Field(description="Content hash of this version.")
    instructions: str
    model: ModelOut
    planner: str
    tools: list[str]
    mcp_servers: list[str]
    limits: AgentLimitsOut
    input_schema: dict[str, Any] = Field(description="JSON Schema (2020-12) of a task's input.")
    output_schema: dict[str, Any] | None = None
    queue: str
    max_attempts: int
    timeout_seconds: float | None = None
    registered_at: TimeOut

    @staticmethod
    def from_domain(agent: Agent) -> AgentOut:
        definition = agent.definition
        return AgentOut(
            namespace=agent.namespace,
            name=agent.name,
            description=definition.description,
            digest=agent.digest,
            instructions=definition.instructions,
            model=ModelOut.model_validate(definition.model),
            planner=definition.planner,
            tools=list(definition.tools),
            mcp_servers=list(definition.mcp_servers),
            limits=AgentLimitsOut.model_validate(definition.limits),
            input_schema=input_schema_of(definition),
            output_schema=definition.output_schema,
            queue=definition.queue,
            max_attempts=definition.max_attempts,
            timeout_seconds=definition.timeout_seconds,
            registered_at=agent.registered_at,
        )


class AgentListOut(BaseModel):
    """All agents, by name."""

    model_config = ConfigDict(
        **RESPONSE, json_schema_extra={"examples": [{"data": [AGENT_EXAMPLE], "next_cursor": None}]}
    )

    data: list[AgentOut]
    next_cursor: str | None = None

    @staticmethod
    def from_domain(agents: Sequence[Agent]) -> AgentListOut:
        return AgentListOut(data=[AgentOut.from_domain(agent) for agent in agents])
