"""Time limits of tools, shorter than the run's."""

from __future__ import annotations

import asyncio

import pytest

from agentkit import (
    Agent,
    ConfigurationError,
    Limits,
    ReActPlanner,
    ToolContext,
    ToolMessage,
    ToolRegistry,
    ToolTimeout,
)
from agentkit.testing import CountingTool, ScriptedLlm, call_of
from agentkit.tools.timed import TimedTools

CONTEXT = ToolContext("run-1", "1/tool/1", "run-1:1/tool/1", timeout_seconds=30)


async def hang() -> str:
    """Never answer."""
    await asyncio.Event().wait()
    return "never"


@pytest.mark.parametrize(
    ("seconds", "given"),
    [
        ({"count": 5}, 5),
        ({"co*": 5, "count": 7}, 5),
        ({"other": 5}, 30),
        ({"other": 5, "*": 7}, 7),
        ({"*": 3600}, 30),
        ({}, 30),
    ],
)
async def test_a_call_gets_the_seconds_of_the_first_pattern_that_fits_and_never_more_than_the_run_gives(
    seconds: dict[str, float], given: float
) -> None:
    inner = CountingTool("count")
    await TimedTools(inner, seconds).call(call_of("count"), CONTEXT)
    assert inner.calls[0][1].timeout_seconds == given


async def test_a_call_that_is_out_of_time_is_cancelled_and_says_after_how_long() -> None:
    with pytest.raises(ToolTimeout, match=r"'hang' did not finish within 0\.01 s"):
        await TimedTools(ToolRegistry([hang]), {"hang": 0.01}).call(call_of("hang"), CONTEXT)


async def test_also_a_tool_that_heeds_no_time_limit_is_cut_off() -> None:
    class Deaf(CountingTool):
        async def call(self, call: object, context: object) -> object:  # type: ignore[override]
            return await asyncio.Event().wait()

    with pytest.raises(ToolTimeout):
        await TimedTools(Deaf("hang"), {"*": 0.01}).call(call_of("hang"), CONTEXT)


async def test_a_timeout_error_of_the_tools_own_is_no_timeout_of_ours() -> None:
    async def fails() -> str:
        raise TimeoutError("a socket of mine")

    with pytest.raises(TimeoutError, match="a socket of mine"):
        await TimedTools(ToolRegistry([fails]), {"*": 5}).call(call_of("fails"), CONTEXT)


async def test_the_model_is_told_and_the_run_goes_on() -> None:
    llm = ScriptedLlm([[call_of("hang")], "gave up"])
    tools = TimedTools(ToolRegistry([hang]), {"hang": 0.01})
    report = await Agent(planner=ReActPlanner(llm), tools=tools, limits=Limits(tool_seconds=30)).run("go")
    message = next(message for message in report.transcript if isinstance(message, ToolMessage))
    assert (
        message.results[0].content
        == "The tool 'hang' did not finish within 0.01 s. It may or may not have taken effect."
    )


@pytest.mark.parametrize("limit", [0, -1, float("nan")])
def test_a_time_limit_that_is_none_is_refused(limit: float) -> None:
    with pytest.raises(ConfigurationError, match="must be greater than 0"):
        TimedTools(CountingTool(), {"*": limit})
