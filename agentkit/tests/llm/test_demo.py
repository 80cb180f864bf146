"""What the demo model does with goals it understands, and with those it does not."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import pytest

from agentkit import (
    Agent,
    BaseToolManager,
    CombinedTools,
    ConfigurationError,
    DemoLlm,
    Finished,
    LlmTimeout,
    Message,
    ReActPlanner,
    RunReport,
    SystemMessage,
    ToolFailed,
    ToolRegistry,
    UserMessage,
    calculator,
    convert_units,
    tool,
)
from agentkit.tools.clock import make_clock

DOCUMENTS = {
    "refund-policy": "# Refunds\n\nWe refund within 30 days. Refunds above 500 EUR need a manager.",
    "widget-prices": "# Widget prices\n\nPrices for 2026.\n\n- Widget Mini: 12.50 EUR\n- Widget Pro: $1,049.00\n",
    "on-call": "# On call\n\nCall +49 30 5550 142 at any hour.",
}


@tool(name="demo.search", side_effect=False)
async def search(query: str) -> list[dict[str, str]]:
    """Search the handbook."""
    wanted = {word.removesuffix("s") for word in re.findall(r"\w+", query.lower())}
    hits = [name for name in DOCUMENTS if wanted & {word.removesuffix("s") for word in name.split("-")}]
    return [{"name": name, "summary": "..."} for name in hits]


@tool(name="demo.read", side_effect=False)
async def read(name: str) -> str:
    """Read a document."""
    return DOCUMENTS[name]


CLOCK = make_clock(lambda: datetime(2026, 7, 1, 12, tzinfo=UTC))
ALL = (calculator, CLOCK, convert_units, search, read)


async def answer_to(goal: str, *, tools: Sequence[Any] = ALL, native: bool = True) -> tuple[str, RunReport]:
    agent = Agent(planner=ReActPlanner(DemoLlm(native_tools=native)), tools=ToolRegistry(tools))
    report = await agent.run(goal)
    assert isinstance(report.outcome, Finished)
    return report.outcome.answer, report


@pytest.mark.parametrize("native", [True, False], ids=["native", "text"])
@pytest.mark.parametrize(
    ("goal", "said"),
    [
        ("What is 6 * 7?", "6 * 7 = 42"),
        ("Please work out (2+3)*4.", "(2+3)*4 = 20"),
        ("what is 1,000 plus 15% of 80", "1000 + 15 / 100 * 80 = 1012"),
        ("square root of 144", "sqrt(144) = 12"),
        ("3 x 4", "3 * 4 = 12"),
        ("What time is it in Tokyo?", "Tokyo: Wednesday 2026-07-01 21:00:00 Asia/Tokyo"),
        ("what's the current time", "12:00:00 UTC"),
        ("time in San Francisco and New York now?", "San Francisco: Wednesday 2026-07-01 05:00:00"),
        ("convert 15:30 from Berlin to New York", "09:30:00 America/New_York"),
        ("What is 3pm London time in Tokyo?", "23:00:00 Asia/Tokyo"),
        ("12 am in UTC to Asia/Kolkata", "05:30:00 Asia/Kolkata"),
        ("Convert 5 miles to km", "5 mi = 8.04672 km"),
        ("How many feet are in a mile?", "1 mi = 5280 ft"),
        ("What is 100 degrees fahrenheit in celsius?", "37.77777778 °C"),
        ("Look up the refund policy", "From the handbook (refund-policy): We refund within 30 days."),
        ("find the refund policy in the handbook", "We refund within 30 days."),
        ("what does the handbook say about refunds?", "We refund within 30 days."),
        ("Who is on call?", "Call +49 30 5550 142"),
        (
            "Look up the price of a widget in the handbook and multiply it by 12",
            "Widget Mini: 12.50 EUR. So 12.50 * 12 = 150.",
        ),
        ("Look up the price of the Widget Pro, then divide it by 2", "So 1049.00 / 2 = 524.5."),
        ("How much do 3 widgets cost?", "So 12.50 * 3 = 37.5."),
        ("What is 2+2, and what time is it in Berlin?", "2+2 = 4\nBerlin: Wednesday 2026-07-01 14:00:00"),
    ],
)
async def test_goals_it_understands_are_answered_through_tools(goal: str, said: str, native: bool) -> None:
    answer, report = await answer_to(goal, native=native)
    assert said in answer
    assert report.tool_calls >= 1


async def test_independent_parts_of_a_goal_are_worked_on_at_the_same_time() -> None:
    _, report = await answer_to("What is 2+2 and what is 3*3? Convert 1 mile to km.")
    assert (report.steps, report.tool_calls) == (2, 3)


@pytest.mark.parametrize("goal", ["Write a poem about the sea", "hello", "", "?", "Plan my week. Then book it."])
async def test_a_goal_beyond_it_is_answered_with_what_it_is_and_can_do(goal: str) -> None:
    answer, report = await answer_to(goal)
    assert answer.startswith("I am the demo model")
    assert "not a real language model" in answer
    assert "What is 6 * 7?" in answer
    assert report.tool_calls == 0


async def test_a_part_beyond_it_is_named() -> None:
    answer, _ = await answer_to("Book a flight to Paris and what is 2+2")
    assert "“Book a flight to Paris” is beyond me" in answer
    assert "2+2 = 4" in answer


async def test_what_the_handbook_does_not_have_is_said() -> None:
    answer, _ = await answer_to("What is the meaning of life?")
    assert answer.startswith("The handbook has nothing about 'meaning of life'")


@pytest.mark.parametrize(
    ("goal", "missing"),
    [
        ("What is 6*7?", "a calculator"),
        ("What time is it in Tokyo?", "a clock"),
        ("convert 15:30 from Berlin to New York", "a clock that converts times"),
        ("Convert 5 miles to km", "a unit converter"),
        ("Look up the refund policy", "a tool to search the handbook"),
    ],
)
async def test_a_tool_it_needs_and_is_not_offered_is_named(goal: str, missing: str) -> None:
    answer, _ = await answer_to(goal, tools=())
    assert answer == f"For this I need {missing}, and I was not offered one."


async def test_a_tool_error_is_said_plainly() -> None:
    answer, _ = await answer_to("What is 1/0?")
    assert answer == "I could not work out 1/0: The expression divides by zero."


async def test_a_search_that_fails_once_is_tried_once_more() -> None:
    tries = 0

    @tool(name="demo.search", side_effect=False)
    async def flaky(query: str) -> list[dict[str, str]]:
        nonlocal tries
        tries += 1
        if tries == 1:
            raise ToolFailed("the server is down")
        return await search(query)

    answer, _ = await answer_to("Look up the refund policy", tools=[flaky, read])
    assert "within 30 days" in answer
    assert tries == 2


async def test_a_search_that_stays_broken_is_said_plainly() -> None:
    @tool(name="demo.search", side_effect=False)
    async def broken(query: str) -> str:
        raise ToolFailed("the server is down")

    answer, report = await answer_to("Look up the refund policy", tools=[broken, read])
    assert answer == "I could not search the handbook: the server is down"
    assert report.tool_calls == 2


async def test_other_servers_tools_are_found_by_their_schemas() -> None:
    @tool(name="time.get_current_time", side_effect=False)
    async def now(timezone: str) -> dict[str, object]:
        return {"timezone": timezone, "datetime": "2026-07-01T21:00:00+09:00", "is_dst": False}

    @tool(name="time.convert_time", side_effect=False)
    async def convert(source_timezone: str, time: str, target_timezone: str) -> dict[str, object]:
        return {
            "source": {"timezone": source_timezone, "datetime": time},
            "target": {"timezone": target_timezone, "datetime": "later"},
        }

    tools = [now, convert]
    assert (await answer_to("What time is it in Tokyo?", tools=tools))[0] == (
        "Tokyo: 2026-07-01T21:00:00+09:00 (Asia/Tokyo)"
    )
    assert (await answer_to("convert 15:30 from Berlin to Tokyo", tools=tools))[0] == (
        "15:30 (Europe/Berlin) is later (Asia/Tokyo)"
    )


async def test_the_handbook_is_reached_through_the_proxy_tool_when_that_is_what_there_is() -> None:
    reached: list[str] = []

    @tool(side_effect=False)
    async def mcp_proxy_tool(server: str, tool: str, arguments: dict[str, Any]) -> str:
        reached.append(f"{server}.{tool}")
        return json.dumps(await search(**arguments)) if tool == "search" else await read(**arguments)

    answer, _ = await answer_to("Look up the refund policy", tools=[mcp_proxy_tool])
    assert "within 30 days" in answer
    assert reached == ["demo.search", "demo.read"]


async def test_a_later_goal_of_the_same_conversation_is_the_one_worked_on() -> None:
    llm = DemoLlm()
    said: list[Message] = [
        UserMessage("What is 1+1?"),
        UserMessage("Your last answer was empty."),
        UserMessage("What is 2+2?"),
    ]
    response = await llm.complete(said, tools=[calculator.spec], timeout_seconds=1)
    assert [call.arguments for call in response.message.tool_calls] == [{"expression": "2+2"}]


async def test_the_same_conversation_gets_the_same_answer_and_usage() -> None:
    messages: list[Message] = [SystemMessage("x"), UserMessage("What is 6*7 and what is 2+2?")]
    first, again = [await DemoLlm().complete(messages, tools=[calculator.spec], timeout_seconds=1) for _ in range(2)]
    assert first == again
    assert first.usage.input_tokens > 0
    assert first.usage.output_tokens > 0
    assert len({call.id for call in first.message.tool_calls}) == 2


async def test_an_output_schema_is_filled_in() -> None:
    schema = {
        "type": "object",
        "properties": {"answer": {"type": "string"}, "n": {"type": "integer"}},
        "required": ["answer", "n"],
        "additionalProperties": False,
    }
    agent = Agent(planner=ReActPlanner(DemoLlm()), tools=ToolRegistry([calculator]), output=schema)
    outcome = (await agent.run("What is 6*7?")).outcome
    assert isinstance(outcome, Finished)
    assert outcome.output == {"answer": "6*7 = 42", "n": 42}


async def test_text_can_be_streamed_in_pieces() -> None:
    pieces: list[str] = []
    streamed = await DemoLlm().stream([UserMessage("hello")], timeout_seconds=1, on_text=pieces.append)

    assert len(pieces) > 10
    assert "".join(pieces) == streamed.message.text
    assert streamed == await DemoLlm().complete([UserMessage("hello")], timeout_seconds=1)


async def test_a_slow_demo_model_that_has_no_time_while_it_speaks_is_a_timeout() -> None:
    with pytest.raises(LlmTimeout):
        await DemoLlm(delay_seconds=60).stream([UserMessage("hello")], timeout_seconds=0.01, on_text=print)


async def test_a_slow_demo_model_that_has_no_time_is_a_timeout() -> None:
    with pytest.raises(LlmTimeout):
        await DemoLlm(delay_seconds=60).complete([UserMessage("hello")], timeout_seconds=0.01)


def test_the_name_carries_options() -> None:
    assert DemoLlm.named("demo").native_tools
    assert not DemoLlm.named("demo:slow,text").native_tools
    assert DemoLlm.named("demo:slow").model == "demo:slow"
    for wrong in ("gpt", "demo:fast", "demo2"):
        with pytest.raises(ConfigurationError, match="use demo, demo:slow"):
            DemoLlm.named(wrong)


async def test_a_search_result_that_is_rubbish_is_nothing_found() -> None:
    @tool(name="demo.search", side_effect=False)
    async def rubbish(query: str) -> str:
        return "[{" * 30_000

    started = time.monotonic()
    answer, _ = await answer_to("Look up the refund policy", tools=[rubbish, read])
    assert answer.startswith("The handbook has nothing about")
    assert time.monotonic() - started < 5


@pytest.mark.parametrize(
    "goal", ["9" * 20_000, "1+" * 10_000, "what " * 5_000, "in to " * 5_000, "{" * 20_000, "time in " * 5_000]
)
async def test_hostile_goals_are_answered_soon(goal: str) -> None:
    started = time.monotonic()
    tools: BaseToolManager = CombinedTools(ToolRegistry(ALL))
    report = await Agent(planner=ReActPlanner(DemoLlm()), tools=tools).run(goal)
    assert isinstance(report.outcome, Finished)
    assert time.monotonic() - started < 5
