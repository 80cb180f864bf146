"""One question, one answer."""

from __future__ import annotations

from agentkit import Agent, Finished, OneCallPlanner, ToolRegistry, UserMessage, calculator
from agentkit.testing import ScriptedLlm, call_of


async def test_the_model_is_asked_once_without_tools() -> None:
    llm = ScriptedLlm(["42"])
    report = await Agent(planner=OneCallPlanner(llm), tools=ToolRegistry([calculator])).run("go")
    assert report.outcome == Finished("42")
    assert llm.asked[0].tools == ()


async def test_a_tool_call_nobody_offered_is_corrected() -> None:
    llm = ScriptedLlm([[call_of("calculator")], "42"])
    report = await Agent(planner=OneCallPlanner(llm)).run("go")
    assert report.outcome == Finished("42")
    assert llm.asked[1].messages[-1] == UserMessage("There are no tools here. Answer in plain text.")
