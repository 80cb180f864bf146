"""What a planner is: two pure functions around a model, what to ask it and what its answer means."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

from agentkit.decisions import Decision
from agentkit.llm.base import BaseLlmClient, LlmResponse
from agentkit.tools.base import ToolSpec
from agentkit.transcript import Message


@dataclass(frozen=True, slots=True)
class Prompt:
    """One question to the model."""

    messages: tuple[Message, ...]
    #: Offered through the model's native tool calling; empty when the planner speaks in text.
    tools: tuple[ToolSpec, ...] = ()


class BasePlanner(ABC):
    """Decides what an agent does next.

    The agent owns the loop, the journal and the limits. A planner only says what to ask (`prompt`) and what the
    answer means (`decide`). Both are pure functions of their arguments, so a replayed run decides as it did before.
    """

    llm: BaseLlmClient
    #: Whether it makes anything of tools; one that does not is offered none.
    uses_tools: bool = True
    #: Whether an answer without tool calls is the final one as it stands, so that the model may be held to the agent's
    #: output schema; False for a planner whose protocol has words of its own around it.
    answers_plainly: bool = False

    @abstractmethod
    def prompt(self, transcript: Sequence[Message], tools: Sequence[ToolSpec]) -> Prompt:
        """What to ask the model, given the conversation so far (the goal is its first user message)."""

    @abstractmethod
    def decide(self, response: LlmResponse, tools: Sequence[ToolSpec]) -> Decision:
        """What the model's answer means. Call ids that the model did not give must be made from the response
        alone, so that a replay makes the same ones."""
