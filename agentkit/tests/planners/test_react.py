"""Which protocol the ReAct planner speaks, and what it takes an answer to mean."""

from __future__ import annotations

import pytest

from agentkit import (
    Agent,
    Answer,
    CallTools,
    ConfigurationError,
    Finished,
    LimitReached,
    ReActPlanner,
    SystemMessage,
    ToolMessage,
    ToolRegistry,
    UserMessage,
    calculator,
)
from agentkit.testing import ScriptedLlm, call_of


def test_a_model_with_tool_calling_is_offered_the_tools_natively() -> None:
    planner = ReActPlanner(ScriptedLlm([]))
    prompt = planner.prompt([UserMessage("go")], [calculator.spec])
    assert prompt.messages == (UserMessage("go"),)
    assert prompt.tools == (calculator.spec,)


@pytest.mark.parametrize("native_tools", [True, False])
def test_the_text_protocol_is_spoken_on_demand_or_where_there_is_no_other(native_tools: bool) -> None:
    planner = ReActPlanner(ScriptedLlm([], native_tools=native_tools), protocol="text" if native_tools else "auto")
    prompt = planner.prompt([UserMessage("go")], [calculator.spec])
    assert isinstance(prompt.messages[0], SystemMessage)
    assert prompt.tools == ()


def test_native_calls_are_refused_to_a_model_without_them() -> None:
    with pytest.raises(ConfigurationError, match="no native tool calling"):
        ReActPlanner(ScriptedLlm([], native_tools=False), protocol="native")


def test_an_unknown_protocol_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="use auto, native or text"):
        ReActPlanner(ScriptedLlm([]), protocol="telepathy")  # type: ignore[arg-type]  # what the test is about


async def test_native_text_is_the_answer_and_native_calls_are_calls() -> None:
    planner, llm = ReActPlanner(ScriptedLlm([])), ScriptedLlm([" 42 \n", [call_of("calculator")]])
    answer = await llm.complete([], timeout_seconds=1)
    assert planner.decide(answer, []) == Answer("42")
    calls = await llm.complete([], timeout_seconds=1)
    assert planner.decide(calls, []) == CallTools((call_of("calculator"),))


async def test_a_whole_run_in_the_text_protocol() -> None:
    llm = ScriptedLlm(
        [
            "I will just say it: 42",
            'Thought: sums\nAction: calculator\nAction Input: {"expression": "6*7"}\nObservation: 41',
            "Thought: I know the final answer\nFinal Answer: 42",
        ],
        native_tools=False,
    )
    report = await Agent(planner=ReActPlanner(llm), tools=ToolRegistry([calculator])).run("What is 6 * 7?")
    assert report.outcome == Finished("42")
    assert llm.asked[2].messages[-1] == UserMessage("Observation: 42")
    assert "41" not in str(llm.asked[2].messages)
    [observed] = [m for m in report.transcript if isinstance(m, ToolMessage)]
    calls = [call for m in report.transcript for call in getattr(m, "tool_calls", ())]
    assert [result.call_id for result in observed.results] == [call.id for call in calls]


async def test_a_model_that_never_learns_the_format_ends_by_corrections() -> None:
    llm = ScriptedLlm(["just prose"] * 9, native_tools=False)
    report = await Agent(planner=ReActPlanner(llm)).run("go")
    assert isinstance(report.outcome, LimitReached)
    assert report.outcome.limit == "corrections"
