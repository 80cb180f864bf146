"""How a run ended and what it took."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, TypeAlias

from agentkit.limits import LimitName
from agentkit.llm.base import Usage
from agentkit.transcript import JsonValue, Message


@dataclass(frozen=True, slots=True)
class Finished:
    """The agent answered."""

    answer: str
    #: The answer as JSON when the agent has an output schema or type, which it fits; else None.
    output: JsonValue = None
    #: The output as a value of the type when the agent has an output type; else the same as `output`.
    value: Any = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class LimitReached:
    """A limit ended the run before there was an answer."""

    limit: LimitName
    #: One sentence for a person: what was used up.
    detail: str


Outcome: TypeAlias = Finished | LimitReached


@dataclass(frozen=True, slots=True, kw_only=True)
class RunReport:
    """What a run gives back. Replayed steps are counted as they were when they were first made."""

    outcome: Outcome
    usage: Usage
    #: Model calls.
    steps: int
    tool_calls: int
    #: Active time of model calls and tool calls together.
    seconds: float
    #: What is left of the plan, as the model wrote it last; empty for a planner without one.
    plan: tuple[str, ...] = ()
    #: The whole conversation, also what the memory no longer shows to the model.
    transcript: tuple[Message, ...]
