"""Agents as JSON and as protobuf: all that is in a definition is shown, alike through both doors."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from google.protobuf.json_format import MessageToDict
from pydantic import BaseModel

from ops_core.domain.agent import (
    Agent,
    AgentDefinition,
    AgentLimits,
    ApprovalRule,
    KeyRule,
    ModelChoice,
    RetryRule,
)
from ops_core.domain.approval import Decision, OnTimeout
from ops_core.wire.agents import AgentLimitsOut, AgentOut, ApprovalRuleOut, KeyRuleOut, ModelOut, RetryRuleOut
from ops_core.wire.protobuf_agents import agent_message

FULL = AgentDefinition(
    name="clerk",
    agents=("reckoner",),
    approvals=(
        ApprovalRule(
            tool="refund",
            when="arguments.amount > 50",
            message="Refund {amount}.",
            groups=("finance",),
            required=2,
            allowed=(Decision.approve, Decision.reject),
            timeout_seconds=60,
            on_timeout=OnTimeout.escalate,
            escalate_to=("bosses",),
        ),
        ApprovalRule(),
    ),
    retry=RetryRule(base_seconds=2),
    queue_timeout_seconds=3600,
    attempt_timeout_seconds=300,
    concurrency=KeyRule(key="input.customer", limit=3),
    rate=KeyRule(key="input.customer", limit=100, per_seconds=60),
    fairness=KeyRule(key="input.tenant"),
)
#: What a definition got with approvals, waits and limits.
NEW = [
    *("agents", "approvals", "retry", "queue_timeout_seconds", "attempt_timeout_seconds"),
    *("concurrency", "rate", "fairness"),
]


def agent(definition: AgentDefinition) -> Agent:
    return Agent(
        namespace="default",
        name=definition.name,
        digest=definition.digest,
        definition=definition,
        registered_at=datetime(2026, 11, 21, tzinfo=UTC),
    )


def as_rest(definition: AgentDefinition) -> dict[str, Any]:
    whole = json.loads(AgentOut.from_domain(agent(definition)).model_dump_json())
    return {name: whole[name] for name in NEW}


def as_grpc(definition: AgentDefinition) -> dict[str, Any]:
    message = agent_message(agent(definition))
    return {
        name: value for name, value in MessageToDict(message, preserving_proto_field_name=True).items() if name in NEW
    }


@pytest.mark.parametrize(
    ("kind", "shown"),
    [
        (AgentDefinition, AgentOut),
        (ModelChoice, ModelOut),
        (AgentLimits, AgentLimitsOut),
        (ApprovalRule, ApprovalRuleOut),
        (RetryRule, RetryRuleOut),
        (KeyRule, KeyRuleOut),
    ],
)
def test_all_that_is_in_a_definition_is_shown(kind: Any, shown: type[BaseModel]) -> None:
    assert set(kind.__dataclass_fields__) <= set(shown.model_fields)


def test_policy_retries_time_outs_and_keys_are_shown_over_rest() -> None:
    assert as_rest(FULL) == {
        "agents": ["reckoner"],
        "approvals": [
            {
                "tool": "refund",
                "when": "arguments.amount > 50",
                "message": "Refund {amount}.",
                "groups": ["finance"],
                "required": 2,
                "allowed": ["approve", "reject"],
                "timeout_seconds": 60,
                "on_timeout": "escalate",
                "escalate_to": ["bosses"],
            },
            {
                "tool": None,
                "when": None,
                "message": None,
                "groups": [],
                "required": 1,
                "allowed": ["approve", "edit", "reject", "respond"],
                "timeout_seconds": None,
                "on_timeout": "reject",
                "escalate_to": [],
            },
        ],
        "retry": {"base_seconds": 2, "max_seconds": None},
        "queue_timeout_seconds": 3600,
        "attempt_timeout_seconds": 300,
        "concurrency": {"key": "input.customer", "limit": 3, "per_seconds": None},
        "rate": {"key": "input.customer", "limit": 100, "per_seconds": 60},
        "fairness": {"key": "input.tenant", "limit": None, "per_seconds": None},
    }


def test_policy_retries_time_outs_and_keys_are_shown_over_grpc() -> None:
    assert as_grpc(FULL) == {
        "agents": ["reckoner"],
        "approvals": [
            {
                "tool": "refund",
                "when": "arguments.amount > 50",
                "message": "Refund {amount}.",
                "groups": ["finance"],
                "required": 2,
                "allowed": ["DECISION_APPROVE", "DECISION_REJECT"],
                "timeout_seconds": 60,
                "on_timeout": "ON_TIMEOUT_ESCALATE",
                "escalate_to": ["bosses"],
            },
            {
                "required": 1,
                "allowed": ["DECISION_APPROVE", "DECISION_EDIT", "DECISION_REJECT", "DECISION_RESPOND"],
                "on_timeout": "ON_TIMEOUT_REJECT",
            },
        ],
        "retry": {"base_seconds": 2},
        "queue_timeout_seconds": 3600,
        "attempt_timeout_seconds": 300,
        "concurrency": {"key": "input.customer", "limit": 3},
        "rate": {"key": "input.customer", "limit": 100, "per_seconds": 60},
        "fairness": {"key": "input.tenant"},
    }


def test_an_agent_without_them_shows_that_it_has_none() -> None:
    bare = AgentDefinition(name="plain")
    assert as_grpc(bare) == {}
    assert as_rest(bare) == {name: [] if name in ("agents", "approvals") else None for name in NEW}
