"""What an agent is: a definition, and the content hash that a task is pinned to."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field
from datetime import datetime

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
class AgentDefinition:
    """One version of an agent, as a file or the API gives it. Immutable: a change is another version."""

    name: str
    description: str = ""
    instructions: str = ""
    model: ModelChoice = field(default_factory=ModelChoice)
    #: `react` or `one_call`.
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

    def to_json(self) -> JsonObject:
        """The definition as plain JSON, the form that is stored and hashed.

        What is left open in `model` and `limits` is left out, so that a field they get later changes no digest.
        """
        body = asdict(self)
        for section in ("model", "limits"):
            body[section] = {name: value for name, value in body[section].items() if value is not None}
        body["tools"], body["mcp_servers"] = list(self.tools), list(self.mcp_servers)
        return body

    @staticmethod
    def from_json(body: JsonObject) -> AgentDefinition:
        """The inverse of `to_json`. Fields this version does not know are ignored: a newer process wrote them."""
        known = {k: v for k, v in body.items() if k in AgentDefinition.__dataclass_fields__}
        model, limits = known.pop("model", {}), known.pop("limits", {})
        return AgentDefinition(
            **{
                **known,
                "tools": tuple(known.get("tools", ())),
                "mcp_servers": tuple(known.get("mcp_servers", ())),
            },
            model=ModelChoice(**{k: v for k, v in model.items() if k in ModelChoice.__dataclass_fields__}),
            limits=AgentLimits(**{k: v for k, v in limits.items() if k in AgentLimits.__dataclass_fields__}),
        )

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
