"""What a run does when it dies between any two writes of its journal and is resumed."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace

import pytest

from agentkit import (
    ADOPTED,
    Agent,
    AgentkitError,
    Allowed,
    AllowList,
    BaseSecurityManager,
    BaseToolManager,
    CombinedTools,
    DemoLlm,
    Finished,
    JsonObject,
    LimitName,
    LimitReached,
    Limits,
    LlmResponse,
    MemoryJournal,
    Message,
    NeedsApproval,
    OneCallPlanner,
    OnUnknown,
    OutcomeUnknown,
    ReActPlanner,
    RunReport,
    RunRevoked,
    RunSuspended,
    StepIntent,
    StepKind,
    StepMismatch,
    StepResult,
    ToolCall,
    ToolContext,
    ToolMessage,
    ToolRegistry,
    ToolResult,
    ToolSpec,
    Verdict,
    Wait,
    WaitKind,
)
from agentkit.decisions import Decision
from agentkit.journal import Recalled
from agentkit.testing import CountingTool, Reply, ScriptedLlm, call_of


class Died(Exception):
    """The process is gone."""


class DyingJournal(MemoryJournal):
    """Dies at the nth write: just before it is made, or just after."""

    def __init__(self, at_write: int, *, after: bool) -> None:
        super().__init__()
        self._writes_left = at_write
        self._after = after

    async def intend(self, intent: StepIntent) -> None:
        if self._dies() and not self._after:
            raise Died
        await super().intend(intent)
        if self._writes_left == 0:
            self._writes_left = -1
            raise Died

    async def record(self, result: StepResult) -> None:
        if self._dies() and not self._after:
            raise Died
        await super().record(result)
        if self._writes_left == 0:
            self._writes_left = -1
            raise Died

    def conclude(self, result: StepResult) -> None:
        if self._dies() and not self._after:
            raise Died
        super().conclude(result)
        if self._writes_left == 0:
            self._writes_left = -1
            raise Died

    def _dies(self) -> bool:
        self._writes_left -= 1
        if self._writes_left == 0 and not self._after:
            self._writes_left = -1
            return True
        return False


class ForgetfulJournal(DyingJournal):
    """The negative control: nothing that was written is recalled."""

    def recall(self, key: str) -> Recalled:
        return None


class CountingLlm(ScriptedLlm):
    """Two calls at once, then one more, then the answer: decided from the conversation, as a real model does."""

    def __init__(self) -> None:
        super().__init__([])

    async def complete(
        self,
        messages: Sequence[Message],
        *,
        tools: Sequence[ToolSpec] = (),
        output_schema: JsonObject | None = None,
        timeout_seconds: float,
    ) -> LlmResponse:
        rounds = sum(isinstance(message, ToolMessage) for message in messages)
        two_calls = [call_of("a", id="1", n=1), call_of("b", id="2", n=2)]
        replies: list[Reply] = [two_calls, [call_of("a", id="3", n=3)], "done"]
        self._replies = [replies[rounds]]
        return await super().complete(messages, tools=tools, timeout_seconds=timeout_seconds)


class World:
    """What outlives the process: the journal, and the counts of model calls and of each tool call's effect."""

    def __init__(self, journal: MemoryJournal, *, side_effect: bool, on_unknown: OnUnknown = OnUnknown.ask) -> None:
        self.journal = journal
        self.llm = CountingLlm()
        self.a = CountingTool("a", "A", side_effect, on_unknown)
        self.b = CountingTool("b", "B", side_effect, on_unknown)

    async def run(self) -> RunReport:
        agent = Agent(planner=ReActPlanner(self.llm), tools=CombinedTools(self.a, self.b), journal=self.journal)
        return await agent.run("go", run_id="run-1")

    async def run_until_it_lives(self) -> RunReport:
        for _ in range(10):
            try:
                return await self.run()
            except Died:
                continue
        raise AssertionError("it kept dying")

    def keys_called(self) -> list[str]:
        return [context.step_key for _, context in (*self.a.calls, *self.b.calls)]


#: 3 model calls and 3 tool calls; with side effects 3 intents more.
WRITES = 6
WRITES_WITH_INTENTS = 9
#: The intent of 2/tool/1: two model calls and two calls with intent and result come before it.
WRITE_OF_LAST_INTENT = 7


@pytest.mark.parametrize("at_write", range(1, WRITES + 1))
async def test_a_run_that_dies_after_any_write_gives_the_same_answer_and_repeats_nothing(at_write: int) -> None:
    world = World(DyingJournal(at_write, after=True), side_effect=False)
    whole = await World(MemoryJournal(), side_effect=False).run()
    report = await world.run_until_it_lives()
    assert report.outcome == Finished("done")
    assert report.transcript == whole.transcript
    assert (report.steps, report.tool_calls, report.usage) == (whole.steps, whole.tool_calls, whole.usage)
    assert len(world.llm.asked) == 3
    # Both calls of one answer are under way when the first of them is recorded; the other has no record yet.
    repeated = len(world.keys_called()) - len(set(world.keys_called()))
    assert repeated <= (1 if at_write == 2 else 0)


async def test_without_recall_the_same_death_repeats_steps() -> None:
    world = World(ForgetfulJournal(WRITES, after=True), side_effect=False)
    await world.run_until_it_lives()
    assert len(world.llm.asked) > 3
    assert len(world.keys_called()) > len(set(world.keys_called()))


@pytest.mark.parametrize("after", [True, False], ids=["after", "before"])
@pytest.mark.parametrize("at_write", range(1, WRITES_WITH_INTENTS + 1))
async def test_an_idempotent_tool_is_called_again_with_the_same_key(at_write: int, after: bool) -> None:
    world = World(DyingJournal(at_write, after=after), side_effect=True, on_unknown=OnUnknown.retry)
    report = await world.run_until_it_lives()
    assert report.outcome == Finished("done")
    calls = (*world.a.calls, *world.b.calls)
    assert {context.idempotency_key for _, context in calls} == {
        f"run-1:{key}" for key in ("1/tool/1", "1/tool/2", "2/tool/1")
    }
    assert all(context.idempotency_key == f"run-1:{context.step_key}" for _, context in calls)


@pytest.mark.parametrize("on_unknown", [OnUnknown.ask, OnUnknown.fail])
@pytest.mark.parametrize("after", [True, False], ids=["after", "before"])
@pytest.mark.parametrize("at_write", range(1, WRITES_WITH_INTENTS + 1))
async def test_a_side_effect_never_happens_twice_on_its_own(at_write: int, after: bool, on_unknown: OnUnknown) -> None:
    world = World(DyingJournal(at_write, after=after), side_effect=True, on_unknown=on_unknown)
    unknown: list[str] = []
    try:
        assert (await world.run_until_it_lives()).outcome == Finished("done")
    except OutcomeUnknown as error:
        unknown = [error.step_key]
    except RunSuspended as suspended:
        unknown = [wait.key.removesuffix("/outcome") for wait in suspended.waits]
    assert all(isinstance(world.journal.recall(key), StepIntent) for key in unknown)
    assert len(world.keys_called()) == len(set(world.keys_called()))


async def test_a_call_of_unknown_outcome_that_forbids_a_repeat_ends_the_run() -> None:
    world = World(DyingJournal(WRITE_OF_LAST_INTENT, after=True), side_effect=True, on_unknown=OnUnknown.fail)
    with pytest.raises(Died):
        await world.run()
    with pytest.raises(OutcomeUnknown) as unknown:
        await world.run()
    assert unknown.value.step_key == "2/tool/1"
    assert "will not be run again" in str(unknown.value)


class Waiting(World):
    """The same run, in which a person approves the calls of `a`, and `b` asks a question."""

    def __init__(self, journal: MemoryJournal) -> None:
        super().__init__(journal, side_effect=True)
        self.b = AskingTool("b", "B")
        self.decided: list[str] = []

    async def run(self) -> RunReport:
        tools = CombinedTools(self.a, self.b)
        planner, security = ReActPlanner(self.llm), AskFirst()
        return await Agent(planner=planner, tools=tools, journal=self.journal, security=security).run(
            "go", run_id="run-1"
        )

    async def run_to_the_end(self) -> RunReport:
        """Dies, waits, is answered and goes on, until it is done."""
        for _ in range(20):
            try:
                return await self.run_until_it_lives()
            except RunSuspended as suspended:
                for wait in suspended.waits:
                    self.decide(wait)
        raise AssertionError("it kept waiting")

    def decide(self, wait: Wait) -> None:
        """As a careful person does, who looks whether a call took effect."""
        self.decided.append(wait.key)
        answer: JsonObject = {"response": "B"} if wait.kind is WaitKind.input else {"decision": "approve"}
        if wait.key.removesuffix("/outcome") in self.effects():
            answer = {"decision": "respond", "response": "A"}
        self.journal.resolve(wait.key, {"fingerprint": wait.fingerprint, **answer})

    def effects(self) -> list[str]:
        return [context.step_key for _, context in self.a.calls]


class AskingTool(CountingTool):
    async def call(self, call: ToolCall, context: ToolContext) -> ToolResult:
        self.calls.append((call, context))
        return ToolResult(call.id, call.name, str(await context.waits.ask(f"What of {call.arguments}?")))


class AskFirst(BaseSecurityManager):
    async def judge(self, call: ToolCall, spec: ToolSpec, context: ToolContext) -> Verdict:
        return NeedsApproval("Does something.") if call.name == "a" else Allowed()


#: 3 model calls, 3 tool calls, and an intent for each of the two that have a side effect.
WRITES_WITH_WAITS = 8


@pytest.mark.parametrize("after", [True, False], ids=["after", "before"])
@pytest.mark.parametrize("at_write", range(1, WRITES_WITH_WAITS + 1))
async def test_a_run_that_waits_and_dies_does_nothing_twice_and_asks_nothing_twice(at_write: int, after: bool) -> None:
    world, whole = Waiting(DyingJournal(at_write, after=after)), Waiting(MemoryJournal())
    undisturbed = await whole.run_to_the_end()
    report = await world.run_to_the_end()
    assert (report.transcript, report.usage) == (undisturbed.transcript, undisturbed.usage)
    assert sorted(world.effects()) == ["1/tool/1", "2/tool/1"]
    assert len(world.decided) == len(set(world.decided))
    asked_of_outcomes = {key for key in world.decided if key.endswith("/outcome")}
    assert set(world.decided) - asked_of_outcomes == {"1/tool/1/approval", "1/tool/2/input/1", "2/tool/1/approval"}


async def test_without_intents_the_same_deaths_do_something_twice() -> None:
    class NoIntents(DyingJournal):
        """The negative control: what was begun is forgotten."""

        def recall(self, key: str) -> Recalled:
            return self.results.get(key)

    repeats = 0
    for at_write in range(1, WRITES_WITH_WAITS + 1):
        world = Waiting(NoIntents(at_write, after=False))
        await world.run_to_the_end()
        repeats += len(world.effects()) - len(set(world.effects()))
    assert repeats > 0


async def test_a_run_with_waits_makes_as_many_writes_as_are_killed_here() -> None:
    class Counted(MemoryJournal):
        writes = 0

        async def intend(self, intent: StepIntent) -> None:
            self.writes += 1
            await super().intend(intent)

        async def record(self, result: StepResult) -> None:
            self.writes += 1
            await super().record(result)

        def conclude(self, result: StepResult) -> None:
            self.writes += 1
            super().conclude(result)

    journal = Counted()
    await Waiting(journal).run_to_the_end()
    assert journal.writes == WRITES_WITH_WAITS


async def test_an_adopted_result_fits_whatever_the_step_would_be_now() -> None:
    journal = MemoryJournal()
    await World(journal, side_effect=False).run()
    for key, result in journal.results.items():
        journal.results[key] = replace(result, fingerprint=ADOPTED)
    del journal.results["3/llm"]
    llm = ScriptedLlm(["another end"])
    fork = Agent(planner=ReActPlanner(llm), journal=journal, definition="v2", instructions="Otherwise.")
    assert (await fork.run("go")).outcome == Finished("another end")
    assert len(llm.asked) == 1


async def test_an_adopted_mark_on_an_intent_fits_nothing() -> None:
    world = World(DyingJournal(WRITE_OF_LAST_INTENT, after=True), side_effect=True, on_unknown=OnUnknown.retry)
    with pytest.raises(Died):
        await world.run()
    world.journal.intents["2/tool/1"] = replace(world.journal.intents["2/tool/1"], fingerprint=ADOPTED)
    with pytest.raises(StepMismatch):
        await world.run()


async def test_a_tool_error_that_was_observed_is_replayed() -> None:
    journal = MemoryJournal()
    agent = Agent(planner=ReActPlanner(ScriptedLlm([[call_of("nothing")], "sorry"])), journal=journal)
    first = await agent.run("go", run_id="r")
    count = CountingTool("nothing")
    resumed = Agent(planner=ReActPlanner(ScriptedLlm([])), tools=count, journal=journal)
    assert (await resumed.run("go", run_id="r")).transcript == first.transcript
    assert count.calls == []


async def test_replayed_misaskings_count_as_corrections() -> None:
    journal, limits = MemoryJournal(), Limits(corrections=1)
    llm = ScriptedLlm([[call_of("nothing")]] * 2)
    for replies in (llm, ScriptedLlm([])):
        report = await Agent(planner=ReActPlanner(replies), journal=journal, limits=limits).run("go")
        assert isinstance(report.outcome, LimitReached)
        assert report.outcome.limit is LimitName.corrections


async def test_replayed_seconds_count_as_when_they_were_made() -> None:
    journal = MemoryJournal()
    agent = Agent(planner=ReActPlanner(DemoLlm()), tools=CountingTool("calc"), journal=journal)
    await agent.run("hello")
    [(key, result)] = journal.results.items()
    journal.results[key] = StepResult(
        key=key, kind=StepKind.llm, fingerprint=result.fingerprint, payload=result.payload, seconds=12.5
    )
    assert (await agent.run("hello")).seconds == 12.5


async def test_a_changed_definition_is_a_step_mismatch() -> None:
    journal = MemoryJournal()
    await Agent(planner=ReActPlanner(ScriptedLlm(["done"])), journal=journal, definition="v1").run("go")
    with pytest.raises(StepMismatch, match="1/llm"):
        await Agent(planner=ReActPlanner(ScriptedLlm([])), journal=journal, definition="v2").run("go")


async def test_a_changed_call_is_a_step_mismatch_before_anything_acts() -> None:
    journal, count = MemoryJournal(), CountingTool("a")
    await Agent(planner=ReActPlanner(ScriptedLlm([[call_of("a", n=1)], "x"])), tools=count, journal=journal).run("go")
    del journal.results["1/llm"]
    count.calls.clear()
    changed = Agent(planner=ReActPlanner(ScriptedLlm([[call_of("a", n=2)]])), tools=count, journal=journal)
    with pytest.raises(StepMismatch, match="1/tool/1"):
        await changed.run("go")
    assert count.calls == []


async def test_the_llm_step_keeps_only_what_is_new() -> None:
    world = World(MemoryJournal(), side_effect=False)
    await world.run()
    payload = world.journal.results["3/llm"].payload
    assert set(payload) == {"message", "stop", "usage", "provider", "model"}
    assert payload["message"] == {"role": "assistant", "text": "done"}


async def test_the_intent_says_what_is_about_to_be_done() -> None:
    world = World(MemoryJournal(), side_effect=True)
    await world.run()
    assert world.journal.intents["1/tool/2"].payload == {
        "call_id": "2",
        "name": "b",
        "arguments": {"n": 2},
        "idempotency_key": "run-1:1/tool/2",
        "on_unknown": "ask",
    }


@pytest.mark.parametrize(("checks_passed", "calls_made"), [(0, 0), (1, 1), (2, 3), (3, 4), (4, 5)])
async def test_a_revoked_run_begins_no_further_step(checks_passed: int, calls_made: int) -> None:
    class Revoked(MemoryJournal):
        checks_left = checks_passed

        def check(self) -> None:
            if self.checks_left == 0:
                raise RunRevoked
            self.checks_left -= 1

    world = World(Revoked(), side_effect=False)
    with pytest.raises(RunRevoked):
        await world.run()
    assert len(world.llm.asked) + len(world.keys_called()) == calls_made


async def test_a_run_asked_to_stop_finishes_the_calls_it_has_begun() -> None:
    class Drained(MemoryJournal):
        """Asked to stop as soon as the first intent is written."""

        def check(self) -> None:
            if self.intents:
                raise RunRevoked("drain")

    world = World(Drained(), side_effect=True)
    with pytest.raises(RunRevoked, match="drain"):
        await world.run()
    assert set(world.journal.intents) == {"1/tool/1", "1/tool/2"} <= set(world.journal.results)


async def test_a_run_that_somebody_else_may_have_by_now_makes_no_call_it_has_begun() -> None:
    class Lost(MemoryJournal):
        def check_begun(self) -> None:
            raise RunRevoked("lost")

    world = World(Lost(), side_effect=True)
    with pytest.raises(RunRevoked, match="lost"):
        await world.run()
    assert world.keys_called() == []


async def test_a_cancelled_run_still_records_the_effect_that_has_happened() -> None:
    class Slow(MemoryJournal):
        def __init__(self) -> None:
            super().__init__()
            self.writing, self.may_write = asyncio.Event(), asyncio.Event()

        async def record(self, result: StepResult) -> None:
            if result.kind is StepKind.tool:
                self.writing.set()
                await self.may_write.wait()
            await super().record(result)

    journal = Slow()
    agent = Agent(
        planner=ReActPlanner(ScriptedLlm([[call_of("pay")], "done"])),
        tools=CountingTool("pay", side_effect=True),
        journal=journal,
    )
    run = asyncio.create_task(agent.run("go"))
    await asyncio.wait_for(journal.writing.wait(), 5)
    run.cancel()
    await asyncio.sleep(0)
    journal.may_write.set()
    with pytest.raises(asyncio.CancelledError):
        await run
    assert "1/tool/1" in journal.results


async def test_a_denied_call_of_unknown_outcome_says_so() -> None:
    world = World(DyingJournal(7, after=True), side_effect=True, on_unknown=OnUnknown.retry)
    with pytest.raises(Died):
        await world.run()
    tools: BaseToolManager = CombinedTools(world.a, world.b, ToolRegistry())
    agent = Agent(planner=ReActPlanner(world.llm), tools=tools, journal=world.journal, security=AllowList([]))
    report = await agent.run("go", run_id="run-1")
    observed = [m for m in report.transcript if isinstance(m, ToolMessage)][-1].results[0]
    assert "may have taken effect" in observed.content


def test_every_error_says_in_its_class_whether_trying_again_can_help() -> None:
    leaves = [AgentkitError]
    for error in leaves:
        leaves.extend(error.__subclasses__())
        assert isinstance(error.retryable, bool)
        assert error.code
    assert len({error.code for error in leaves}) == len(leaves)


async def test_an_answer_that_nothing_can_be_made_of_is_recorded_all_the_same() -> None:
    """It is paid for; what is wrong is the planner."""

    class Puzzled(ReActPlanner):
        def decide(self, response: LlmResponse, tools: Sequence[ToolSpec]) -> Decision:
            raise RuntimeError("puzzled")

    journal = MemoryJournal()
    with pytest.raises(RuntimeError, match="puzzled"):
        await Agent(planner=Puzzled(ScriptedLlm(["done"])), journal=journal).run("goal", run_id="r")
    assert list(journal.results) == ["1/llm"]


async def test_a_planner_that_uses_no_tools_has_nobody_asked_for_them() -> None:
    class Away(BaseToolManager):
        async def specs(self) -> Sequence[ToolSpec]:
            raise AssertionError("asked")

        async def call(self, call: ToolCall, context: ToolContext) -> ToolResult:
            raise AssertionError("called")

    report = await Agent(planner=OneCallPlanner(ScriptedLlm(["done"])), tools=Away()).run("goal")
    assert isinstance(report.outcome, Finished)
