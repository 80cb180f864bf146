"""Tools under a prefix."""

from __future__ import annotations

import re

import pytest

from agentkit import CombinedTools, ConfigurationError, ToolContext, ToolRegistry, UnknownTool, calculator
from agentkit.llm.tool_names import LegalNames
from agentkit.testing import CountingTool, call_of
from agentkit.tools.prefixed import PrefixedTools

CONTEXT = ToolContext("run-1", "1/tool/1", "run-1:1/tool/1", timeout_seconds=5)


async def test_tools_of_one_name_live_side_by_side_under_prefixes() -> None:
    tools = CombinedTools(
        PrefixedTools(CountingTool("search", "from a"), "a"), PrefixedTools(CountingTool("search", "from b"), "b")
    )
    assert [spec.name for spec in await tools.specs()] == ["a.search", "b.search"]
    assert (await tools.call(call_of("b.search"), CONTEXT)).content == "from b"


async def test_the_tool_is_called_by_its_own_name_and_answers_under_the_one_it_was_called_by() -> None:
    inner = CountingTool("search")
    result = await PrefixedTools(inner, "github").call(call_of("github.search", q=1), CONTEXT)
    assert inner.calls == [(call_of("search", id="call_github.search", q=1), CONTEXT)]
    assert (result.name, result.call_id) == ("github.search", "call_github.search")


@pytest.mark.parametrize("name", ["search", "gitlab.search", "github", "githubsearch", ".search"])
async def test_a_name_without_the_prefix_is_unknown(name: str) -> None:
    inner = CountingTool("search")
    with pytest.raises(UnknownTool):
        await PrefixedTools(inner, "github").call(call_of(name), CONTEXT)
    assert inner.calls == []


async def test_prefixes_add_up() -> None:
    tools = PrefixedTools(PrefixedTools(ToolRegistry([calculator]), "b"), "a")
    assert [spec.name for spec in await tools.specs()] == ["a.b.calculator"]
    assert (await tools.call(call_of("a.b.calculator", expression="1+1"), CONTEXT)).content == "2"


async def test_everything_else_of_a_tool_stays_as_it_was() -> None:
    inner = CountingTool("search", side_effect=True)
    (spec,), (own,) = await PrefixedTools(inner, "a").specs(), await inner.specs()
    assert (spec.description, spec.parameters, spec.side_effect, spec.on_unknown) == (
        own.description,
        own.parameters,
        own.side_effect,
        own.on_unknown,
    )


async def test_names_with_the_longest_prefix_are_told_apart_by_what_vendors_take_for_a_name() -> None:
    inner = CombinedTools(*(CountingTool("x" * 60 + str(number)) for number in range(3)), CountingTool("p.q"))
    names = [spec.name for spec in await PrefixedTools(inner, "p" * 32).specs()]
    wire = [LegalNames(names).to_wire(name) for name in names]
    assert len(set(wire)) == 4
    assert all(re.fullmatch(r"[A-Za-z_][A-Za-z0-9_-]{0,63}", name) for name in wire)
    assert [LegalNames(names).from_wire(name) for name in wire] == names


@pytest.mark.parametrize("prefix", ["", "-a", "a.b", "a b", "é", "x" * 33, "a\n"])
def test_a_prefix_that_would_spoil_names_is_refused(prefix: str) -> None:
    with pytest.raises(ConfigurationError, match="is no good"):
        PrefixedTools(CountingTool(), prefix)
