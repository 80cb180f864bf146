"""What an agent file holds, section by section, with the bounds of each."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from jsonschema import Draft202012Validator
from jsonschema.exceptions import SchemaError
from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator

from ops_core.domain.agent import AgentDefinition, AgentLimits, ApprovalRule, KeyRule, ModelChoice, RetryRule
from ops_core.domain.approval import Decision, OnTimeout
from ops_core.domain.task import QUEUE_NAME
from ops_core.services.expressions import expression_problem

AGENT_NAME = r"^[a-z0-9][a-z0-9_-]{0,62}$"
Name = Field(pattern=AGENT_NAME, description="Lower-case letters, digits, `-` and `_`.")

#: At most a year: what is longer (or infinite, which YAML can write) is a slip, and no clock could wait for it.
Seconds = Field(default=None, gt=0, le=366 * 86_400, allow_inf_nan=False)

AgentName = Annotated[str, Field(pattern=AGENT_NAME)]
ToolPattern = Annotated[str, Field(min_length=1, max_length=200)]
Group = Annotated[str, Field(min_length=1, max_length=128)]


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ModelSection(Section):
    """`model:` which model to ask; empty means the process's default."""

    provider: str | None = Field(default=None, max_length=200)
    name: str | None = Field(default=None, max_length=200)
    base_url: str | None = Field(default=None, max_length=2_000)
    native_tools: bool | None = None
    max_output_tokens: int | None = Field(default=None, gt=0, le=10_000_000)


class LimitsSection(Section):
    """`limits:` what bounds one run."""

    steps: int | None = Field(default=None, gt=0, le=10_000)
    seconds: float | None = Seconds
    tokens: int | None = Field(default=None, gt=0)
    llm_seconds: float | None = Seconds
    tool_seconds: float | None = Seconds
    memory_tokens: int | None = Field(default=None, gt=0)


class ApprovalSection(Section):
    """One of `approvals:` which calls need a person's word; without `tool`, the task itself."""

    tool: ToolPattern | None = None
    when: str | None = None
    message: str | None = Field(default=None, min_length=1, max_length=2_000)
    groups: list[Group] = Field(default=[], max_length=20)
    required: int = Field(default=1, ge=1, le=20)
    allowed: list[Decision] | None = Field(default=None, min_length=1, max_length=len(Decision))
    timeout_seconds: float | None = Seconds
    on_timeout: OnTimeout = OnTimeout.reject
    escalate_to: list[Group] = Field(default=[], max_length=20, validate_default=True)

    @field_validator("when")
    @classmethod
    def _is_condition(cls, text: str | None, info: ValidationInfo) -> str | None:
        # The tool is not among the fields when it is wrong itself: one mistake is told once.
        if text is None or "tool" not in info.data:
            return text
        return _expression(text, variable="input" if info.data["tool"] is None else "arguments")

    @field_validator("allowed")
    @classmethod
    def _can_go_on(cls, allowed: list[Decision] | None, info: ValidationInfo) -> list[Decision] | None:
        if allowed is None or "tool" not in info.data:
            return allowed
        if info.data["tool"] is None and Decision.respond in allowed:
            raise ValueError("cannot hold respond: a task that has not run has no call whose result to give")
        if not {Decision.approve, Decision.edit, Decision.respond} & set(allowed):
            raise ValueError("must hold approve, edit or respond: else there is nothing to ask")
        return allowed

    @field_validator("on_timeout")
    @classmethod
    def _has_time(cls, action: OnTimeout, info: ValidationInfo) -> OnTimeout:
        if action is OnTimeout.escalate and info.data.get("timeout_seconds", 1) is None:
            raise ValueError("escalate needs timeout_seconds")
        return action

    @field_validator("escalate_to")
    @classmethod
    def _goes_with_escalate(cls, groups: list[str], info: ValidationInfo) -> list[str]:
        action = info.data.get("on_timeout")
        if action is OnTimeout.escalate and not groups:
            raise ValueError("must name at least one group when on_timeout is escalate")
        if action is OnTimeout.reject and groups:
            raise ValueError("is not used: on_timeout is reject, not escalate")
        return groups

    def rule(self) -> ApprovalRule:
        """The domain's form."""
        sections = {"groups", "allowed", "escalate_to"}
        offered = (Decision.approve, Decision.edit, Decision.reject)
        default = offered if self.tool is None else (*offered, Decision.respond)
        return ApprovalRule(
            **self.model_dump(exclude=sections),
            groups=tuple(self.groups),
            allowed=default if self.allowed is None else tuple(dict.fromkeys(self.allowed)),
            escalate_to=tuple(self.escalate_to),
        )


class RetrySection(Section):
    """`retry:` the pauses between attempts."""

    base_seconds: float | None = Field(default=None, gt=0, le=86_400, allow_inf_nan=False)
    max_seconds: float | None = Field(default=None, gt=0, le=7 * 86_400, allow_inf_nan=False)

    @field_validator("max_seconds")
    @classmethod
    def _is_no_less(cls, longest: float | None, info: ValidationInfo) -> float | None:
        first = info.data.get("base_seconds")
        if longest is not None and first is not None and longest < first:
            raise ValueError("must be at least base_seconds")
        return longest


class KeySection(Section):
    """`fairness:` a key for each task."""

    key: str

    @field_validator("key")
    @classmethod
    def _is_expression(cls, text: str) -> str:
        return _expression(text, variable="input")

    def rule(self) -> KeyRule:
        """The domain's form."""
        return KeyRule(**self.model_dump())


class ConcurrencySection(KeySection):
    """`concurrency:` how many tasks with one key run at once."""

    limit: int = Field(ge=1, le=100_000)


class RateSection(KeySection):
    """`rate:` how many tasks with one key start in a time."""

    limit: int = Field(ge=1, le=100_000)
    per_seconds: float = Field(gt=0, le=31 * 86_400, allow_inf_nan=False)


class AgentFile(Section):
    """The whole of an agent file."""

    name: str = Name
    description: str = Field(default="", max_length=10_000)
    instructions: str = Field(default="", max_length=200_000)
    model: ModelSection = ModelSection()
    planner: Literal["react", "plan_execute", "one_call"] = "react"
    tools: list[ToolPattern] = Field(default=[], max_length=500)
    mcp_servers: list[ToolPattern] = Field(default=[], max_length=100)
    agents: list[AgentName] = Field(default=[], max_length=100)
    approvals: list[ApprovalSection] = Field(default=[], max_length=100)
    limits: LimitsSection = LimitsSection()
    input_schema: dict[str, Any] | None = None
    output_schema: dict[str, Any] | None = None
    queue: str = Field(default="default", pattern=QUEUE_NAME)
    max_attempts: int = Field(default=3, ge=1, le=100)
    retry: RetrySection | None = None
    timeout_seconds: float | None = Seconds
    queue_timeout_seconds: float | None = Seconds
    attempt_timeout_seconds: float | None = Seconds
    concurrency: ConcurrencySection | None = None
    rate: RateSection | None = None
    fairness: KeySection | None = None

    @field_validator("input_schema", "output_schema")
    @classmethod
    def _is_json_schema(cls, schema: dict[str, Any] | None) -> dict[str, Any] | None:
        if schema is not None:
            try:
                Draft202012Validator.check_schema(schema)
            except SchemaError as error:
                raise ValueError(f"not a JSON Schema: {error.message}") from error
        return schema

    def definition(self) -> AgentDefinition:
        """The domain's form of this file."""
        sections = {"model", "limits", "tools", "mcp_servers", "agents", "approvals", "retry"}
        keys = {"concurrency", "rate", "fairness"}
        return AgentDefinition(
            **self.model_dump(exclude=sections | keys),
            model=ModelChoice(**self.model.model_dump()),
            limits=AgentLimits(**self.limits.model_dump()),
            tools=tuple(self.tools),
            mcp_servers=tuple(self.mcp_servers),
            agents=tuple(dict.fromkeys(self.agents)),
            approvals=tuple(each.rule() for each in self.approvals),
            retry=RetryRule(**self.retry.model_dump()) if self.retry else None,
            concurrency=self.concurrency.rule() if self.concurrency else None,
            rate=self.rate.rule() if self.rate else None,
            fairness=self.fairness.rule() if self.fairness else None,
        )


#: Which section a key within the file belongs to, so that an unknown one is told what is known there.
SECTIONS: dict[str, type[Section]] = {
    "model": ModelSection,
    "limits": LimitsSection,
    "approvals": ApprovalSection,
    "retry": RetrySection,
    "concurrency": ConcurrencySection,
    "rate": RateSection,
    "fairness": KeySection,
}


def _expression(text: str, *, variable: str) -> str:
    if (problem := expression_problem(text, variable=variable)) is not None:
        raise ValueError(problem)
    return text
