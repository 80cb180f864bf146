"""The text protocol from the demo model's side: reading tools and observations, writing actions and answers."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from agentkit.llm.demo.skills import Observation
from agentkit.tools.base import ToolSpec
from agentkit.transcript import AssistantMessage, Message, SystemMessage

if TYPE_CHECKING:
    from agentkit.llm.demo.conversation import Turn

_OBSERVATION = re.compile(r"^Observation(?: \d+ \([^)]*\))?: (Error: )?", re.MULTILINE)


def speaks_text(messages: Sequence[Message]) -> bool:
    """Whether the instructions ask for Thought / Action / Observation."""
    return any(isinstance(each, SystemMessage) and "Action Input:" in each.text for each in messages)


def tools_in(messages: Sequence[Message]) -> list[ToolSpec]:
    """The tools that the instructions list, one JSON object a line."""
    lines = [line for each in messages if isinstance(each, SystemMessage) for line in each.text.splitlines()]
    return [spec for line in lines if line.startswith('{"name"') and (spec := _spec(line))]


def observations_in(text: str) -> list[Observation]:
    """The observations a user message holds in the text protocol; empty when it is none."""
    if not _OBSERVATION.match(text):
        return []
    marks = list(_OBSERVATION.finditer(text))
    if "Observation:" in marks[0].group():
        # A single observation: what looks like another one is part of its text.
        marks = marks[:1]
    ends = [mark.start() for mark in marks[1:]] + [len(text)]
    return [
        Observation(text[mark.end() : end].strip(), bool(mark.group(1))) for mark, end in zip(marks, ends, strict=True)
    ]


def as_text(turn: Turn) -> AssistantMessage:
    """The turn in the text protocol; it makes one call at a time."""
    if not turn.calls:
        return AssistantMessage(f"Thought: I know the final answer\nFinal Answer: {turn.text}")
    call = turn.calls[0]
    arguments = json.dumps(call.arguments, ensure_ascii=False)
    return AssistantMessage(f"Thought: {turn.text}\nAction: {call.tool}\nAction Input: {arguments}")


def _spec(line: str) -> ToolSpec | None:
    try:
        body = json.loads(line)
        return ToolSpec(body["name"], body["description"], body["arguments"])
    except (ValueError, KeyError):
        return None
