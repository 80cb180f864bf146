"""What one run of the loop does, from goal to answer or limit."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from agentkit import (
    Agent,
    AllowList,
    AssistantMessage,
    ConfigurationError,
    Finished,
    JsonObject,
    LimitName,
    LimitReached,
    Limits,
    LlmResponse,
    LlmTimeout,
    LlmUnavailable,
    MemoryJournal,
    RateLimited,
    ReActPlanner,
    Redactor,
    RunReport,
    RunRevoked,
    StopReason,
    SystemMessage,
    ToolContext,
    ToolMessage,
    ToolRegistry,
    ToolResult,
    Usage,
    UserMessage,
    tool,
)
from agentkit.testing import SCRIPTED_USAGE, CountingTool, Reply, ScriptedLlm, call_of


def agent_of(*replies: Reply, tools: Any = (), **options: Any) -> tuple[Agent, ScriptedLlm]:
    llm = ScriptedLlm(replies)
    manager = tools if not isinstance(tools, (list, tuple)) else ToolRegistry(tools)
    return Agent(planner=ReActPlanner(llm), tools=manager, **options), llm


def results_of(report: RunReport) -> list[ToolResult]:
    return [result for m in report.transcript if isinstance(m, ToolMessage) for result in m.results]


def cut(text: str, *calls: Any) -> LlmResponse:
    return LlmResponse(AssistantMessage(text, calls), StopReason.length, SCRIPTED_USAGE, "scripted", "scripted")


def bungled(problem: str) -> LlmResponse:
    """An answer in which the model bungled a call."""
    return LlmResponse(AssistantMessage(), StopReason.bungled_call, Usage(), "scripted", "scripted", problem)


@tool(side_effect=False)
async def echo(text: str) -> str:
    """Say it again."""
    return text


async def test_an_answer_without_tools_is_the_outcome() -> None:
    agent, llm = agent_of("forty-two", instructions="Be brief.")
    report = await agent.run("What is it?")
    assert report.outcome == Finished("forty-two")
    assert (report.steps, report.tool_calls, report.usage) == (1, 0, SCRIPTED_USAGE)
    assert llm.asked[0].messages == (SystemMessage("Be brief."), UserMessage("What is it?"))


async def test_the_model_sees_the_results_of_its_calls_in_call_order() -> None:
    slow_first = asyncio.Event()

    @tool(side_effect=False)
    async def first() -> str:
        await slow_first.wait()
        return "1"

    @tool(side_effect=False)
    async def second() -> str:
        slow_first.set()
        return "2"

    agent, llm = agent_of([call_of("first"), call_of("second")], "done", tools=[first, second])
    report = await agent.run("go")
    assert [result.content for result in results_of(report)] == ["1", "2"]
    assert llm.asked[1].messages[-1] == ToolMessage(tuple(results_of(report)))
    assert report.tool_calls == 2


async def test_the_tools_of_the_agent_are_offered_to_the_model() -> None:
    agent, llm = agent_of("done", tools=[echo])
    await agent.run("go")
    assert [spec.name for spec in llm.asked[0].tools] == ["echo"]


async def test_an_unknown_tool_is_an_observation_that_lists_the_tools() -> None:
    agent, _ = agent_of([call_of("ecko", text="hi")], "sorry", tools=[echo])
    report = await agent.run("go")
    [result] = results_of(report)
    assert result.is_error
    assert result.content == "There is no tool named 'ecko'. The tools are: echo."


async def test_bad_arguments_are_an_observation_that_names_the_argument() -> None:
    agent, _ = agent_of([call_of("echo", txt="hi")], "sorry", tools=[echo])
    [result] = results_of(await agent.run("go"))
    assert result.is_error
    assert "argument 'text': Field required" in result.content


class _Odd(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no message for you")


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (KeyError("order"), "KeyError: 'order'"),
        (SystemExit(3), "SystemExit: 3"),
        (_Odd(), "_Odd: (its message cannot be read)"),
        (ExceptionGroup("both", [ValueError("a")]), "ExceptionGroup: both (1 sub-exception)"),
        (asyncio.CancelledError(), "CancelledItself: it cancelled itself"),
        (TimeoutError("socket"), "TimeoutError: socket"),
        (ConfigurationError("no key"), "ConfigurationError: no key"),
        (StopIteration("x"), "RuntimeError"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else "",
)
@pytest.mark.parametrize("is_async", [True, False], ids=["async", "sync"])
async def test_a_tool_that_raises_is_an_observation(error: BaseException, said: str, is_async: bool) -> None:
    async def in_the_loop() -> str:
        raise error

    def in_a_thread() -> str:
        raise error

    tools = ToolRegistry()
    tools.add(in_the_loop if is_async else in_a_thread, name="broken")
    agent, _ = agent_of([call_of("broken")], "sorry", tools=tools)
    report = await agent.run("go")
    [result] = results_of(report)
    assert result.is_error
    assert said in result.content
    assert report.outcome == Finished("sorry")


async def test_a_long_exception_message_is_bounded() -> None:
    @tool
    async def broken() -> str:
        raise ValueError("x" * 1_000_000)

    agent, _ = agent_of([call_of("broken")], "sorry", tools=[broken])
    assert len(results_of(await agent.run("go"))[0].content) < 3_000


async def test_a_result_that_is_not_json_is_an_observation() -> None:
    @tool
    async def opaque() -> object:
        return object()

    agent, _ = agent_of([call_of("opaque")], "sorry", tools=[opaque])
    [result] = results_of(await agent.run("go"))
    assert (result.is_error, result.content) == (
        True,
        "The tool 'opaque' returned a object that cannot be written as JSON.",
    )


async def test_a_manager_that_answers_rubbish_is_an_observation() -> None:
    class Rubbish(CountingTool):
        async def call(self, call: Any, context: ToolContext) -> ToolResult:
            return {"not": "a result"}  # type: ignore[return-value]  # what the test is about

    agent, _ = agent_of([call_of("count")], "sorry", tools=Rubbish())
    assert results_of(await agent.run("go"))[0].is_error


async def test_ten_megabytes_of_result_are_cut_on_a_character_boundary_with_a_note() -> None:
    @tool(side_effect=False)
    async def flood() -> str:
        return "é" * 5_000_000

    agent, _ = agent_of([call_of("flood")], "done", tools=[flood], limits=Limits(tool_result_bytes=1_001))
    [result] = results_of(await agent.run("go"))
    shown, _, note = result.content.partition("\n")
    assert shown == "é" * 500
    assert note == "[cut: the result is 10000000 bytes long, only the first 1001 are shown]"


async def test_characters_that_a_database_refuses_are_replaced_in_results() -> None:
    @tool(side_effect=False)
    async def odd() -> str:
        return "a\x00b\ud800c"

    agent, _ = agent_of([call_of("odd")], "done", tools=[odd])
    [result] = results_of(await agent.run("go"))
    assert result.content == "a\ufffdb?c"


@pytest.mark.parametrize(("side_effect", "doubt"), [(True, True), (False, False)])
async def test_a_tool_that_is_too_slow_is_an_observation(side_effect: bool, doubt: bool) -> None:
    @tool(side_effect=side_effect)
    async def hang() -> str:
        await asyncio.Event().wait()
        return "never"

    agent, _ = agent_of([call_of("hang")], "sorry", tools=[hang], limits=Limits(tool_seconds=0.01))
    [result] = results_of(await agent.run("go"))
    assert result.is_error
    assert result.content.startswith("The tool 'hang' did not finish within 0.01 s.")
    assert ("may or may not have taken effect" in result.content) is doubt


async def test_a_denied_call_is_an_observation_and_is_not_made() -> None:
    count = CountingTool()
    agent, _ = agent_of([call_of("count")], "sorry", tools=count, security=AllowList(["echo"]))
    [result] = results_of(await agent.run("go"))
    assert result.content == "The call of 'count' was not allowed: this agent may not use the tool."
    assert result.is_error
    assert count.calls == []


async def test_a_policy_that_never_answers_denies() -> None:
    class Silent(AllowList):
        async def judge(self, *_: Any) -> Any:
            await asyncio.Event().wait()

    count = CountingTool()
    agent, _ = agent_of([call_of("count")], "sorry", tools=count, security=Silent([]), limits=Limits(tool_seconds=0.01))
    assert "no verdict within" in results_of(await agent.run("go"))[0].content
    assert count.calls == []


async def test_steps_are_a_limit_that_ends_a_model_that_never_stops() -> None:
    agent, llm = agent_of(*[[call_of("echo", text="x")]] * 9, tools=[echo], limits=Limits(steps=4))
    report = await agent.run("go")
    assert report.outcome == LimitReached(LimitName.steps, "no answer after 4 steps")
    assert len(llm.asked) == report.steps == 4


async def test_tokens_are_a_limit() -> None:
    agent, _ = agent_of(*[[call_of("echo", text="x")]] * 9, tools=[echo], limits=Limits(tokens=31))
    report = await agent.run("go")
    assert report.outcome == LimitReached(LimitName.tokens, "45 of 31 tokens used")


async def test_active_seconds_are_a_limit() -> None:
    agent, _ = agent_of(*[[call_of("echo", text="x")]] * 9, tools=[echo], limits=Limits(seconds=1e-9))
    report = await agent.run("go")
    assert isinstance(report.outcome, LimitReached)
    assert report.outcome.limit is LimitName.seconds
    assert report.steps == 1


@pytest.mark.parametrize("useless", ["", [call_of("no_such_tool")], [call_of("echo", wrong=1)], cut("half of")])
async def test_answers_that_cannot_be_used_are_corrected_a_limited_number_of_times(useless: Reply) -> None:
    agent, llm = agent_of(*[useless] * 9, tools=[echo], limits=Limits(corrections=2))
    report = await agent.run("go")
    assert report.outcome == LimitReached(LimitName.corrections, "3 answers of the model in a row could not be used")
    assert len(llm.asked) == 3


async def test_a_usable_answer_in_between_starts_the_count_of_corrections_anew() -> None:
    good, bad = [call_of("echo", text="x")], ""
    agent, _ = agent_of(bad, good, bad, good, bad, "done", tools=[echo], limits=Limits(corrections=1))
    assert (await agent.run("go")).outcome == Finished("done")


async def test_too_many_calls_in_the_text_protocol_are_corrected_too() -> None:
    two = "Action: echo\nAction Input: {}\n" * 2
    llm = ScriptedLlm([two, "Final Answer: done"], native_tools=False)
    agent = Agent(planner=ReActPlanner(llm), tools=ToolRegistry([echo]), limits=Limits(calls_per_step=1))
    report = await agent.run("go")
    assert report.tool_calls == 0
    assert "at most 1 at a time" in str(llm.asked[1].messages[-1])


async def test_a_model_client_that_cancels_itself_is_unavailable_not_the_end_of_the_callers_task() -> None:
    agent, _ = agent_of(asyncio.CancelledError())
    with pytest.raises(LlmUnavailable, match="cancelled itself"):
        await agent.run("go")


@pytest.mark.parametrize(
    ("useless", "told"),
    [
        ("  \n", "Your last answer was empty"),
        (cut("a very long"), "be much shorter"),
        (cut("", call_of("echo", text="x")), "its tool calls were not made"),
        ([call_of("echo", text="x")] * 33, "at most 32 at a time"),
        (bungled("the arguments of 'echo' are not JSON"), "no tool was called: the arguments of 'echo' are not JSON."),
    ],
)
async def test_the_model_is_told_why_its_answer_could_not_be_used(useless: Reply, told: str) -> None:
    agent, llm = agent_of(useless, "done", tools=[echo])
    report = await agent.run("go")
    last = llm.asked[1].messages[-1]
    assert isinstance(last, UserMessage)
    assert told in last.text
    assert report.tool_calls == 0
    assert not any(isinstance(m, AssistantMessage) and m.tool_calls for m in llm.asked[1].messages)


async def test_a_bungled_call_is_journaled_and_replayed_as_it_was() -> None:
    journal = MemoryJournal()
    agent, _ = agent_of(bungled("no JSON"), "done", journal=journal)
    first = await agent.run("go")
    resumed, _ = agent_of(journal=journal)
    assert (await resumed.run("go")).transcript == first.transcript


async def test_a_retryable_model_error_is_raised_and_not_recorded() -> None:
    journal = MemoryJournal()
    agent, _ = agent_of(RateLimited("slow down", retry_after_seconds=3), "done", journal=journal)
    with pytest.raises(RateLimited):
        await agent.run("go")
    assert journal.results == {}
    assert (await agent.run("go")).outcome == Finished("done")


async def test_a_model_that_hangs_is_a_timeout() -> None:
    llm = ScriptedLlm(["late"], delay_seconds=60)
    agent = Agent(planner=ReActPlanner(llm), limits=Limits(llm_seconds=0.01))
    with pytest.raises(LlmTimeout, match=r"within 0\.01 s"):
        await agent.run("go")


SCHEMA: JsonObject = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}


async def test_a_model_that_repeats_a_call_is_told_and_ended_when_it_goes_on() -> None:
    counting = CountingTool(answer="pending")
    agent, llm = agent_of(*([[call_of("count", id=f"c{i}")] for i in range(9)]), tools=counting)

    report = await agent.run("wait for it")

    assert isinstance(report.outcome, LimitReached)
    assert report.outcome.limit is LimitName.repeats
    assert "'count' was called 6 times in a row" in report.outcome.detail
    assert len(counting.calls) == 6
    assert "2 times" not in str(llm.asked[2].messages)
    assert "You have called 'count' 3 times in a row" in str(llm.asked[3].messages[-1])


@pytest.mark.parametrize("fails", [False, True], ids=["result", "error"])
async def test_a_secret_that_a_tool_tells_reaches_neither_model_nor_journal(fails: bool) -> None:
    @tool(side_effect=False)
    def read_config() -> str:
        """Read the configuration."""
        text = "database: hunter2-the-password"
        if fails:
            raise ValueError(text)
        return text

    journal = MemoryJournal()
    redactor = Redactor(["hunter2-the-password"])
    agent, llm = agent_of([call_of("read_config")], "done", tools=[read_config], journal=journal, redactor=redactor)

    report = await agent.run("look")

    assert "database: [redacted]" in str(llm.asked[1].messages)
    assert "hunter2" not in f"{journal.results} {report.transcript} {llm.asked}"


async def test_calls_that_differ_in_arguments_or_results_are_no_repeats() -> None:
    counting = CountingTool(answer="pending")
    agent, _ = agent_of(*([[call_of("count", n=i)] for i in range(9)]), "done", tools=counting)

    assert (await agent.run("count")).outcome == Finished("done")


async def test_an_answer_that_fits_the_output_schema_is_given_as_json() -> None:
    agent, llm = agent_of('```json\n{"n": 3}\n```', output=SCHEMA)
    assert (await agent.run("go")).outcome == Finished('```json\n{"n": 3}\n```', {"n": 3})
    assert json.dumps(SCHEMA) in llm.asked[0].messages[0].text  # type: ignore[union-attr]  # a system message


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        ("three", "the answer is not JSON"),
        ('{"n": NaN}', "NaN is not JSON"),
        ('{"n": "x"}', "at $['n']: 'x' is not of type 'integer'"),
        ("[" * 100_000, "the answer is not JSON"),
    ],
    ids=["prose", "nan", "misfit", "deep"],
)
async def test_an_answer_that_does_not_fit_the_output_schema_is_corrected(answer: str, told: str) -> None:
    agent, llm = agent_of(answer, '{"n": 3}', output=SCHEMA)
    assert (await agent.run("go")).outcome == Finished('{"n": 3}', {"n": 3})
    assert told in llm.asked[1].messages[-1].text  # type: ignore[union-attr]  # a user message


async def test_an_output_schema_that_is_none_is_refused_when_the_agent_is_made() -> None:
    with pytest.raises(ConfigurationError, match="output is not a JSON Schema"):
        agent_of(output={"type": "no such type"})


async def test_an_output_schema_that_leads_nowhere_is_the_developers_mistake_and_not_the_models() -> None:
    agent, _ = agent_of("1", output={"$ref": "https://example.com/schema"})
    with pytest.raises(ConfigurationError, match="leads nowhere"):
        await agent.run("go")


async def test_cancelling_the_caller_cancels_tools_at_once_and_records_nothing_wrong() -> None:
    started, cancelled = asyncio.Event(), asyncio.Event()

    @tool(side_effect=False)
    async def hang() -> str:
        started.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.set()
            raise
        return "never"

    journal = MemoryJournal()
    agent, _ = agent_of([call_of("hang")], "done", tools=[hang], journal=journal)
    run = asyncio.create_task(agent.run("go"))
    await asyncio.wait_for(started.wait(), 5)
    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run
    assert cancelled.is_set()
    assert set(journal.results) == {"1/llm"}


async def test_a_revoked_run_stops_its_other_calls_and_raises_the_error_itself() -> None:
    cancelled = asyncio.Event()

    @tool(side_effect=False)
    async def hang() -> str:
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()
        return "never"

    @tool(side_effect=False)
    async def revoked() -> str:
        await asyncio.sleep(0)
        raise RunRevoked("handed over")

    agent, _ = agent_of([call_of("hang"), call_of("revoked")], tools=[hang, revoked])
    with pytest.raises(RunRevoked, match="handed over"):
        await agent.run("go")
    assert cancelled.is_set()


async def test_runs_of_one_agent_at_the_same_time_do_not_share_a_conversation() -> None:
    agent, _ = agent_of("one", "two")
    a, b = await asyncio.gather(agent.run("A"), agent.run("B"))
    assert a.transcript[0] == UserMessage("A")
    assert b.transcript[0] == UserMessage("B")
    assert len(a.transcript) == len(b.transcript) == 2


async def test_a_source_of_tools_that_hangs_offers_what_was_known() -> None:
    class Flaky(CountingTool):
        asked = 0

        async def specs(self) -> Any:
            Flaky.asked += 1
            if Flaky.asked > 1:
                await asyncio.Event().wait()
            return await CountingTool.specs(self)

    agent, llm = agent_of([call_of("count")], "done", tools=Flaky(), limits=Limits(tool_seconds=0.05))
    assert (await agent.run("go")).outcome == Finished("done")
    assert [spec.name for spec in llm.asked[1].tools] == ["count"]


async def test_usage_is_summed_over_the_steps() -> None:
    agent, _ = agent_of([call_of("echo", text="x")], "done", tools=[echo])
    assert (await agent.run("go")).usage == Usage(20, 10)
