"""Tool calls that wait for a person, a signal, a time or another agent."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from agentkit import (
    Agent,
    Finished,
    JsonObject,
    MemoryJournal,
    OnUnknown,
    ReActPlanner,
    RunReport,
    RunSuspended,
    StepMismatch,
    ToolCall,
    ToolContext,
    ToolError,
    ToolMessage,
    ToolRegistry,
    ToolResult,
    Wait,
    WaitAnswerInvalid,
    WaitKind,
    ask_person,
    sleep,
    wait_for_signal,
)
from agentkit.testing import Reply, ScriptedLlm, call_of

SCHEMA: JsonObject = {"type": "object", "required": ["city"]}


class Bench:
    """A run whose one tool is a function of the call's context."""

    def __init__(
        self,
        body: Callable[[ToolContext], Awaitable[Any]],
        *,
        side_effect: bool = False,
        on_unknown: OnUnknown = OnUnknown.ask,
    ) -> None:
        async def go(context: ToolContext) -> Any:
            self.entered += 1
            return await body(context)

        self.entered = 0
        self.journal = MemoryJournal()
        self.tools = ToolRegistry()
        self.tools.add(go, side_effect=side_effect, on_unknown=on_unknown)
        self.replies: list[Reply] = [[call_of("go")], "done"]
        self.llm = ScriptedLlm(self.replies)

    async def run(self) -> RunReport:
        return await Agent(planner=ReActPlanner(self.llm), tools=self.tools, journal=self.journal).run("go", run_id="r")

    async def waits(self) -> list[Wait]:
        with pytest.raises(RunSuspended) as suspended:
            await self.run()
        return list(suspended.value.waits)

    async def observed(self) -> list[ToolResult]:
        report = await self.run()
        assert report.outcome == Finished("done")
        return [each for m in report.transcript if isinstance(m, ToolMessage) for each in m.results]


async def asks(context: ToolContext) -> Any:
    return await context.waits.ask("Where to?", schema=SCHEMA, timeout_seconds=60, groups=["travel"])


async def sleeps(context: ToolContext) -> Any:
    await context.waits.sleep(90)
    return "slept"


async def signals(context: ToolContext) -> Any:
    return await context.waits.signal("payment", timeout_seconds=60)


async def calls(context: ToolContext) -> Any:
    return await context.waits.call_agent("researcher", {"goal": "find it"})


@pytest.mark.parametrize(
    ("body", "kind", "request_", "answer", "content"),
    [
        (
            asks,
            WaitKind.input,
            {"question": "Where to?", "schema": SCHEMA, "timeout_seconds": 60, "groups": ["travel"]},
            {"response": {"city": "Bern"}, "by": "ann"},
            '{"city":"Bern"}',
        ),
        (sleeps, WaitKind.timer, {"seconds": 90}, {}, "slept"),
        (
            signals,
            WaitKind.signal,
            {"name": "payment", "timeout_seconds": 60},
            {"payload": [1, 2], "by": "bank"},
            "[1,2]",
        ),
        (
            calls,
            WaitKind.child,
            {"agent": "researcher", "input": {"goal": "find it"}},
            {"task_id": "t", "status": "completed", "result": "found", "error": None},
            '{"task_id":"t","status":"completed","result":"found","error":null}',
        ),
    ],
    ids=["input", "timer", "signal", "child"],
)
async def test_a_call_waits_until_there_is_an_answer(
    body: Callable[[ToolContext], Awaitable[Any]],
    kind: WaitKind,
    request_: JsonObject,
    answer: JsonObject,
    content: str,
) -> None:
    bench = Bench(body)
    [wait] = await bench.waits()
    assert wait == Wait(key=f"1/tool/1/{kind}/1", kind=kind, request=request_)
    assert await bench.waits() == [wait]
    bench.journal.resolve(wait.key, answer)
    [result] = await bench.observed()
    assert (result.content, result.is_error) == (content, False)
    assert (await bench.observed(), bench.entered) == ([result], 3)


async def test_waits_are_numbered_by_kind_within_their_call() -> None:
    async def trip(context: ToolContext) -> str:
        where = await context.waits.ask("Where?")
        await context.waits.sleep(1)
        when = await context.waits.ask("When?")
        return f"{where} {when}"

    bench = Bench(trip)
    for key, answer in (("input/1", {"response": "Bern"}), ("timer/1", {}), ("input/2", {"response": "now"})):
        [wait] = await bench.waits()
        assert wait.key == f"1/tool/1/{key}"
        bench.journal.resolve(wait.key, answer)
    assert [r.content for r in await bench.observed()] == ["Bern now"]


async def test_waits_that_a_call_makes_at_once_are_open_at_once() -> None:
    async def both(context: ToolContext) -> Any:
        return await asyncio.gather(context.waits.ask("Where?"), context.waits.signal("go"))

    bench = Bench(both)
    waits = await bench.waits()
    assert [wait.key for wait in waits] == ["1/tool/1/input/1", "1/tool/1/signal/1"]
    bench.journal.resolve(waits[1].key, {"payload": 1})
    assert await bench.waits() == waits[:1]
    bench.journal.resolve(waits[0].key, {"response": "Bern"})
    assert [r.content for r in await bench.observed()] == ['["Bern",1]']


async def test_calls_of_one_answer_that_wait_are_gathered() -> None:
    bench = Bench(asks)
    bench.tools.add(signals, name="other", side_effect=False)
    bench.llm = ScriptedLlm([[call_of("go"), call_of("other")], "done"])
    assert [wait.key for wait in await bench.waits()] == ["1/tool/1/input/1", "1/tool/2/signal/1"]


@pytest.mark.parametrize("breaks", [False, True], ids=["answers", "breaks"])
async def test_a_tool_that_catches_everything_still_waits(breaks: bool) -> None:
    async def stubborn(context: ToolContext) -> str:
        with contextlib.suppress(Exception):
            await context.waits.ask("Where?")
        if breaks:
            raise ValueError("and then it breaks")
        return "I did not wait"

    bench = Bench(stubborn)
    [wait] = await bench.waits()
    assert wait.key == "1/tool/1/input/1"
    assert set(bench.journal.results) == {"1/llm"}


async def test_a_tool_that_catches_its_cancellation_and_waits_does_not_undo_the_cancel() -> None:
    started = asyncio.Event()

    async def stubborn(context: ToolContext) -> Any:
        started.set()
        try:
            await asyncio.Event().wait()
        finally:
            await context.waits.ask("Really?")

    bench = Bench(stubborn)
    run = asyncio.create_task(bench.run())
    await asyncio.wait_for(started.wait(), 5)
    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run


@pytest.mark.parametrize(
    ("body", "answer", "told"),
    [
        (asks, {"expired": True}, "Nobody answered the question in time."),
        (asks, {"declined": True, "reason": "busy"}, "A person declined to answer: busy."),
        (signals, {"expired": True}, "The signal 'payment' did not come in time."),
    ],
    ids=["question", "declined", "signal"],
)
async def test_what_did_not_come_is_an_observation(
    body: Callable[[ToolContext], Awaitable[Any]], answer: JsonObject, told: str
) -> None:
    bench = Bench(body)
    [wait] = await bench.waits()
    bench.journal.resolve(wait.key, answer)
    [result] = await bench.observed()
    assert (result.content, result.is_error) == (told, True)


async def test_a_signal_that_came_before_it_was_awaited_counts() -> None:
    bench = Bench(signals)
    bench.journal.resolve("1/tool/1/signal/1", {"payload": "early"})
    assert [r.content for r in await bench.observed()] == ["early"]


@pytest.mark.parametrize("body", [asks, signals, calls], ids=["input", "signal", "child"])
async def test_an_answer_without_what_was_asked_for_is_refused_and_nothing_is_recorded(
    body: Callable[[ToolContext], Awaitable[Any]],
) -> None:
    bench = Bench(body)
    [wait] = await bench.waits()
    bench.journal.resolve(wait.key, {"by": "ann"})
    with pytest.raises(WaitAnswerInvalid, match=wait.key):
        await bench.run()
    assert set(bench.journal.results) == {"1/llm"}


async def test_an_answer_to_another_question_is_not_taken_even_by_a_tool_that_catches_everything() -> None:
    async def fickle(context: ToolContext) -> Any:
        with contextlib.suppress(Exception):
            return await context.waits.ask(f"Buy at {bench.entered}?")

    bench = Bench(fickle)
    [wait] = await bench.waits()
    bench.journal.resolve(wait.key, {"response": "yes", "fingerprint": wait.fingerprint})
    with pytest.raises(StepMismatch, match="1/tool/1/input/1"):
        await bench.run()
    assert set(bench.journal.results) == {"1/llm"}


async def test_a_pause_that_is_counted_from_the_clock_is_the_same_pause() -> None:
    async def until_noon(context: ToolContext) -> str:
        await context.waits.sleep(100 - bench.entered)
        return "noon"

    bench = Bench(until_noon)
    [wait] = await bench.waits()
    bench.journal.resolve(wait.key, {"fingerprint": wait.fingerprint})
    assert [r.content for r in await bench.observed()] == ["noon"]


@pytest.mark.parametrize("on_unknown", [OnUnknown.ask, OnUnknown.fail])
async def test_a_tool_with_a_side_effect_is_told_that_it_cannot_wait(on_unknown: OnUnknown) -> None:
    bench = Bench(asks, side_effect=True, on_unknown=on_unknown)
    [result] = await bench.observed()
    assert result.is_error
    assert result.content.startswith("The tool 'go' cannot wait: it has a side effect")


async def test_a_tool_that_may_be_repeated_waits_after_its_intent_and_keeps_its_key() -> None:
    keys = []

    async def idempotent(context: ToolContext) -> Any:
        keys.append(context.idempotency_key)
        return await context.waits.ask("Sure?")

    bench = Bench(idempotent, side_effect=True, on_unknown=OnUnknown.retry)
    [wait] = await bench.waits()
    assert set(bench.journal.intents) == {"1/tool/1"}
    bench.journal.resolve(wait.key, {"response": "yes"})
    assert [r.content for r in await bench.observed()] == ["yes"]
    assert keys == ["r:1/tool/1"] * 2


async def test_a_call_outside_of_a_run_is_told_that_it_cannot_wait() -> None:
    with pytest.raises(ToolError, match="not made by a run"):
        await ToolContext("r", "1/tool/1", "k", 5).waits.ask("Where?")


async def test_the_suspension_of_another_run_inside_a_tool_is_a_failure_of_the_tool() -> None:
    async def nested(context: ToolContext) -> Any:
        raise RunSuspended([Wait(key="1/tool/1/input/1", kind=WaitKind.input, request={})])

    [result] = await Bench(nested).observed()
    assert "RunSuspended" in result.content


@pytest.mark.parametrize(
    ("wait", "told"),
    [
        (lambda waits: waits.ask(" "), "A question needs 1 to 10000 characters."),
        (lambda waits: waits.ask("x" * 10_001), "A question needs"),
        (lambda waits: waits.ask("?", timeout_seconds=0), "A time limit must be over 0"),
        (lambda waits: waits.sleep(-1), "Seconds to sleep must be 0 to"),
        (lambda waits: waits.sleep(float("nan")), "Seconds to sleep"),
        (lambda waits: waits.sleep(1e12), "Seconds to sleep"),
        (lambda waits: waits.signal(""), "The name of a signal needs 1 to 128 letters"),
        (lambda waits: waits.signal("pay ment"), "The name of a signal needs"),
        (lambda waits: waits.signal("x" * 10_000), "The name of a signal needs"),
        (lambda waits: waits.signal("go", timeout_seconds=float("inf")), "A time limit must be"),
        (lambda waits: waits.call_agent("", {}), "A name needs 1 to 128 printable characters"),
    ],
)
async def test_a_request_that_is_no_good_is_an_observation_that_says_why(wait: Any, told: str) -> None:
    [result] = await Bench(lambda context: wait(context.waits)).observed()
    assert result.is_error
    assert result.content.startswith(told)
    assert len(result.content) < 400


async def test_characters_that_a_database_refuses_are_replaced_in_questions() -> None:
    bench = Bench(lambda context: context.waits.ask("a\x00b\ud800"))
    [wait] = await bench.waits()
    assert wait.request["question"] == "a\ufffdb?"


@pytest.mark.parametrize(
    ("call", "answer", "content"),
    [
        (call_of("ask_person", question="Where?"), {"response": "Bern"}, "Bern"),
        (call_of("sleep", seconds=90), {}, "90 s have passed."),
        (ToolCall("1", "wait_for_signal", {"name": "payment"}), {"payload": {"id": 1}}, '{"id":1}'),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
async def test_a_model_can_wait_with_the_builtin_tools(call: Any, answer: JsonObject, content: str) -> None:
    bench = Bench(asks)
    bench.tools = ToolRegistry([ask_person, sleep, wait_for_signal])
    bench.llm = ScriptedLlm([[call], "done"])
    [wait] = await bench.waits()
    bench.journal.resolve(wait.key, answer)
    assert [r.content for r in await bench.observed()] == [content]


def test_a_suspension_says_what_is_waited_for() -> None:
    waits = [Wait(key="1/tool/1/timer/1", kind=WaitKind.timer, request={"seconds": 1})]
    assert str(RunSuspended(waits)) == "the run waits for timer (1/tool/1/timer/1)"


async def test_a_hundred_agents_that_one_call_asks_at_once_are_all_waited_for_and_each_has_its_own_answer() -> None:
    async def fan_out(context: ToolContext) -> list[Any]:
        work = [context.waits.call_agent("writer", {"goal": str(number)}) for number in range(100)]
        return [answer["result"] for answer in await asyncio.gather(*work)]

    bench = Bench(fan_out)
    waits = await bench.waits()
    assert [wait.request["input"] for wait in waits] == [{"goal": str(number)} for number in range(100)]
    for number, wait in reversed(list(enumerate(waits))):
        assert await bench.waits() == waits[: number + 1]
        bench.journal.resolve(wait.key, {"task_id": "t", "status": "completed", "result": number, "error": None})
    [result] = await bench.observed()
    assert result.content == str(list(range(100))).replace(" ", "")
