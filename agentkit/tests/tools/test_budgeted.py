"""What one run may use of a set of tools."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from agentkit import (
    Agent,
    AllowedTools,
    CombinedTools,
    ConfigurationError,
    MemoryJournal,
    ReActPlanner,
    RunSuspended,
    ToolCall,
    ToolContext,
    ToolError,
    ToolFailed,
    ToolMessage,
    ToolRegistry,
    ToolResult,
    ToolTimeout,
    ask_person,
)
from agentkit.testing import CountingTool, Reply, ScriptedLlm, call_of
from agentkit.tools.budgeted import BudgetedTools

CONTEXT = ToolContext("run-1", "1/tool/1", "run-1:1/tool/1", timeout_seconds=30)


def step(number: int, run: str = "run-1") -> ToolContext:
    return replace(CONTEXT, run_id=run, step_key=f"{number}/tool/1")


class Clock:
    """A time that passes when a tool says so."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Working(CountingTool):
    """Takes some seconds by the clock for each call, and then does what `error` says."""

    def __init__(self, clock: Clock, seconds: float, error: Exception | None = None) -> None:
        super().__init__("work")
        self.clock, self.seconds, self.error = clock, seconds, error

    async def call(self, call: ToolCall, context: ToolContext) -> ToolResult:
        self.clock.now += self.seconds
        if self.error is not None:
            raise self.error
        return await super().call(call, context)


async def test_so_many_calls_are_made_and_the_next_one_tells_the_model() -> None:
    inner = CountingTool("count")
    tools = BudgetedTools(inner, calls=2)
    for number in (1, 2):
        await tools.call(call_of("count"), step(number))
    with pytest.raises(ToolError, match="'count' was not called: the budget of this run for it, 2 calls, is used up"):
        await tools.call(call_of("count"), step(3))
    assert len(inner.calls) == 2


async def test_each_run_has_a_budget_of_its_own() -> None:
    inner = CountingTool("count")
    tools = BudgetedTools(inner, calls=1)
    for run in ("a", "b"):
        await tools.call(call_of("count"), step(1, run))
    assert len(inner.calls) == 2


async def test_calls_at_the_same_time_cannot_slip_through_together() -> None:
    inner = CountingTool("count")
    tools = BudgetedTools(inner, calls=3)
    results = await asyncio.gather(
        *(tools.call(call_of("count"), step(number)) for number in range(10)), return_exceptions=True
    )
    assert len(inner.calls) == 3
    assert sum(isinstance(result, ToolError) for result in results) == 7


async def test_the_seconds_of_calls_that_fail_count_too() -> None:
    clock = Clock()
    tools = BudgetedTools(Working(clock, 6, ToolFailed("no")), seconds=10, clock=clock)
    for number in (1, 2):
        with pytest.raises(ToolFailed):
            await tools.call(call_of("work"), step(number))
    with pytest.raises(ToolError, match="10 s, is used up"):
        await tools.call(call_of("work"), step(3))


async def test_a_call_gets_at_most_the_seconds_that_are_left() -> None:
    clock = Clock()
    inner = Working(clock, 6)
    tools = BudgetedTools(inner, seconds=10, clock=clock)
    for number in (1, 2):
        await tools.call(call_of("work"), step(number))
    assert [context.timeout_seconds for _, context in inner.calls] == [10, 4]


async def test_a_call_that_takes_longer_than_what_is_left_is_cut_off() -> None:
    async def hang() -> str:
        await asyncio.Event().wait()
        return "never"

    with pytest.raises(ToolTimeout):
        await BudgetedTools(ToolRegistry([hang]), seconds=0.01).call(call_of("hang"), CONTEXT)


async def test_a_result_is_cut_to_the_bytes_that_are_left() -> None:
    inner = CountingTool("count", "äöü" * 2)
    tools = BudgetedTools(inner, result_bytes=15)
    contents = [(await tools.call(call_of("count"), step(number))).content for number in (1, 2)]
    assert contents == ["äöüäöü", "ä\n[cut: the result is 12 bytes long, only the first 3 are shown]"]
    with pytest.raises(ToolError, match="15 bytes of results, is used up"):
        await tools.call(call_of("count"), step(3))
    assert len(inner.calls) == 2


async def test_a_set_within_a_set_has_the_smaller_budget() -> None:
    dear, cheap = CountingTool("dear"), CountingTool("cheap")
    all_tools = CombinedTools(dear, cheap)
    tools = CombinedTools(BudgetedTools(AllowedTools(all_tools, "dear"), calls=1), AllowedTools(all_tools, "cheap"))
    await tools.call(call_of("dear"), step(1))
    with pytest.raises(ToolError):
        await tools.call(call_of("dear"), step(2))
    await tools.call(call_of("cheap"), step(3))


async def test_calls_that_are_replayed_when_a_run_is_resumed_are_not_counted_again() -> None:
    journal, inner = MemoryJournal(), CountingTool("count")
    script: list[Reply] = [[call_of("count")], [call_of("count")], [call_of("count")], "done"]
    tools = BudgetedTools(inner, calls=2)
    with pytest.raises(Exception, match="no reply left"):
        await Agent(planner=ReActPlanner(ScriptedLlm(script[:1])), tools=tools, journal=journal).run("go", run_id="r")
    report = await Agent(planner=ReActPlanner(ScriptedLlm(script[1:])), tools=tools, journal=journal).run(
        "go", run_id="r"
    )
    results = [message.results[0] for message in report.transcript if isinstance(message, ToolMessage)]
    assert [result.is_error for result in results] == [False, False, True]


async def test_a_call_that_waited_and_is_made_again_is_one_call() -> None:
    journal = MemoryJournal()
    tools = BudgetedTools(ToolRegistry([ask_person]), calls=1)
    llm = ScriptedLlm([[call_of("ask_person", question="Which?")], "done"])
    agent = Agent(planner=ReActPlanner(llm), tools=tools, journal=journal)
    with pytest.raises(RunSuspended) as stopped:
        await agent.run("go", run_id="r")
    journal.resolve(stopped.value.waits[0].key, {"response": "This one"})
    report = await agent.run("go", run_id="r")
    message = next(message for message in report.transcript if isinstance(message, ToolMessage))
    assert message.results[0].content == "This one"


async def test_of_ten_thousand_runs_the_one_that_called_longest_ago_is_forgotten_first() -> None:
    tools = BudgetedTools(CountingTool("count"), calls=1)
    for number in range(10_001):
        await tools.call(call_of("count"), step(1, f"run-{number}"))
    await tools.call(call_of("count"), step(2, "run-0"))
    with pytest.raises(ToolError):
        await tools.call(call_of("count"), step(2, "run-10000"))


@pytest.mark.parametrize("limits", [{"calls": 0}, {"seconds": -1}, {"result_bytes": 0}])
def test_a_budget_of_nothing_is_refused(limits: dict[str, int]) -> None:
    with pytest.raises(ConfigurationError, match=f"the budget of {next(iter(limits))} must be greater than 0"):
        BudgetedTools(CountingTool(), **limits)  # type: ignore[arg-type]  # one of the three
