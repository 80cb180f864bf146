"""The scripted model and the counting tool."""

from __future__ import annotations

import pytest

from agentkit import LlmError, RateLimited, StopReason, ToolContext, UserMessage
from agentkit.testing import CountingTool, ScriptedLlm, call_of


async def test_replies_come_in_order_and_questions_are_kept() -> None:
    llm = ScriptedLlm(["text", [call_of("a", n=1)], RateLimited("later")])
    assert (await llm.complete([UserMessage("1")], timeout_seconds=1)).message.text == "text"
    assert (await llm.complete([UserMessage("2")], timeout_seconds=1)).stop is StopReason.tool_calls
    with pytest.raises(RateLimited):
        await llm.complete([], timeout_seconds=1)
    with pytest.raises(LlmError, match="no reply left for question 4"):
        await llm.complete([], timeout_seconds=1)
    assert [asked.messages for asked in llm.asked[:2]] == [(UserMessage("1"),), (UserMessage("2"),)]


async def test_a_counting_tool_keeps_its_calls() -> None:
    count = CountingTool(answer="yes")
    context = ToolContext("r", "1/tool/1", "k", 1)
    assert (await count.call(call_of("count", n=1), context)).content == "yes"
    assert count.calls == [(call_of("count", n=1), context)]
