"""A plan comes first, is carried out, seen, and written anew when a step fails."""

from __future__ import annotations

from pathlib import Path

import pytest

from agentkit import (
    Agent,
    ConfigurationError,
    Correct,
    Finished,
    LlmResponse,
    MemoryJournal,
    Plan,
    PlanExecutePlanner,
    PlanMessage,
    Prompt,
    StopReason,
    SystemMessage,
    ToolMessage,
    ToolRegistry,
    ToolResult,
    Usage,
    UserMessage,
    calculator,
)
from agentkit.testing import ScriptedLlm, call_of
from agentkit.transcript import AssistantMessage, Message

GOAL = UserMessage("go")
PLAN = PlanMessage("The plan:\n1. add\n2. tell", ("add", "tell"))
FIRST = "Plan:\n1. Add the numbers\n2. Tell the sum"
REVISED = "Revised plan:\n1. Tell the sum"


def planner() -> PlanExecutePlanner:
    return PlanExecutePlanner(ScriptedLlm([]), most_steps=3)


def said(text: str) -> LlmResponse:
    return LlmResponse(AssistantMessage(text), StopReason.end, Usage(), "scripted", "scripted")


def system_of(prompt: Prompt) -> str:
    assert isinstance(prompt.messages[0], SystemMessage)
    return prompt.messages[0].text


def test_before_there_is_a_plan_the_tools_are_told_and_cannot_be_called() -> None:
    prompt = planner().prompt([SystemMessage("Be kind."), GOAL], [calculator.spec])

    assert prompt.tools == ()
    assert system_of(prompt).startswith("Be kind.")
    assert "calculator" in system_of(prompt)
    assert "at most 3 steps" in system_of(prompt)


def test_with_a_plan_the_tools_are_offered_and_the_newest_plan_is_shown() -> None:
    newer = PlanMessage("The plan:\n1. tell", ("tell",))

    prompt = planner().prompt([GOAL, PLAN, AssistantMessage("x"), newer, UserMessage("Go on.")], [calculator.spec])

    assert prompt.tools == (calculator.spec,)
    assert newer.text in system_of(prompt)
    assert PLAN.text not in system_of(prompt)
    assert not any(isinstance(message, PlanMessage) for message in prompt.messages)


@pytest.mark.parametrize("is_error", [True, False])
def test_after_a_call_that_failed_the_model_is_told_that_the_plan_may_need_another(is_error: bool) -> None:
    result = ToolMessage((ToolResult("1", "calculator", "x", is_error),))

    prompt = planner().prompt([GOAL, PLAN, AssistantMessage("", (call_of("calculator"),)), result], [])

    assert ("The last call failed" in system_of(prompt)) is is_error


@pytest.mark.parametrize(
    "text",
    [
        "Plan:\n1. one\n2. two",
        "**Plan:**\n- one\n- two",
        "## Plan:\n\n 1) one\n 2) two",
        "revised plan:\n1. one\n\n2. two\n",
        "Plan:\nSome words first.\n1. one\n2. two",
    ],
)
def test_a_plan_is_read_however_it_is_written(text: str) -> None:
    assert planner().decide(said(text), []) == Plan(("one", "two"))


@pytest.mark.parametrize("text", ["Plan:", "Plan:\nnone", "Plan:\n1. a\n2. b\n3. c\n4. d"])
def test_a_plan_without_steps_or_with_too_many_goes_back(text: str) -> None:
    assert isinstance(planner().decide(said(text), []), Correct)


@pytest.mark.parametrize("text", ["42", "My plan: say 42.", "The plan:\n1. no header of ours"])
async def test_what_is_no_plan_is_the_answer(text: str) -> None:
    report = await Agent(planner=PlanExecutePlanner(ScriptedLlm([text]))).run("go")

    assert report.outcome == Finished(text)
    assert report.plan == ()


@pytest.mark.parametrize("native_tools", [True, False])
async def test_a_run_plans_acts_revises_and_answers(native_tools: bool) -> None:
    call = call_of("calculator", expression="1 + 2")
    written = 'Thought: add\nAction: calculator\nAction Input: {"expression": "1 + 2"}'
    answer = "3" if native_tools else "Final Answer: 3"
    llm = ScriptedLlm([FIRST, [call] if native_tools else written, REVISED, answer], native_tools=native_tools)
    journal = MemoryJournal()

    report = await Agent(planner=PlanExecutePlanner(llm), tools=ToolRegistry([calculator]), journal=journal).run("go")

    assert report.outcome == Finished("3")
    assert report.plan == ("Tell the sum",)
    assert [key for key, step in journal.results.items() if "plan" in step.payload] == ["1/llm", "3/llm"]


async def test_a_resumed_run_knows_its_plan_without_asking_again() -> None:
    journal = MemoryJournal()
    first = Agent(planner=PlanExecutePlanner(ScriptedLlm([FIRST])), journal=journal)
    with pytest.raises(Exception, match="no reply left"):
        await first.run("go", run_id="r")

    llm = ScriptedLlm(["3"])
    report = await Agent(planner=PlanExecutePlanner(llm), journal=journal).run("go", run_id="r")

    assert report.outcome == Finished("3")
    assert "Add the numbers" in str(llm.asked[0].messages[0])


def test_a_prompt_can_be_replaced_by_a_file(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("Think first. {tools}")
    mine = PlanExecutePlanner(ScriptedLlm([]), plan_template=tmp_path / "mine.txt")

    conversation: list[Message] = [GOAL]
    assert system_of(mine.prompt(conversation, [])).startswith("Think first.")


def test_a_prompt_without_a_place_for_the_plan_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("Do it.")

    with pytest.raises(ConfigurationError, match=r"lacks \{plan\}"):
        PlanExecutePlanner(ScriptedLlm([]), carry_out_template=tmp_path / "mine.txt")


def test_a_prompt_that_is_not_there_is_said_to_be_missing(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="cannot be read"):
        PlanExecutePlanner(ScriptedLlm([]), plan_template=tmp_path / "gone.txt")
