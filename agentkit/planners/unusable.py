"""Answers that no planner can use: nothing at all, cut short, a bungled call, or more calls than a step may make."""

from __future__ import annotations

import json
from collections.abc import Sequence

from agentkit.decisions import Correct
from agentkit.llm.base import LlmResponse, StopReason
from agentkit.transcript import ToolCall


def correction_for(response: LlmResponse) -> Correct | None:
    """What to tell the model about an answer that cannot be used, or None when a planner can read it."""
    calls = response.message.tool_calls
    if response.stop is StopReason.bungled_call:
        return Correct(f"Your last answer could not be used, and no tool was called: {response.problem}. Try again.")
    if response.stop is StopReason.length and calls:
        return Correct(
            "Your last answer was cut off by the limit on output tokens, so its tool calls were not made. "
            "Make fewer or shorter calls."
        )
    if response.stop is StopReason.length:
        return Correct("Your last answer was cut off by the limit on output tokens. Answer again, and be much shorter.")
    if not calls and not response.message.text.strip():
        return Correct("Your last answer was empty. Call a tool, or give your final answer.")
    return None


def too_many_calls(asked: int, *, allowed: int) -> Correct:
    """What to tell the model about an answer with more calls than one step may make."""
    return Correct(
        f"Your last answer asked for {asked} tool calls; none was made. Ask for at most {allowed} at a time."
    )


def unwritable(calls: Sequence[ToolCall]) -> Correct | None:
    """What to tell of calls whose arguments cannot be written down; None when all can."""
    for call in calls:
        try:
            json.dumps(call.arguments)
        except (RecursionError, ValueError):
            return Correct(f"The arguments of your call of {call.name!r} are nested too deeply. Ask with simpler ones.")
    return None
