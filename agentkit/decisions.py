"""What a planner can decide after it has read the model's answer: a closed union."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from agentkit.transcript import ToolCall


@dataclass(frozen=True, slots=True)
class CallTools:
    """Run these calls and show the model what came of them."""

    calls: tuple[ToolCall, ...]


@dataclass(frozen=True, slots=True)
class Answer:
    """The run is over; this is its answer."""

    text: str


@dataclass(frozen=True, slots=True)
class Correct:
    """The answer could not be used: tell the model why, and ask again."""

    observation: str


@dataclass(frozen=True, slots=True)
class Plan:
    """The answer is a plan, the first or a new one: work by it from now on."""

    steps: tuple[str, ...]


Decision: TypeAlias = CallTools | Answer | Correct | Plan
