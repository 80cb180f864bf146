"""Agents as protobuf messages."""

from __future__ import annotations

from ops_core.domain.agent import Agent, AgentLimits, ApprovalRule, KeyRule, ModelChoice, RetryRule
from ops_core.services.input_schema import input_schema_of
from ops_core.wire.pb.v1 import agents_pb2 as pb
from ops_core.wire.protobuf_approvals import DECISION_NUMBERS, ON_TIMEOUT_NUMBERS
from ops_core.wire.protobuf_json import put_object
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
        agents=definition.agents,
        approvals=map(_approval_rule_message, definition.approvals),
        retry=_retry_rule_message(definition.retry),
        queue_timeout_seconds=definition.queue_timeout_seconds,
        attempt_timeout_seconds=definition.attempt_timeout_seconds,
        concurrency=_key_rule_message(definition.concurrency),
        rate=_key_rule_message(definition.rate),
        fairness=_key_rule_message(definition.fairness),
    )
    put_object(message, "input_schema", input_schema_of(definition))
    put_object(message, "output_schema", definition.output_schema)
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


def _approval_rule_message(rule: ApprovalRule) -> pb.ApprovalRule:
    return pb.ApprovalRule(
        tool=rule.tool,
        when=rule.when,
        message=rule.message,
        groups=rule.groups,
        required=rule.required,
        allowed=[DECISION_NUMBERS[one] for one in rule.allowed],
        timeout_seconds=rule.timeout_seconds,
        on_timeout=ON_TIMEOUT_NUMBERS[rule.on_timeout],
        escalate_to=rule.escalate_to,
    )


def _retry_rule_message(rule: RetryRule | None) -> pb.RetryRule | None:
    return None if rule is None else pb.RetryRule(base_seconds=rule.base_seconds, max_seconds=rule.max_seconds)


def _key_rule_message(rule: KeyRule | None) -> pb.KeyRule | None:
    return None if rule is None else pb.KeyRule(key=rule.key, limit=rule.limit, per_seconds=rule.per_seconds)
