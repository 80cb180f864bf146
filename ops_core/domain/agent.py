"""What an agent is: a definition, and the content hash that a task is pinned to."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any

from ops_core.domain.approval import Decision, OnTimeout
from ops_core.domain.task import JsonObject


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelChoice:
    """Which model an agent asks. None means the process's default (AGENTKIT_LLM_PROVIDER, AGENTKIT_LLM_MODEL)."""

    provider: str | None = None
    name: str | None = None
    base_url: str | None = None
    #: False for a model that cannot call tools: it is then asked in a text protocol. None leaves it to the provider.
    native_tools: bool | None = None
    #: Longest answer, in tokens; None leaves it to the provider.
    max_output_tokens: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentLimits:
    """Bounds on one run; None leaves agentkit's default."""

    steps: int | None = None
    seconds: float | None = None
    tokens: int | None = None
    llm_seconds: float | None = None
    tool_seconds: float | None = None
    #: How much of the conversation the model is shown, by estimate.
    memory_tokens: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ApprovalRule:
    """Which of an agent's tool calls need a person's word, or whether the task itself does."""

    #: Name or pattern (`refund`, `github.*`) of the tools; None when the rule is about the task itself.
    tool: str | None = None
    #: CEL condition on `arguments` (or on `input`, when the rule is about the task); None for always.
    when: str | None = None
    #: For the person: what will happen; `{amount}` stands for an argument. None for the tool and its arguments.
    message: str | None = None
    groups: tuple[str, ...] = ()
    required: int = 1
    allowed: tuple[Decision, ...] = (Decision.approve, Decision.edit, Decision.reject, Decision.respond)
    timeout_seconds: float | None = None
    on_timeout: OnTimeout = OnTimeout.reject
    escalate_to: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryRule:
    """How a failed attempt is tried again; None leaves ours."""

    base_seconds: float | None = None
    max_seconds: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyRule:
    """A key for each of an agent's tasks, made from its input, and what it bounds."""

    #: CEL expression on `input`, such as `input.customer`.
    key: str
    #: Tasks with one key that run at once (`concurrency`), or start within `per_seconds` (`rate`).
    limit: int | None = None
    per_seconds: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentDefinition:
    """One version of an agent, as a file or the API gives it. Immutable: a change is another version."""

    name: str
    description: str = ""
    instructions: str = ""
    model: ModelChoice = field(default_factory=ModelChoice)
    #: `react`, `plan_execute` or `one_call`.
    planner: str = "react"
    #: Names or patterns (`calculator`, `github.*`) of the built-in and plugged-in tools it may use.
    tools: tuple[str, ...] = ()
    #: Names of configured MCP servers whose tools it may use.
    mcp_servers: tuple[str, ...] = ()
    limits: AgentLimits = field(default_factory=AgentLimits)
    input_schema: JsonObject | None = None
    output_schema: JsonObject | None = None
    #: Queue of its tasks, unless the submission names one.
    queue: str = "default"
    max_attempts: int = 3
    #: Wall time of a task in seconds, unless the submission names one; None for no limit.
    timeout_seconds: float | None = None
    #: Names of agents it may call as tools (`agent.<name>`), each call a child task.
    agents: tuple[str, ...] = ()
    approvals: tuple[ApprovalRule, ...] = ()
    retry: RetryRule | None = None
    #: How long a task may wait to be claimed for the first time.
    queue_timeout_seconds: float | None = None
    #: How long one claim may run a task.
    attempt_timeout_seconds: float | None = None
    #: At most `limit` tasks with one key run at once.
    concurrency: KeyRule | None = None
    #: At most `limit` tasks with one key start within `per_seconds`.
    rate: KeyRule | None = None
    #: Tasks with different keys take turns.
    fairness: KeyRule | None = None

    def to_json(self) -> JsonObject:
        """The definition as plain JSON, the form that is stored and hashed.

        What is left open in a section is left out, and so is what was added to agents later and is not used: a field
        that comes later changes no digest.
        """
        body: JsonObject = json.loads(json.dumps(asdict(self)))
        for section in ("model", "limits", "retry", "concurrency", "rate", "fairness"):
            if body[section] is not None:
                body[section] = {name: value for name, value in body[section].items() if value is not None}
        for name in _ADDED_LATER:
            if not body[name]:
                del body[name]
        return body

    @staticmethod
    def from_json(body: JsonObject) -> AgentDefinition:
        """The inverse of `to_json`. Fields this version does not know are ignored: a newer process wrote them."""
        known = _known(AgentDefinition, body)
        rules = [_approval_rule(rule) for rule in known.pop("approvals", ())]
        sections: dict[str, type[Any]] = {
            "model": ModelChoice,
            "limits": AgentLimits,
            "retry": RetryRule,
            "concurrency": KeyRule,
            "rate": KeyRule,
            "fairness": KeyRule,
        }
        read = {name: kind(**_known(kind, known.pop(name))) for name, kind in sections.items() if known.get(name)}
        names: dict[str, Any] = {name: tuple(known.pop(name, ())) for name in ("tools", "mcp_servers", "agents")}
        rest = {name: value for name, value in known.items() if name not in sections}
        return AgentDefinition(**rest, **names, **read, approvals=tuple(rules))

    @property
    def digest(self) -> str:
        """SHA-256 (hex) of the canonical JSON."""
        text = json.dumps(self.to_json(), sort_keys=True, ensure_ascii=False, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class Agent:
    """A registered agent: its name, and the version new tasks get."""

    namespace: str
    name: str
    digest: str
    definition: AgentDefinition
    registered_at: datetime


#: Fields that a definition got after the first release: left out where they say nothing.
_ADDED_LATER = (
    *("agents", "approvals", "retry", "queue_timeout_seconds", "attempt_timeout_seconds"),
    *("concurrency", "rate", "fairness"),
)


def _known(kind: type[Any], body: JsonObject) -> JsonObject:
    return {name: value for name, value in body.items() if name in kind.__dataclass_fields__}


def _approval_rule(body: JsonObject) -> ApprovalRule:
    known = _known(ApprovalRule, body)
    for name in ("groups", "escalate_to"):
        known[name] = tuple(known.get(name, ()))
    if "allowed" in known:
        known["allowed"] = tuple(Decision(one) for one in known["allowed"])
    if "on_timeout" in known:
        known["on_timeout"] = OnTimeout(known["on_timeout"])
    return ApprovalRule(**known)
