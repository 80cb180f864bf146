"""Results that are remembered for a while."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import replace

import pytest

from agentkit import (
    BaseToolManager,
    ConfigurationError,
    JsonObject,
    ToolCall,
    ToolContext,
    ToolError,
    ToolFailed,
    ToolRegistry,
    ToolResult,
    ToolSpec,
    ask_person,
)
from agentkit.testing import CountingTool, call_of
from agentkit.tools.cached import CachedTools

CONTEXT = ToolContext("run-1", "1/tool/1", "run-1:1/tool/1", timeout_seconds=5)


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


async def ask(tools: BaseToolManager, **arguments: object) -> str:
    return (await tools.call(ToolCall("call_1", "count", arguments), CONTEXT)).content


async def test_the_same_call_is_made_once() -> None:
    inner = CountingTool("count")
    tools = CachedTools(inner, "count", seconds=60)
    results = [await tools.call(call_of("count", id=id, a=1, b=[2]), CONTEXT) for id in ("x", "y")]
    assert results == [ToolResult("x", "count", "done"), ToolResult("y", "count", "done")]
    assert len(inner.calls) == 1


async def test_the_order_of_arguments_makes_no_difference() -> None:
    inner = CountingTool("count")
    tools = CachedTools(inner, "*", seconds=60)
    await ask(tools, a=1, b=2)
    await ask(tools, b=2, a=1)
    assert len(inner.calls) == 1


@pytest.mark.parametrize(
    ("first", "second"),
    [({"n": 1}, {"n": 2}), ({"n": 1}, {"n": True}), ({"n": 1}, {"n": "1"}), ({}, {"n": None}), ({"a": 1}, {"b": 1})],
)
async def test_other_arguments_are_another_call(first: JsonObject, second: JsonObject) -> None:
    inner = CountingTool("count")
    tools = CachedTools(inner, "*", seconds=60)
    await ask(tools, **first)
    await ask(tools, **second)
    assert len(inner.calls) == 2


async def test_a_result_is_forgotten_when_its_time_is_over() -> None:
    inner, clock = CountingTool("count"), Clock()
    tools = CachedTools(inner, "*", seconds=60, clock=clock)
    await ask(tools)
    clock.now = 59.9
    await ask(tools)
    assert len(inner.calls) == 1
    clock.now = 60.0
    await ask(tools)
    assert len(inner.calls) == 2


async def test_a_tool_with_a_side_effect_is_called_each_time() -> None:
    inner = CountingTool("count", side_effect=True)
    tools = CachedTools(inner, "*", seconds=60)
    await ask(tools)
    await ask(tools)
    assert len(inner.calls) == 2


async def test_a_tool_of_which_is_learned_that_it_has_a_side_effect_is_cached_no_longer() -> None:
    inner = CountingTool("count")
    tools = CachedTools(inner, "*", seconds=60)
    await ask(tools)
    inner.side_effect = True
    await tools.specs()
    await ask(tools)
    assert len(inner.calls) == 2


async def test_a_tool_that_fits_no_pattern_is_called_each_time() -> None:
    inner = CountingTool("count")
    tools = CachedTools(inner, "other", seconds=60)
    await ask(tools)
    await ask(tools)
    assert len(inner.calls) == 2


class Failing(CountingTool):
    """Fails once: with an error, or with a result that says so."""

    def __init__(self, *, raises: bool) -> None:
        super().__init__("count")
        self.raises = raises

    async def call(self, call: ToolCall, context: ToolContext) -> ToolResult:
        result = await super().call(call, context)
        if len(self.calls) > 1:
            return result
        if self.raises:
            raise ToolFailed("not now")
        return replace(result, is_error=True)


@pytest.mark.parametrize("raises", [True, False])
async def test_a_failure_is_not_remembered(raises: bool) -> None:
    inner = Failing(raises=raises)
    tools = CachedTools(inner, "*", seconds=60)
    with contextlib.suppress(ToolFailed):
        await ask(tools)
    assert await ask(tools) == "done"
    assert len(inner.calls) == 2


async def test_what_was_asked_for_longest_ago_goes_first() -> None:
    inner = CountingTool("count")
    tools = CachedTools(inner, "*", seconds=60, entries=2)
    for n in (1, 2, 1, 3):
        await ask(tools, n=n)
    assert len(inner.calls) == 3
    await ask(tools, n=1)
    assert len(inner.calls) == 3
    await ask(tools, n=2)
    assert len(inner.calls) == 4


class Telling(BaseToolManager):
    """Answers with as many characters as it is asked for."""

    def __init__(self) -> None:
        self.calls = 0

    async def specs(self) -> Sequence[ToolSpec]:
        return (ToolSpec("count", "", {"type": "object"}, side_effect=False),)

    async def call(self, call: ToolCall, context: ToolContext) -> ToolResult:
        self.calls += 1
        return ToolResult(call.id, call.name, "x" * call.arguments["n"])


@pytest.mark.parametrize(("sizes", "calls"), [((40, 50, 40), 2), ((60, 50, 60), 3), ((101, 101), 2), ((100, 100), 1)])
async def test_results_are_kept_as_long_as_they_fit_together(sizes: tuple[int, ...], calls: int) -> None:
    inner = Telling()
    tools = CachedTools(inner, "*", seconds=60, total_bytes=100)
    for size in sizes:
        assert len(await ask(tools, n=size)) == size
    assert inner.calls == calls


async def test_a_tool_that_waits_for_a_person_cannot_be_cached_by_mistake() -> None:
    tools = CachedTools(ToolRegistry([ask_person]), "*", seconds=60)
    with pytest.raises(ToolError, match="This tool cannot wait: its results are cached"):
        await tools.call(call_of("ask_person", question="Your password?"), CONTEXT)


async def test_arguments_nested_too_deeply_for_a_key_are_simply_not_cached() -> None:
    deep: object = 1
    for _ in range(10_000):
        deep = [deep]
    inner = CountingTool("count")
    tools = CachedTools(inner, "*", seconds=60)
    for _ in range(2):
        await ask(tools, n=deep)
    assert len(inner.calls) == 2


@pytest.mark.parametrize("limits", [{"seconds": 0}, {"seconds": 1, "entries": 0}, {"seconds": 1, "total_bytes": -1}])
def test_a_cache_that_could_keep_nothing_is_refused(limits: dict[str, int]) -> None:
    with pytest.raises(ConfigurationError, match="greater than 0"):
        CachedTools(CountingTool(), "*", **limits)  # type: ignore[arg-type]  # as the cases say
