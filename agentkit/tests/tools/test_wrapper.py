"""Wrappers around a set of tools: what they have in common, and that they compose."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from agentkit import (
    Agent,
    BaseToolManager,
    CombinedTools,
    Finished,
    ReActPlanner,
    RunSuspended,
    ToolContext,
    ToolMessage,
    ToolRegistry,
    ask_person,
)
from agentkit.testing import CountingTool, ScriptedLlm, call_of
from agentkit.tools.allowed import AllowedTools
from agentkit.tools.budgeted import BudgetedTools
from agentkit.tools.cached import CachedTools
from agentkit.tools.prefixed import PrefixedTools
from agentkit.tools.timed import TimedTools
from agentkit.tools.wrapper import ToolWrapper

CONTEXT = ToolContext("run-1", "1/tool/1", "run-1:1/tool/1", timeout_seconds=5)

WRAPPERS: list[Callable[[BaseToolManager], BaseToolManager]] = [
    ToolWrapper,
    lambda inner: BudgetedTools(inner, calls=10),
    lambda inner: CachedTools(inner, "*", seconds=60),
    lambda inner: TimedTools(inner, {"*": 5}),
    lambda inner: PrefixedTools(inner, "a"),
]


class Closing(CountingTool):
    closed = 0

    async def aclose(self) -> None:
        Closing.closed += 1


async def test_a_wrapper_changes_nothing_by_itself() -> None:
    inner = CountingTool("count")
    wrapped = ToolWrapper(inner)
    assert await wrapped.specs() == await inner.specs()
    assert (await wrapped.call(call_of("count"), CONTEXT)).content == "done"
    assert inner.calls == [(call_of("count"), CONTEXT)]


@pytest.mark.parametrize("wrap", WRAPPERS)
async def test_closing_a_wrapper_closes_what_it_is_around(wrap: Callable[[BaseToolManager], BaseToolManager]) -> None:
    Closing.closed = 0
    await wrap(Closing()).aclose()
    assert Closing.closed == 1


async def test_all_wrappers_around_each_other_still_reach_the_tool() -> None:
    inner = CountingTool("search")
    tools: BaseToolManager = CombinedTools(inner, CountingTool("delete"))
    for wrap in WRAPPERS:
        tools = wrap(tools)
    tools = AllowedTools(tools, "a.s*")
    llm = ScriptedLlm([[call_of("a.search", q="tea")], [call_of("a.search", q="tea")], "done"])
    report = await Agent(planner=ReActPlanner(llm), tools=tools).run("go")
    assert isinstance(report.outcome, Finished)
    results = [message.results[0] for message in report.transcript if isinstance(message, ToolMessage)]
    assert [(result.name, result.content, result.is_error) for result in results] == [("a.search", "done", False)] * 2
    assert len(inner.calls) == 1  # the second from the cache


@pytest.mark.parametrize(
    "wrap", [wrap for index, wrap in enumerate(WRAPPERS) if index != 2], ids=["plain", "budgeted", "timed", "prefixed"]
)
async def test_a_tool_can_wait_for_a_person_through_a_wrapper(
    wrap: Callable[[BaseToolManager], BaseToolManager],
) -> None:
    tools = wrap(ToolRegistry([ask_person]))
    name = (await tools.specs())[0].name
    llm = ScriptedLlm([[call_of(name, question="Which?")]])
    with pytest.raises(RunSuspended):
        await Agent(planner=ReActPlanner(llm), tools=tools).run("go")
