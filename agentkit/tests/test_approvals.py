"""Calls that need a person's word before they are made."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import cast

import pytest

from agentkit import (
    Agent,
    Allowed,
    BaseSecurityManager,
    CombinedTools,
    Denied,
    Finished,
    JsonObject,
    LimitName,
    LimitReached,
    MemoryJournal,
    NeedsApproval,
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
    ToolSpec,
    Verdict,
    Wait,
    WaitAnswerInvalid,
    WaitKind,
    tool,
)
from agentkit.testing import CountingTool, Reply, ScriptedLlm, call_of

TERMS: JsonObject = {"groups": ["finance"], "required": 2}


class Policy(BaseSecurityManager):
    """Says what a function of the call says, and keeps what it was asked."""

    def __init__(self, verdict: Callable[[ToolCall], Verdict]) -> None:
        self.verdict = verdict
        self.judged: list[JsonObject] = []

    async def judge(self, call: ToolCall, spec: ToolSpec, context: ToolContext) -> Verdict:
        self.judged.append(call.arguments)
        return self.verdict(call)


def asks(call: ToolCall) -> Verdict:
    return NeedsApproval(f"Pays {call.arguments.get('amount')} EUR.", TERMS) if call.name == "pay" else Allowed()


@dataclass
class Desk:
    """A run that pays 5, what outlives its process, and the person who decides."""

    replies: list[Reply] = field(default_factory=lambda: [[call_of("pay", amount=5)], "done"])
    policy: Policy = field(default_factory=lambda: Policy(asks))
    journal: MemoryJournal = field(default_factory=MemoryJournal)
    pay: CountingTool = field(default_factory=lambda: CountingTool("pay", "paid", side_effect=True))
    others: ToolRegistry = field(default_factory=ToolRegistry)

    def __post_init__(self) -> None:
        self.llm = ScriptedLlm(self.replies)

    async def run(self) -> RunReport:
        tools = CombinedTools(self.pay, self.others)
        agent = Agent(planner=ReActPlanner(self.llm), tools=tools, security=self.policy, journal=self.journal)
        return await agent.run("go", run_id="r")

    async def waits(self) -> tuple[Wait, ...]:
        with pytest.raises(RunSuspended) as suspended:
            await self.run()
        return suspended.value.waits

    async def decide(self, **answer: object) -> None:
        """Answer the one wait there is."""
        [wait] = await self.waits()
        self.journal.resolve(wait.key, {"fingerprint": wait.request["fingerprint"], "by": ["ann"], **answer})

    @property
    def paid(self) -> list[JsonObject]:
        return [call.arguments for call, _ in self.pay.calls]


def results_of(report: RunReport) -> list[ToolResult]:
    return [result for m in report.transcript if isinstance(m, ToolMessage) for result in m.results]


async def test_a_call_that_needs_approval_stops_the_run_before_anything_is_written_of_it() -> None:
    desk = Desk()
    [wait] = await desk.waits()
    assert (wait.key, wait.kind) == ("1/tool/1/approval", WaitKind.approval)
    assert wait.request == {
        "reason": "tool_call",
        "tool": "pay",
        "arguments": {"amount": 5},
        "arguments_schema": {"type": "object"},
        "message": "Pays 5 EUR.",
        "allowed": ["approve", "edit", "reject", "respond"],
        "fingerprint": wait.fingerprint,
        **TERMS,
    }
    assert (desk.journal.intents, set(desk.journal.results), desk.paid) == ({}, {"1/llm"}, [])


async def test_a_run_without_an_answer_waits_for_the_same_again() -> None:
    desk = Desk()
    assert await desk.waits() == await desk.waits()
    assert len(desk.llm.asked) == 1


async def test_an_approved_call_is_made_once() -> None:
    desk = Desk()
    await desk.decide(decision="approve")
    report = await desk.run()
    assert report.outcome == Finished("done")
    assert [r.content for r in results_of(report)] == ["paid"]
    assert (await desk.run()).transcript == report.transcript
    assert desk.paid == [{"amount": 5}]


async def test_the_intent_of_an_approved_call_keeps_the_terms_for_whoever_must_look_later() -> None:
    desk = Desk()
    await desk.decide(decision="approve")
    await desk.run()
    assert desk.journal.intents["1/tool/1"].payload["terms"] == TERMS


async def test_an_edited_call_is_made_as_the_person_wants_it_and_the_model_is_told() -> None:
    desk = Desk()
    await desk.decide(decision="edit", arguments={"amount": 3})
    [result] = results_of(await desk.run())
    assert result.content == 'A person changed the arguments of this call to {"amount": 3}. What came of it:\npaid'
    assert not result.is_error
    assert desk.paid == [{"amount": 3}]
    for written in (desk.journal.intents["1/tool/1"], desk.journal.results["1/tool/1"]):
        assert written.payload["arguments"] == {"amount": 3}
    assert results_of(await desk.run()) == [result]
    assert desk.paid == [{"amount": 3}]


async def test_edited_arguments_that_do_not_fit_are_an_observation_and_no_mistake_of_the_model() -> None:
    @tool(side_effect=False)
    async def refund(amount: int) -> str:
        return "refunded"

    desk = Desk(replies=[[call_of("refund", amount=1)], "done"], policy=Policy(lambda _: NeedsApproval("Refunds.")))
    desk.others.add(refund)
    await desk.decide(decision="edit", arguments={"amount": "a lot"})
    report = await desk.run()
    [result] = results_of(report)
    assert result.is_error
    assert result.content.startswith('A person changed the arguments of this call to {"amount": "a lot"}.')
    assert "argument 'amount'" in result.content
    assert desk.journal.results["1/tool/1"].payload["edited"]
    assert report.outcome == Finished("done")


async def test_the_policy_judges_edited_arguments_too() -> None:
    desk = Desk(policy=Policy(lambda call: Denied("too much") if call.arguments["amount"] > 9 else asks(call)))
    await desk.decide(decision="edit", arguments={"amount": 10})
    [result] = results_of(await desk.run())
    assert result.content == "The call of 'pay' was not allowed: too much."
    assert desk.paid == []


BOARD: JsonObject = {"groups": ["board"], "required": 1}


def asks_the_board_about_much(call: ToolCall) -> Verdict:
    return NeedsApproval("Pays much.", BOARD) if call.arguments["amount"] > 9 else asks(call)


async def test_a_call_edited_into_the_reach_of_other_terms_waits_for_those_whom_they_name() -> None:
    desk = Desk(policy=Policy(asks_the_board_about_much))
    await desk.decide(decision="edit", arguments={"amount": 50})
    [wait] = await desk.waits()
    assert wait.key == "1/tool/1/approval/2"
    assert (wait.request["groups"], wait.request["arguments"], wait.request["message"]) == (
        ["board"],
        {"amount": 50},
        "Pays much.",
    )
    assert desk.paid == []
    assert "1/tool/1" not in desk.journal.intents

    await desk.decide(decision="approve")
    [result] = results_of(await desk.run())
    assert 'A person changed the arguments of this call to {"amount": 50}.' in result.content
    assert desk.paid == [{"amount": 50}]
    assert desk.journal.intents["1/tool/1"].payload["terms"] == BOARD


async def test_the_yes_to_a_call_is_none_to_what_it_was_edited_into() -> None:
    desk = Desk(policy=Policy(asks_the_board_about_much))
    [first] = await desk.waits()
    await desk.decide(decision="edit", arguments={"amount": 50})
    [second] = await desk.waits()
    desk.journal.resolve(second.key, {"decision": "approve", "fingerprint": first.fingerprint})
    with pytest.raises(StepMismatch, match="1/tool/1/approval/2"):
        await desk.run()
    assert desk.paid == []


@pytest.mark.parametrize("decision", ["reject", "expire"])
async def test_an_edited_call_that_is_then_refused_is_not_made(decision: str) -> None:
    desk = Desk(policy=Policy(asks_the_board_about_much))
    await desk.decide(decision="edit", arguments={"amount": 50})
    await desk.decide(decision=decision)
    [result] = results_of(await desk.run())
    assert result.is_error
    assert desk.paid == []


async def test_an_edited_call_can_be_edited_back_and_is_then_asked_about_once_more() -> None:
    desk = Desk(policy=Policy(asks_the_board_about_much))
    await desk.decide(decision="edit", arguments={"amount": 50})
    await desk.decide(decision="edit", arguments={"amount": 4})
    [wait] = await desk.waits()
    assert (wait.key, wait.request["groups"]) == ("1/tool/1/approval/3", ["finance"])
    await desk.decide(decision="approve")
    await desk.run()
    assert desk.paid == [{"amount": 4}]


async def test_a_call_edited_to_where_nobody_need_be_asked_is_made() -> None:
    desk = Desk(policy=Policy(lambda call: asks(call) if call.arguments["amount"] > 3 else Allowed()))
    await desk.decide(decision="edit", arguments={"amount": 3})
    await desk.run()
    assert desk.paid == [{"amount": 3}]


async def test_a_call_that_was_edited_twice_and_begun_is_made_again_as_it_was_begun() -> None:
    pay = CountingTool("pay", "paid", side_effect=True, on_unknown=OnUnknown.retry)
    desk = Desk(policy=Policy(asks_the_board_about_much), pay=pay)
    await desk.decide(decision="edit", arguments={"amount": 50})
    await desk.decide(decision="edit", arguments={"amount": 4})
    await desk.decide(decision="approve")
    await desk.run()
    del desk.journal.results["1/tool/1"], desk.journal.results["2/llm"]
    desk.llm = ScriptedLlm(["done"])
    await desk.run()
    assert desk.paid == [{"amount": 4}, {"amount": 4}]
    assert len({context.idempotency_key for _, context in pay.calls}) == 1


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        ({"decision": "reject", "reason": "not today"}, "The call of 'pay' was rejected by a person: not today."),
        ({"decision": "reject"}, "The call of 'pay' was rejected by a person: no reason was given."),
        ({"decision": "expire"}, "The call of 'pay' was not made, because nobody approved it in time."),
    ],
    ids=["reason", "no reason", "expired"],
)
async def test_a_call_that_is_not_approved_is_an_observation(answer: JsonObject, told: str) -> None:
    desk = Desk()
    await desk.decide(**answer)
    report = await desk.run()
    [result] = results_of(report)
    assert (result.content, result.is_error) == (told, True)
    assert desk.journal.results["1/tool/1"].payload["error"] == "tool_rejected"
    assert (desk.paid, report.outcome) == ([], Finished("done"))


@pytest.mark.parametrize(
    ("response", "content"), [("paid by hand", "paid by hand"), ({"id": "é"}, '{"id": "é"}')], ids=["text", "json"]
)
async def test_a_response_takes_the_place_of_the_result(response: object, content: str) -> None:
    desk = Desk()
    await desk.decide(decision="respond", response=response)
    [result] = results_of(await desk.run())
    assert (result.content, result.is_error) == (content, False)
    assert desk.paid == []


async def test_a_response_is_as_bounded_as_a_result() -> None:
    desk = Desk()
    await desk.decide(decision="respond", response="x" * 1_000_000)
    [result] = results_of(await desk.run())
    assert result.content.endswith("only the first 64000 are shown]")


@pytest.mark.parametrize("answer", [{"fingerprint": "another"}, {}], ids=["another call", "none"])
async def test_an_approval_of_another_call_approves_nothing(answer: JsonObject) -> None:
    desk = Desk()
    [wait] = await desk.waits()
    desk.journal.resolve(wait.key, {"decision": "approve", **answer})
    with pytest.raises(StepMismatch, match="1/tool/1/approval"):
        await desk.run()
    assert desk.paid == []


async def test_an_approval_is_good_for_one_call() -> None:
    desk = Desk(replies=[[call_of("pay", amount=5)], [call_of("pay", amount=5)], "done"])
    await desk.decide(decision="approve")
    [wait] = await desk.waits()
    assert wait.key == "2/tool/1/approval"
    assert desk.paid == [{"amount": 5}]


async def test_a_second_decision_is_refused_and_the_first_stays() -> None:
    desk = Desk()
    await desk.decide(decision="reject")
    with pytest.raises(WaitAnswerInvalid, match="answered before"):
        desk.journal.resolve("1/tool/1/approval", {"decision": "approve"})
    await desk.run()
    assert desk.paid == []


@pytest.mark.parametrize(
    "answer", [{}, {"decision": "maybe"}, {"decision": "edit"}, {"decision": "edit", "arguments": 3}], ids=str
)
async def test_an_answer_that_decides_nothing_is_refused_and_nothing_is_done(answer: JsonObject) -> None:
    desk = Desk()
    await desk.decide(**answer)
    with pytest.raises(WaitAnswerInvalid, match="1/tool/1/approval"):
        await desk.run()
    assert (desk.paid, set(desk.journal.results)) == ([], {"1/llm"})


async def test_a_rejection_holds_although_the_policy_would_not_ask_any_more() -> None:
    desk = Desk()
    await desk.decide(decision="reject", reason="no")
    desk.policy.verdict = lambda _: Allowed()
    await desk.run()
    assert desk.paid == []


async def test_a_denial_holds_although_a_person_has_approved() -> None:
    desk = Desk()
    await desk.decide(decision="approve")
    desk.policy.verdict = lambda _: Denied("frozen")
    [result] = results_of(await desk.run())
    assert result.content == "The call of 'pay' was not allowed: frozen."
    assert desk.paid == []


async def test_a_policy_may_offer_fewer_decisions() -> None:
    desk = Desk(policy=Policy(lambda _: NeedsApproval("Pays.", {"allowed": ["approve", "reject"]})))
    [wait] = await desk.waits()
    assert wait.request["allowed"] == ["approve", "reject"]


async def test_terms_do_not_change_what_is_shown_of_the_call() -> None:
    desk = Desk(policy=Policy(lambda _: NeedsApproval("Pays.", {"arguments": {"amount": 1}, "fingerprint": "mine"})))
    [wait] = await desk.waits()
    assert wait.request["arguments"] == {"amount": 5}
    assert wait.request["fingerprint"] != "mine"


async def test_two_calls_of_one_answer_are_decided_together_or_one_by_one() -> None:
    two = [call_of("pay", id="1", amount=1), call_of("pay", id="2", amount=2)]
    desk = Desk(replies=[two, "done"])
    first, second = await desk.waits()
    assert [first.key, second.key] == ["1/tool/1/approval", "1/tool/2/approval"]
    desk.journal.resolve(second.key, {"decision": "approve", "fingerprint": second.fingerprint})
    assert await desk.waits() == (first,)
    assert desk.paid == [{"amount": 2}]
    desk.journal.resolve(first.key, {"decision": "reject", "fingerprint": first.fingerprint})
    assert [r.is_error for r in results_of(await desk.run())] == [True, False]
    assert desk.paid == [{"amount": 2}]


async def test_siblings_of_a_call_that_waits_finish_and_are_recorded() -> None:
    asked = asyncio.Event()

    @tool(side_effect=False)
    async def look() -> str:
        await asked.wait()
        return "seen"

    def slowly(call: ToolCall) -> Verdict:
        if call.name == "pay":
            asked.set()
        return asks(call)

    desk = Desk(replies=[[call_of("look"), call_of("pay", amount=5)], "done"], policy=Policy(slowly))
    desk.others.add(look)
    [wait] = await desk.waits()
    assert wait.key == "1/tool/2/approval"
    assert desk.journal.results["1/tool/1"].payload["content"] == "seen"


async def test_a_run_that_is_cancelled_while_a_sibling_waits_stays_cancelled() -> None:
    started = asyncio.Event()

    @tool(side_effect=False)
    async def hang() -> str:
        started.set()
        await asyncio.Event().wait()
        return "never"

    desk = Desk(replies=[[call_of("pay", amount=5), call_of("hang")], "done"])
    desk.others.add(hang)
    run = asyncio.create_task(desk.run())
    await asyncio.wait_for(started.wait(), 5)
    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run
    assert run.cancelled()


async def test_a_sibling_that_raises_is_stronger_than_a_wait() -> None:
    desk = Desk(replies=[[call_of("pay", amount=5), call_of("pay", amount=6)], "done"])
    desk.journal.resolve("1/tool/2/approval", {"decision": "approve", "fingerprint": "of another call"})
    with pytest.raises(StepMismatch):
        await desk.run()


async def test_a_call_that_was_begun_cannot_be_edited() -> None:
    desk = Desk(
        policy=Policy(lambda _: Allowed()), pay=CountingTool("pay", side_effect=True, on_unknown=OnUnknown.retry)
    )
    await desk.run()
    del desk.journal.results["1/tool/1"], desk.journal.results["2/llm"]
    desk.policy.verdict = asks
    [wait] = await desk.waits()
    assert wait.request["allowed"] == ["approve", "reject", "respond"]
    await desk.decide(decision="edit", arguments={"amount": 3})
    with pytest.raises(WaitAnswerInvalid, match="begun with other arguments"):
        await desk.run()


async def test_a_rejection_of_a_call_that_was_begun_says_that_it_may_have_taken_effect() -> None:
    desk = Desk(
        policy=Policy(lambda _: Allowed()), pay=CountingTool("pay", side_effect=True, on_unknown=OnUnknown.retry)
    )
    await desk.run()
    del desk.journal.results["1/tool/1"], desk.journal.results["2/llm"]
    desk.policy.verdict = asks
    desk.llm = ScriptedLlm(["done"])
    await desk.decide(decision="reject", reason="no")
    [result] = results_of(await desk.run())
    assert result.content.endswith("An earlier try of it was begun and may have taken effect.")


async def test_the_policy_is_asked_of_the_models_call_each_time_and_of_edited_arguments_once_more() -> None:
    desk = Desk()
    await desk.decide(decision="edit", arguments={"amount": 3})
    await desk.run()
    assert desk.policy.judged == [{"amount": 5}, {"amount": 5}, {"amount": 3}]


async def test_a_policy_that_raises_a_tool_error_denies() -> None:
    def raises(call: ToolCall) -> Verdict:
        raise ToolError("I cannot tell")

    [result] = results_of(await Desk(policy=Policy(raises)).run())
    assert result.content == "The call of 'pay' was not allowed: I cannot tell."


@pytest.mark.parametrize("fault", [LookupError("no such rule"), TimeoutError("its server"), SystemExit(3)])
async def test_a_policy_that_fails_denies_and_is_no_end_of_the_run(fault: BaseException) -> None:
    def raises(call: ToolCall) -> Verdict:
        raise fault

    desk = Desk(policy=Policy(raises))
    report = await desk.run()
    [result] = results_of(report)
    assert result.content == f"The call of 'pay' was not allowed: the policy failed: {type(fault).__name__}: {fault}."
    assert (report.outcome, desk.paid) == (Finished("done", None), [])


@pytest.mark.parametrize("verdict", [None, True, "yes"])
async def test_what_is_no_verdict_denies(verdict: object) -> None:
    desk = Desk(policy=Policy(lambda _: cast(Verdict, verdict)))
    [result] = results_of(await desk.run())
    assert "which is no verdict" in result.content
    assert desk.paid == []


AMOUNT: JsonObject = {"type": "object", "properties": {"amount": {"type": "number"}}, "required": ["amount"]}


async def test_nobody_is_asked_about_arguments_that_break_the_schema() -> None:
    replies: list[Reply] = [[call_of("pay", amount="much")], [call_of("pay", amount=5)], "done"]
    desk = Desk(replies=replies, pay=CountingTool("pay", "paid", side_effect=True, parameters=AMOUNT))
    await desk.decide(decision="approve")
    wrong, paid = results_of(await desk.run())
    assert wrong.content == "Wrong arguments for 'pay': argument 'amount': 'much' is not of type 'number'."
    assert (wrong.is_error, paid.content, desk.paid) == (True, "paid", [{"amount": 5}])
    assert set(desk.journal.answers) == {"2/tool/1/approval"}


async def test_a_model_that_goes_on_asking_wrongly_about_an_approved_tool_reaches_the_limit_of_corrections() -> None:
    replies: list[Reply] = [[call_of("pay", amount="much")] for _ in range(9)]
    desk = Desk(replies=replies, pay=CountingTool("pay", "paid", side_effect=True, parameters=AMOUNT))
    outcome = (await desk.run()).outcome
    assert isinstance(outcome, LimitReached)
    assert outcome.limit is LimitName.corrections


@pytest.mark.parametrize(
    "schema",
    [{"type": "nothing"}, {"$ref": "http://localhost/none"}, {"properties": {"amount": {"$ref": "#/nowhere"}}}],
)
async def test_a_schema_that_only_the_tool_understands_keeps_nobody_from_deciding(schema: JsonObject) -> None:
    desk = Desk(pay=CountingTool("pay", "paid", side_effect=True, parameters=schema))
    await desk.decide(decision="approve")
    await desk.run()
    assert desk.paid == [{"amount": 5}]
