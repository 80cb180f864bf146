"""Answers that no planner can use: nothing at all, cut short, or more calls than a step may make."""

from __future__ import annotations

from agentkit.decisions import Correct
from agentkit.llm.base import LlmResponse, StopReason


def correction_for(response: LlmResponse, *, calls_per_step: int) -> Correct | None:
    """What to tell the model about an answer that cannot be used, or None when a planner can read it."""
    calls = response.message.tool_calls
    if response.stop is StopReason.length and calls:
        return Correct(
            "Your last answer was cut off by the limit on output tokens, so its tool calls were not made. "
            "Make fewer or shorter calls."
        )
    if response.stop is StopReason.length:
        return Correct("Your last answer was cut off by the limit on output tokens. Answer again, and be much shorter.")
    if not calls and not response.message.text.strip():
        return Correct("Your last answer was empty. Call a tool, or give your final answer.")
    if len(calls) > calls_per_step:
        return Correct(
            f"Your last answer asked for {len(calls)} tool calls; none was made. "
            f"Ask for at most {calls_per_step} at a time."
        )
    return None
