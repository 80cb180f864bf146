"""Calls that were begun by a process that died before it recorded what came of them."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from agentkit import (
    Agent,
    AllowAll,
    BaseSecurityManager,
    BaseToolManager,
    JsonObject,
    MemoryJournal,
    NeedsApproval,
    OnUnknown,
    OutcomeUnknown,
    ReActPlanner,
    RunReport,
    RunSuspended,
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
    WaitAnswerInvalid,
    WaitKind,
)
from agentkit.testing import CountingTool, ScriptedLlm, call_of


class Died(Exception):
    """The process is gone."""


class Amnesia(MemoryJournal):
    """Dies before it records a tool's result, as often as it is told to."""

    deaths = 1

    async def record(self, result: StepResult) -> None:
        if result.key == "1/tool/1" and self.deaths:
            self.deaths -= 1
            raise Died
        await super().record(result)


class Asking(BaseSecurityManager):
    async def judge(self, call: ToolCall, spec: ToolSpec, context: ToolContext) -> Verdict:
        return NeedsApproval("Pays.", {"groups": ["finance"], "required": 2})


@dataclass
class Till:
    """A payment that was made, by a process that died before it could say so."""

    on_unknown: OnUnknown = OnUnknown.ask
    security: BaseSecurityManager = field(default_factory=AllowAll)
    journal: Amnesia = field(default_factory=Amnesia)

    def __post_init__(self) -> None:
        self.pay = CountingTool("pay", "paid", side_effect=True, on_unknown=self.on_unknown)
        self.tools: BaseToolManager = self.pay
        self.llm = ScriptedLlm([[call_of("pay", amount=5)], "done"])

    async def run(self) -> RunReport:
        planner = ReActPlanner(self.llm)
        agent = Agent(planner=planner, tools=self.tools, security=self.security, journal=self.journal)
        return await agent.run("go", run_id="r")

    async def die(self) -> None:
        with pytest.raises(Died):
            await self.run()

    async def wait(self) -> Wait:
        with pytest.raises(RunSuspended) as suspended:
            await self.run()
        [wait] = suspended.value.waits
        return wait

    async def decide(self, **answer: object) -> None:
        wait = await self.wait()
        self.journal.resolve(wait.key, {"fingerprint": wait.fingerprint, **answer})

    async def observed(self) -> ToolResult:
        report = await self.run()
        [result] = [each for m in report.transcript if isinstance(m, ToolMessage) for each in m.results]
        return result


async def test_a_person_is_asked_what_came_of_it() -> None:
    till = Till()
    await till.die()
    wait = await till.wait()
    assert (wait.key, wait.kind) == ("1/tool/1/outcome", WaitKind.approval)
    assert wait.request == {
        "reason": "outcome_unknown",
        "tool": "pay",
        "arguments": {"amount": 5},
        "arguments_schema": {"type": "object"},
        "message": "The outcome of the call of 'pay' is unknown: it was begun, and may or may not have taken effect. "
        "Its idempotency key is r:1/tool/1. Approve to make it again with the same key, reject to leave it, or respond "
        "with what came of it.",
        "allowed": ["approve", "reject", "respond"],
        "fingerprint": wait.fingerprint,
    }
    assert len(till.pay.calls) == 1


async def test_approved_it_is_made_again_with_the_same_key() -> None:
    till = Till()
    await till.die()
    await till.decide(decision="approve")
    assert (await till.observed()).content == "paid"
    assert [context.idempotency_key for _, context in till.pay.calls] == ["r:1/tool/1", "r:1/tool/1"]


async def test_each_yes_is_good_for_one_try() -> None:
    till = Till()
    till.journal.deaths = 2
    await till.die()
    await till.decide(decision="approve")
    await till.die()
    assert (await till.wait()).key == "1/tool/1/outcome/2"
    assert len(till.pay.calls) == 2
    await till.decide(decision="approve")
    await till.run()
    await till.run()
    assert len(till.pay.calls) == 3


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        ({"decision": "reject", "reason": "ask the bank"}, "A person decided that it is not made again: ask the bank."),
        ({"decision": "expire"}, "It was not made again, because nobody decided in time."),
    ],
    ids=["rejected", "expired"],
)
async def test_left_alone_the_model_is_told_that_nobody_knows(answer: JsonObject, told: str) -> None:
    till = Till()
    await till.die()
    await till.decide(**answer)
    observed = await till.observed()
    assert observed.is_error
    assert observed.content == (
        f"The outcome of the call of 'pay' is unknown: it was begun, and may or may not have taken effect. {told}"
    )
    assert len(till.pay.calls) == 1


async def test_the_persons_own_word_on_what_came_of_it_is_the_result() -> None:
    till = Till()
    await till.die()
    await till.decide(decision="respond", response="the bank has it")
    observed = await till.observed()
    assert (observed.content, observed.is_error) == ("the bank has it", False)
    assert len(till.pay.calls) == 1


async def test_it_cannot_be_edited() -> None:
    till = Till()
    await till.die()
    await till.decide(decision="edit", arguments={"amount": 1})
    with pytest.raises(WaitAnswerInvalid, match="cannot be edited"):
        await till.run()
    assert len(till.pay.calls) == 1


async def test_a_decision_on_another_call_decides_nothing() -> None:
    till = Till()
    await till.die()
    till.journal.resolve("1/tool/1/outcome", {"decision": "approve", "fingerprint": "another"})
    with pytest.raises(StepMismatch):
        await till.run()
    assert len(till.pay.calls) == 1


async def test_who_may_decide_on_the_call_decides_on_its_outcome_too() -> None:
    till = Till(security=Asking())
    await till.decide(decision="approve")
    await till.die()
    wait = await till.wait()
    assert (wait.key, wait.request["reason"]) == ("1/tool/1/outcome", "outcome_unknown")
    assert (wait.request["groups"], wait.request["required"]) == (["finance"], 2)


async def test_an_edited_call_is_asked_about_and_made_again_as_it_was_made() -> None:
    till = Till(security=Asking())
    await till.decide(decision="edit", arguments={"amount": 3})
    await till.die()
    assert (await till.wait()).request["arguments"] == {"amount": 3}
    await till.decide(decision="approve")
    await till.run()
    assert [call.arguments for call, _ in till.pay.calls] == [{"amount": 3}, {"amount": 3}]


async def test_a_tool_that_may_be_repeated_is_called_again_without_a_question() -> None:
    till = Till(OnUnknown.retry)
    await till.die()
    assert (await till.observed()).content == "paid"


async def test_a_tool_that_must_not_be_repeated_ends_the_run() -> None:
    till = Till(OnUnknown.fail)
    await till.die()
    with pytest.raises(OutcomeUnknown, match="will not be run again"):
        await till.run()
    assert len(till.pay.calls) == 1


async def test_a_repeatable_tool_that_is_out_of_reach_is_asked_about_and_not_called_unknown() -> None:
    till = Till(OnUnknown.retry)
    await till.die()
    till.tools = ToolRegistry()
    assert (await till.wait()).request["reason"] == "outcome_unknown"
    till.tools = till.pay
    assert (await till.observed()).content == "paid"


async def test_a_tool_that_is_still_out_of_reach_when_it_may_be_called_again_leaves_the_doubt_with_the_model() -> None:
    till = Till()
    await till.die()
    till.tools = ToolRegistry()
    await till.decide(decision="approve")
    assert (await till.observed()).content.endswith("An earlier try of it was begun and may have taken effect.")


async def test_a_question_about_one_call_stops_the_run_before_its_siblings_act() -> None:
    class Split(Amnesia):
        async def record(self, result: StepResult) -> None:
            if result.key.startswith("1/tool/"):
                raise Died
            await super().record(result)

    till = Till(journal=Split())
    till.llm = ScriptedLlm([[call_of("pay", id="1", amount=1), call_of("pay", id="2", amount=2)], "done"])
    await till.die()
    till.journal.intents.pop("1/tool/2", None)
    till.pay.calls.clear()
    assert (await till.wait()).key == "1/tool/1/outcome"
    assert till.pay.calls == []
