"""What happens when a model gives the conversation to another agent."""

from __future__ import annotations

from collections.abc import Iterable

from agentkit import (
    Agent,
    AllowList,
    Finished,
    LimitName,
    LimitReached,
    Limits,
    MemoryJournal,
    ReActPlanner,
    SystemMessage,
    ToolRegistry,
    UserMessage,
)
from agentkit.testing import CountingTool, Reply, ScriptedLlm, call_of

TO_REFUNDS = [call_of("hand_off.refunds")]


def agent_of(replies: Iterable[Reply], **options: object) -> tuple[Agent, ScriptedLlm]:
    llm = ScriptedLlm(replies)
    return Agent(planner=ReActPlanner(llm), **options), llm  # type: ignore[arg-type]  # as the constructor takes them


async def test_the_other_agent_goes_on_with_the_conversation_and_its_own_tools() -> None:
    pay = CountingTool(name="pay", answer="paid")
    refunds, theirs = agent_of([[call_of("pay")], "You got your money."], tools=pay, instructions="You pay back.")
    front, ours = agent_of([TO_REFUNDS], hand_offs={"refunds": refunds}, instructions="You greet.")

    report = await front.run("I want my money back")

    assert report.outcome == Finished("You got your money.")
    assert len(ours.asked) == 1
    assert [spec.name for spec in theirs.asked[0].tools] == ["pay"]
    assert UserMessage("I want my money back") in theirs.asked[0].messages
    assert "You pay back." in str([each for each in theirs.asked[0].messages if isinstance(each, SystemMessage)])
    assert (report.steps, report.tool_calls) == (3, 2)


async def test_the_tool_that_hands_off_is_offered_beside_the_others() -> None:
    refunds, _ = agent_of([])
    front, ours = agent_of(["Hello."], tools=CountingTool(name="greet"), hand_offs={"refunds": refunds})

    await front.run("hi")

    assert [spec.name for spec in ours.asked[0].tools] == ["greet", "hand_off.refunds"]


async def test_it_can_be_handed_on_and_back() -> None:
    front, ours = agent_of([TO_REFUNDS, "Goodbye."])
    refunds, _ = agent_of([[call_of("hand_off.front")]], hand_offs={"front": front})
    front.hand_offs["refunds"] = refunds
    front.tools = Agent(planner=front.planner, hand_offs=front.hand_offs).tools

    report = await front.run("hi")

    assert report.outcome == Finished("Goodbye.")
    assert len(ours.asked) == 2


async def test_a_resume_knows_who_has_taken_over_and_asks_nobody_again() -> None:
    journal = MemoryJournal()
    refunds, _ = agent_of(["Done."])
    front, _ = agent_of([TO_REFUNDS], hand_offs={"refunds": refunds}, journal=journal)
    first = await front.run("hi", run_id="r")

    silent, unasked = agent_of([])
    again, also_unasked = agent_of([], hand_offs={"refunds": silent}, journal=journal)
    second = await again.run("hi", run_id="r")

    assert second.outcome == first.outcome == Finished("Done.")
    assert unasked.asked == also_unasked.asked == []


async def test_the_limits_of_the_run_hold_for_whoever_takes_over() -> None:
    refunds, _ = agent_of([[call_of("count", n=n)] for n in range(9)], tools=CountingTool(), limits=Limits(steps=100))
    front, _ = agent_of([TO_REFUNDS], hand_offs={"refunds": refunds}, limits=Limits(steps=3))

    report = await front.run("hi")

    assert isinstance(report.outcome, LimitReached)
    assert report.outcome.limit is LimitName.steps


async def test_a_policy_that_denies_it_keeps_the_conversation_where_it_is() -> None:
    refunds, theirs = agent_of(["never"])
    front, _ = agent_of([TO_REFUNDS, "I do it."], hand_offs={"refunds": refunds}, security=AllowList("nothing"))

    assert (await front.run("hi")).outcome == Finished("I do it.")
    assert theirs.asked == []


async def test_the_policy_of_the_other_agent_holds_for_its_calls() -> None:
    pay = CountingTool(name="pay", side_effect=True)
    refunds, _ = agent_of([[call_of("pay")], "I may not."], tools=pay, security=AllowList("look"))
    front, _ = agent_of([TO_REFUNDS], hand_offs={"refunds": refunds})

    assert (await front.run("hi")).outcome == Finished("I may not.")
    assert pay.calls == []


async def test_of_several_at_once_the_first_takes_over() -> None:
    one, _ = agent_of(["One."])
    other, unasked = agent_of(["Other."])
    calls = [call_of("hand_off.one", id="1"), call_of("hand_off.other", id="2")]
    front, _ = agent_of([calls], hand_offs={"one": one, "other": other}, tools=ToolRegistry())

    assert (await front.run("hi")).outcome == Finished("One.")
    assert unasked.asked == []
