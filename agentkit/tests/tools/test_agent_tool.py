"""An agent as a tool of another."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from agentkit import (
    Agent,
    AgentkitError,
    Finished,
    Limits,
    LlmError,
    LlmResponse,
    LlmUnavailable,
    MemoryJournal,
    NeedsApproval,
    OnUnknown,
    OutcomeUnknown,
    ReActPlanner,
    RunRevoked,
    StepMismatch,
    ToolContext,
    ToolMessage,
    ToolRegistry,
    ToolResult,
    ToolTimeout,
    ask_person,
    calculator,
    tool,
)
from agentkit.security.ask_first import AskFirst
from agentkit.testing import CountingTool, Reply, ScriptedLlm, call_of
from agentkit.tools.agent_tool import agent_tool

CONTEXT = ToolContext("run-1", "1/tool/1", "run-1:1/tool/1", timeout_seconds=5)


def saying(*replies: Reply, **options: object) -> Agent:
    return Agent(planner=ReActPlanner(ScriptedLlm(replies)), **options)  # type: ignore[arg-type]  # as the tests give them


def boss(helper: Callable[[ToolContext], Agent], *replies: Reply, **options: object) -> Agent:
    tools = ToolRegistry([agent_tool(helper, "helper", "Helps.")])
    return saying(*(replies or ([call_of("agent.helper", goal="add")], "done")), tools=tools, **options)


async def observed(agent: Agent) -> ToolResult:
    report = await agent.run("go", run_id="r")
    assert isinstance(report.outcome, Finished)
    return next(message for message in report.transcript if isinstance(message, ToolMessage)).results[0]


def test_the_tool_is_named_and_described_for_the_model() -> None:
    spec = agent_tool(lambda context: saying("x"), "helper", side_effect=True, on_unknown=OnUnknown.retry).spec
    assert (spec.name, spec.description) == ("agent.helper", "Give work to the agent helper, and get its answer.")
    assert (spec.parameters["required"], list(spec.parameters["properties"])) == (["goal"], ["goal"])
    assert (spec.side_effect, spec.on_unknown) == (True, OnUnknown.retry)


async def test_the_other_agent_works_on_the_goal_and_its_answer_is_the_result() -> None:
    llm = ScriptedLlm([[call_of("calculator", expression="6*7")], "It is 42."])
    helper = Agent(planner=ReActPlanner(llm), tools=ToolRegistry([calculator]))
    result = await observed(boss(lambda context: helper))
    assert (result.content, result.is_error) == ("It is 42.", False)
    assert "add" in str(llm.asked[0].messages)
    assert "go" not in str(llm.asked[0].messages)


async def test_an_answer_in_a_schema_is_given_as_json() -> None:
    schema = {"type": "object", "properties": {"total": {"type": "integer"}}, "required": ["total"]}
    helper = saying('```json\n{"total": 42}\n```', output=schema)
    assert (await observed(boss(lambda context: helper))).content == '{"total":42}'


async def test_one_agent_can_be_in_several_calls_at_once() -> None:
    calls = [call_of("agent.helper", id=str(n), goal="add") for n in range(3)]
    helper = saying("a", "b", "c")
    report = await boss(lambda context: helper, calls, "done").run("go")
    message = next(message for message in report.transcript if isinstance(message, ToolMessage))
    assert sorted(result.content for result in message.results) == ["a", "b", "c"]


async def test_the_other_agents_limits_are_bounded_by_the_time_of_the_call_and_stay_as_they_were() -> None:
    seen: list[float] = []

    class Noting(ScriptedLlm):
        async def complete(self, *args: object, timeout_seconds: float, **options: object) -> object:  # type: ignore[override]
            seen.append(timeout_seconds)
            return await super().complete(*args, timeout_seconds=timeout_seconds, **options)  # type: ignore[arg-type]

    helper = Agent(planner=ReActPlanner(Noting(["x", "y"])), limits=Limits(llm_seconds=100))
    await boss(lambda context: helper, limits=Limits(tool_seconds=7)).run("go")
    assert (seen, helper.limits) == ([7], Limits(llm_seconds=100))


async def test_an_agent_that_takes_too_long_is_stopped_with_the_call() -> None:
    stopped = asyncio.Event()

    @tool(side_effect=False)
    async def hang() -> str:
        try:
            await asyncio.Event().wait()
        finally:
            stopped.set()
        return "never"

    helper = saying([call_of("hang")], "x", tools=ToolRegistry([hang]))
    registry = ToolRegistry([agent_tool(lambda context: helper, "helper")])
    context = ToolContext("r", "1/tool/1", "k", timeout_seconds=0.05)
    try:
        result = (await registry.call(call_of("agent.helper", goal="x"), context)).content
    except (ToolTimeout, AgentkitError) as error:
        result = str(error)
    assert stopped.is_set()
    assert "did not finish within 0.05 s" in result or "limit of seconds" in result


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (LlmUnavailable("down"), "The agent 'helper' has no result (llm_unavailable): down"),
        (OutcomeUnknown("2/tool/1", "pay"), "The agent 'helper' has no result (outcome_unknown)"),
        (StepMismatch("1/llm", journaled="a", now="b"), "The agent 'helper' has no result (step_mismatch)"),
        (ValueError("odd"), "ValueError: odd"),
    ],
)
async def test_what_goes_wrong_in_the_other_run_is_the_error_of_the_call_and_not_of_this_run(
    error: Exception, told: str
) -> None:
    result = await observed(boss(lambda context: saying(error)))
    assert told in result.content
    assert result.is_error


async def test_a_limit_that_the_other_agent_reaches_is_an_error_that_names_it() -> None:
    helper = saying([call_of("count")], [call_of("count")], tools=CountingTool("count"), limits=Limits(steps=2))
    result = await observed(boss(lambda context: helper))
    assert result.content == "The agent 'helper' has no result: it reached its limit of steps: no answer after 2 steps."


async def test_a_run_that_may_not_act_any_more_stops_both() -> None:
    with pytest.raises(RunRevoked):
        await boss(lambda context: saying(RunRevoked())).run("go")


@pytest.mark.parametrize(
    "helper",
    [
        lambda: saying([call_of("ask_person", question="Which?")], tools=ToolRegistry([ask_person])),
        lambda: saying([call_of("count")], tools=CountingTool("count"), security=AskFirst("*")),
    ],
    ids=["question", "approval"],
)
async def test_an_agent_that_would_have_to_wait_fails_the_call_and_says_so(helper: Callable[[], Agent]) -> None:
    result = await observed(boss(lambda context: helper()))
    assert "it would have to wait (" in result.content
    assert result.is_error


async def test_a_finished_call_is_replayed_and_the_other_agent_not_run_again() -> None:
    journal, made = MemoryJournal(), []

    def make(context: ToolContext) -> Agent:
        made.append(context.idempotency_key)
        return saying("helped")

    with pytest.raises(LlmError, match="no reply left"):
        await boss(make, [call_of("agent.helper", goal="add")], journal=journal).run("go", run_id="r")
    await boss(make, "done", journal=journal).run("go", run_id="r")
    assert made == ["r:1/tool/1"]


class Hanging(ScriptedLlm):
    """Says what it has to say, and then nothing."""

    async def complete(self, *args: object, **options: object) -> LlmResponse:
        if len(self.asked) == 1:
            hanging.set()
            await asyncio.Event().wait()
        return await super().complete(*args, **options)  # type: ignore[arg-type]  # as they came


hanging = asyncio.Event()


async def test_a_call_that_was_broken_off_goes_on_in_a_journal_found_by_its_key() -> None:
    hanging.clear()
    counted = await _broken_off_and_resumed(journals := dict[str, MemoryJournal]())
    assert len(counted.calls) == 1
    assert list(journals) == ["r:1/tool/1"]


async def test_without_such_a_journal_it_begins_anew() -> None:
    hanging.clear()
    counted = await _broken_off_and_resumed(None)
    assert len(counted.calls) == 2


async def _broken_off_and_resumed(journals: dict[str, MemoryJournal] | None) -> CountingTool:
    """What the other agent's tool was called, by two tries of one call."""
    journal, counted = MemoryJournal(), CountingTool("count")
    models: list[ScriptedLlm] = [Hanging([[call_of("count")]])]
    models.append(ScriptedLlm(["helped"] if journals is not None else [[call_of("count")], "helped"]))

    def make(context: ToolContext) -> Agent:
        own = journals.setdefault(context.idempotency_key, MemoryJournal()) if journals is not None else None
        return Agent(planner=ReActPlanner(models.pop(0)), tools=counted, journal=own)

    helper = agent_tool(make, "helper", on_unknown=OnUnknown.retry)
    llm = ScriptedLlm([[call_of("agent.helper", goal="add")], "done"])
    agent = Agent(planner=ReActPlanner(llm), tools=ToolRegistry([helper]), journal=journal)
    run = asyncio.create_task(agent.run("go", run_id="r"))
    await hanging.wait()
    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run
    assert await agent.run("go", run_id="r")
    return counted


async def test_agents_that_call_each_other_in_a_circle_end_at_a_depth() -> None:
    made = 0

    def make(context: ToolContext) -> Agent:
        nonlocal made
        made += 1
        return boss(make)

    assert isinstance((await boss(make).run("go")).outcome, Finished)
    assert made == 5


async def test_an_approval_of_the_call_itself_is_asked_of_this_run() -> None:
    security = AskFirst("agent.*")
    verdict = await security.judge(
        call_of("agent.helper", goal="add"), agent_tool(lambda context: saying("x"), "helper").spec, CONTEXT
    )
    assert isinstance(verdict, NeedsApproval)
