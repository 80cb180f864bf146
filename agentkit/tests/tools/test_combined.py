"""Several sets of tools as one, and a set narrowed to what is allowed."""

from __future__ import annotations

import pytest

from agentkit import AllowedTools, CombinedTools, ConfigurationError, ToolContext, ToolRegistry, UnknownTool, calculator
from agentkit.testing import CountingTool, call_of

CONTEXT = ToolContext("run-1", "1/tool/1", "run-1:1/tool/1", timeout_seconds=5)


async def test_the_tools_of_all_sets_are_offered_in_order_and_reached() -> None:
    tools = CombinedTools(CountingTool("b", "B"), ToolRegistry([calculator]), CountingTool("a", "A"))
    assert [spec.name for spec in await tools.specs()] == ["b", "calculator", "a"]
    assert (await tools.call(call_of("a"), CONTEXT)).content == "A"
    assert (await tools.call(call_of("calculator", expression="1+1"), CONTEXT)).content == "2"


async def test_a_call_finds_its_tool_also_before_anybody_asked_what_there_is() -> None:
    assert (await CombinedTools(CountingTool("a", "A")).call(call_of("a"), CONTEXT)).content == "A"


async def test_a_name_in_two_sets_is_an_error_that_names_both() -> None:
    tools = CombinedTools(CountingTool("calculator"), ToolRegistry([calculator]))
    with pytest.raises(ConfigurationError, match="CountingTool and ToolRegistry both have a tool named 'calculator'"):
        await tools.specs()


async def test_a_tool_of_no_set_is_unknown() -> None:
    with pytest.raises(UnknownTool):
        await CombinedTools(CountingTool("a")).call(call_of("b"), CONTEXT)


async def test_only_what_fits_a_pattern_is_offered_and_reached() -> None:
    inner = CombinedTools(CountingTool("demo.search"), CountingTool("demo.read"), CountingTool("other"))
    tools = AllowedTools(inner, ["demo.*"])
    assert [spec.name for spec in await tools.specs()] == ["demo.search", "demo.read"]
    assert (await tools.call(call_of("demo.read"), CONTEXT)).content == "done"
    with pytest.raises(UnknownTool):
        await tools.call(call_of("other"), CONTEXT)


async def test_no_pattern_allows_nothing() -> None:
    assert await AllowedTools(CountingTool("a"), []).specs() == ()


async def test_closing_closes_every_set() -> None:
    closed: list[str] = []

    class Closing(CountingTool):
        async def aclose(self) -> None:
            closed.append(self.name)

    await AllowedTools(CombinedTools(Closing("a"), Closing("b")), "*").aclose()
    assert closed == ["a", "b"]
