"""Agents as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from ops_core.domain.agent import Agent, KeyRule
from ops_core.domain.approval import Decision, OnTimeout
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
    "agents": ["reckoner"],
    "approvals": [
        {
            "tool": "demo.read",
            "when": 'arguments.name.startsWith("widget")',
            "message": "Read the document {name}.",
            "groups": ["finance"],
            "required": 1,
            "allowed": ["approve", "edit", "reject", "respond"],
            "timeout_seconds": 86_400,
            "on_timeout": "reject",
            "escalate_to": [],
        }
    ],
    "retry": {"base_seconds": 2, "max_seconds": 120},
    "queue_timeout_seconds": None,
    "attempt_timeout_seconds": 300,
    "concurrency": {"key": "input.customer", "limit": 3, "per_seconds": None},
    "rate": None,
    "fairness": None,
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


class ApprovalRuleOut(BaseModel):
    """Which of an agent's tool calls need a person's word, or that the task itself does."""

    model_config = RESPONSE

    tool: str | None = Field(default=None, description="Name or pattern; null when the rule is about the task itself.")
    when: str | None = Field(default=None, description="Condition in CEL; null for always.")
    message: str | None = Field(default=None, description="What the person is told; null for tool and arguments.")
    groups: list[str] = Field(description="Who may decide; empty for everybody who may decide at all.")
    required: int = Field(description="How many different people must approve.")
    allowed: list[Decision] = Field(description="What can be said.")
    timeout_seconds: float | None = Field(default=None, description="How long it waits; null for ever.")
    on_timeout: OnTimeout
    escalate_to: list[str] = Field(description="Who is asked next when nobody decides in time.")


class RetryRuleOut(BaseModel):
    """The pauses between attempts; null leaves the default."""

    model_config = RESPONSE

    base_seconds: float | None = None
    max_seconds: float | None = None


class KeyRuleOut(BaseModel):
    """A key for each task, made from its input, and what it bounds."""

    model_config = RESPONSE

    key: str = Field(description="Expression in CEL on `input`.")
    limit: int | None = None
    per_seconds: float | None = None


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
    agents: list[str] = Field(default_factory=list, description="Those it may call, as the tools `agent.<name>`.")
    approvals: list[ApprovalRuleOut] = Field(
        default_factory=list, description="What needs a person's word; the first rule that fits decides."
    )
    retry: RetryRuleOut | None = None
    queue_timeout_seconds: float | None = None
    attempt_timeout_seconds: float | None = None
    concurrency: KeyRuleOut | None = Field(default=None, description="`limit` tasks with one key run at once.")
    rate: KeyRuleOut | None = Field(default=None, description="`limit` tasks with one key start in `per_seconds`.")
    fairness: KeyRuleOut | None = Field(default=None, description="Tasks with different keys take turns.")
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
            agents=list(definition.agents),
            approvals=[ApprovalRuleOut.model_validate(rule) for rule in definition.approvals],
            retry=None if definition.retry is None else RetryRuleOut.model_validate(definition.retry),
            queue_timeout_seconds=definition.queue_timeout_seconds,
            attempt_timeout_seconds=definition.attempt_timeout_seconds,
            concurrency=_key_rule(definition.concurrency),
            rate=_key_rule(definition.rate),
            fairness=_key_rule(definition.fairness),
            registered_at=agent.registered_at,
        )


def _key_rule(rule: KeyRule | None) -> KeyRuleOut | None:
    return None if rule is None else KeyRuleOut.model_validate(rule)


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
