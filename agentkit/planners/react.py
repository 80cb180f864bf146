"""The planner that lets a model reason and act in turns (ReAct), by native tool calls or by a text protocol."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from agentkit.decisions import Answer, CallTools, Decision
from agentkit.errors import ConfigurationError
from agentkit.llm.base import BaseLlmClient, LlmResponse
from agentkit.planners import react_text
from agentkit.planners.base import BasePlanner, Prompt
from agentkit.planners.templates import Template
from agentkit.tools.base import ToolSpec
from agentkit.transcript import Message


class ReActPlanner(BasePlanner):
    """Shows the model the conversation and the tools; it calls tools until it answers."""

    def __init__(
        self,
        llm: BaseLlmClient,
        *,
        protocol: Literal["auto", "native", "text"] = "auto",
        template: Path | None = None,
    ) -> None:
        """
        Args:
            protocol: `native` is the model's own tool calling, `text` is Thought / Action / Observation, `auto`
                is native where the model has it.
            template: Of the text protocol, in place of `react_prompt.txt`, with the same places. The native one has no
                words of its own.

        Raises:
            ConfigurationError: the protocol is unknown, or native and the model has no tool calling; or the template
                cannot be read, or lacks a place.
        """
        if protocol not in ("auto", "native", "text"):
            raise ConfigurationError(f"protocol {protocol!r} is unknown: use auto, native or text")
        if protocol == "native" and not llm.native_tools:
            raise ConfigurationError(f"model {llm.model!r} has no native tool calling: use protocol auto or text")
        self.llm = llm
        self._native = protocol == "native" or (protocol == "auto" and llm.native_tools)
        self.answers_plainly = self._native
        self._template = Template.at(template, "react_prompt.txt", needs=frozenset({"tools"}))

    def prompt(self, transcript: Sequence[Message], tools: Sequence[ToolSpec]) -> Prompt:
        if self._native:
            return Prompt(tuple(transcript), tuple(tools))
        return Prompt(react_text.render(transcript, tools, self._template))

    def decide(self, response: LlmResponse, tools: Sequence[ToolSpec]) -> Decision:
        message = response.message
        if message.tool_calls:
            return CallTools(message.tool_calls)
        return Answer(message.text.strip()) if self._native else react_text.read(message.text)
