"""The planner that has the model write a plan first, carry it out step by step, and write it anew when a step fails.

Plan-and-Solve, Wang et al. 2023 (https://arxiv.org/abs/2305.04091), with the plan revised as in the plan-and-execute
agents that came after it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from agentkit.decisions import Correct, Decision, Plan
from agentkit.llm.base import BaseLlmClient, LlmResponse
from agentkit.planners.base import BasePlanner, Prompt
from agentkit.planners.react import ReActPlanner
from agentkit.planners.templates import Template, tool_lines
from agentkit.tools.base import ToolSpec
from agentkit.transcript import Message, PlanMessage, SystemMessage, ToolMessage, without_system

_HEADER = re.compile(r"\A[\s#*_]*(?:revised\s+)?plan[*_]*:[*_]*\s*$", re.IGNORECASE | re.MULTILINE)
_STEP = re.compile(r"^\s*(?:\d+[.)]|[-*])\s+(.+?)\s*$", re.MULTILINE)
_FAILED = (
    "The last call failed. If the step cannot be done in that way, write the revised plan now; otherwise try again."
)


class PlanExecutePlanner(BasePlanner):
    """Plans before it acts. The plan stands in the journal, in the run's report and before the model, newest only.

    A model that answers at once instead of planning has answered: a goal may need no plan.
    """

    def __init__(
        self,
        llm: BaseLlmClient,
        *,
        most_steps: int = 12,
        protocol: Literal["auto", "native", "text"] = "auto",
        plan_template: Path | None = None,
        carry_out_template: Path | None = None,
    ) -> None:
        """
        Args:
            most_steps: Of a plan; a longer one goes back to the model.
            protocol: How the plan is carried out; as in `ReActPlanner`.
            plan_template: In place of `plan_prompt.txt`, with the same places.
            carry_out_template: In place of `carry_out_prompt.txt`, with the same places.

        Raises:
            ConfigurationError: a template cannot be read, or lacks a place.
        """
        self.llm = llm
        self._most_steps = most_steps
        self._plan = Template.at(plan_template, "plan_prompt.txt", needs=frozenset({"tools"}))
        self._carry_out = Template.at(carry_out_template, "carry_out_prompt.txt", needs=frozenset({"plan"}))
        self._acting = ReActPlanner(llm, protocol=protocol)

    def prompt(self, transcript: Sequence[Message], tools: Sequence[ToolSpec]) -> Prompt:
        plans = [message for message in transcript if isinstance(message, PlanMessage)]
        conversation = [message for message in transcript if not isinstance(message, PlanMessage)]
        if not plans:
            told = self._plan.filled(tools=tool_lines(tools), most=str(self._most_steps))
            return Prompt(_with_system(conversation, told))
        failed = isinstance(transcript[-1], ToolMessage) and any(each.is_error for each in transcript[-1].results)
        told = self._carry_out.filled(plan=plans[-1].text)
        return self._acting.prompt(_with_system(conversation, f"{told}\n\n{_FAILED}" if failed else told), tools)

    def decide(self, response: LlmResponse, tools: Sequence[ToolSpec]) -> Decision:
        text = response.message.text
        if response.message.tool_calls or not (header := _HEADER.search(text)):
            return self._acting.decide(response, tools)
        steps = tuple(_STEP.findall(text[header.end() :]))
        if not steps:
            return Correct("Your plan has no steps. Write 'Plan:' and then its steps, one numbered line each.")
        if len(steps) > self._most_steps:
            return Correct(f"Your plan has {len(steps)} steps; at most {self._most_steps} can be carried out.")
        return Plan(steps)


def _with_system(conversation: Sequence[Message], told: str) -> tuple[Message, ...]:
    instructions, rest = without_system(conversation)
    return SystemMessage("\n\n".join(text for text in (instructions, told) if text)), *rest
