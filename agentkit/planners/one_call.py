"""The planner that asks the model once and takes what it says as the answer."""

from __future__ import annotations

from collections.abc import Sequence

from agentkit.decisions import Answer, Correct, Decision
from agentkit.llm.base import BaseLlmClient, LlmResponse
from agentkit.planners.base import BasePlanner, Prompt
from agentkit.tools.base import ToolSpec
from agentkit.transcript import Message


class OneCallPlanner(BasePlanner):
    """One question, one answer, no tools. An answer that cannot be used is asked for again."""

    uses_tools = False
    answers_plainly = True

    def __init__(self, llm: BaseLlmClient) -> None:
        self.llm = llm

    def prompt(self, transcript: Sequence[Message], tools: Sequence[ToolSpec]) -> Prompt:
        return Prompt(tuple(transcript))

    def decide(self, response: LlmResponse, tools: Sequence[ToolSpec]) -> Decision:
        if response.message.tool_calls:
            return Correct("There are no tools here. Answer in plain text.")
        return Answer(response.message.text.strip())
