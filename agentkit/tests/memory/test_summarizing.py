"""What becomes of a conversation that is too long, when the model sums it up."""

from __future__ import annotations

import pytest

from agentkit import (
    Agent,
    BaseLlmClient,
    ContextTooLong,
    Finished,
    LlmError,
    MemoryJournal,
    Message,
    ReActPlanner,
    ShortTermMemory,
    SummarizingMemory,
    SystemMessage,
    ToolMessage,
    ToolRegistry,
    UserMessage,
    tool,
)
from agentkit.memory.token_estimate import message_tokens
from agentkit.testing import Reply, ScriptedLlm, call_of
from agentkit.transcript import AssistantMessage


@tool(side_effect=False)
def read_page(number: int) -> str:
    """Read a page of the book."""
    return f"page {number}: " + "word " * 200


def page(number: int) -> Reply:
    return [call_of("read_page", id=f"call_{number}", number=number)]


def agent_of(llm: BaseLlmClient, journal: MemoryJournal | None = None, *, token_budget: int = 1_000) -> Agent:
    return Agent(
        planner=ReActPlanner(llm),
        tools=ToolRegistry([read_page]),
        memory=SummarizingMemory(token_budget=token_budget),
        journal=journal,
        instructions="Be brief.",
    )


def is_whole(messages: tuple[Message, ...]) -> bool:
    """Every result has its call right before it."""
    asked: set[str] = set()
    for message in messages:
        if isinstance(message, AssistantMessage):
            asked = {call.id for call in message.tool_calls}
        if isinstance(message, ToolMessage) and {result.call_id for result in message.results} != asked:
            return False
    return True


async def test_a_conversation_that_fits_is_not_summed_up() -> None:
    llm = ScriptedLlm([page(1), "done"])

    report = await agent_of(llm).run("read")

    assert report.outcome == Finished("done")
    assert len(llm.asked) == 2


async def test_what_no_longer_fits_is_summed_up_and_the_summary_is_shown_in_its_place() -> None:
    llm = ScriptedLlm([page(1), page(2), page(3), page(4), "Pages 1 to 3 say word.", "done"])

    report = await agent_of(llm).run("read")

    asked_to_sum_up, asked_last = llm.asked[4].messages, llm.asked[5].messages
    assert "page 1" in str(asked_to_sum_up[-1])
    assert asked_to_sum_up[0] != asked_last[0] == SystemMessage("Be brief.")
    assert asked_last[1] == UserMessage("read")
    assert "Pages 1 to 3 say word." in str(asked_last[2])
    assert "page 1" not in str(asked_last)
    assert "page 4" in str(asked_last)
    assert sum(map(message_tokens, asked_last)) <= 1_000
    assert report.steps == 6


async def test_whatever_is_summed_up_calls_keep_their_results() -> None:
    replies: list[Reply] = []
    for number in range(1, 4):
        replies += [page(number)]
    for number in range(4, 30):
        replies += [page(number), f"summary up to {number}"] if number % 2 == 0 else [page(number)]
    llm = ScriptedLlm([*replies, *["done"] * 5])

    await agent_of(llm).run("read")

    assert all(is_whole(asked.messages) for asked in llm.asked)


async def test_a_resume_does_not_pay_for_a_summary_again() -> None:
    journal = MemoryJournal()
    begun = ScriptedLlm([page(1), page(2), page(3), page(4), "All say word."])
    with pytest.raises(LlmError, match="no reply left"):
        await agent_of(begun, journal).run("read", run_id="r")

    rest = ScriptedLlm(["done"])
    report = await agent_of(rest, journal).run("read", run_id="r")

    assert report.outcome == Finished("done")
    assert "All say word." in str(rest.asked[0].messages)
    assert "5/summary" in journal.results


async def test_a_model_that_finds_it_too_long_all_the_same_gets_a_summary() -> None:
    llm = ScriptedLlm([page(1), page(2), ContextTooLong(), "Page 1 says word.", "done"])

    report = await agent_of(llm, token_budget=100_000).run("read")

    assert report.outcome == Finished("done")
    assert "Page 1 says word." in str(llm.asked[-1].messages)


async def test_a_resume_after_that_shows_the_same_summary() -> None:
    journal = MemoryJournal()
    begun = ScriptedLlm([page(1), page(2), ContextTooLong(), "Page 1 says word."])
    with pytest.raises(LlmError, match="no reply left"):
        await agent_of(begun, journal, token_budget=100_000).run("read", run_id="r")

    rest = ScriptedLlm(["done"])
    await agent_of(rest, journal, token_budget=100_000).run("read", run_id="r")

    assert "Page 1 says word." in str(rest.asked[0].messages)


async def test_what_is_too_long_even_then_ends_the_run_with_the_vendors_word() -> None:
    llm = ScriptedLlm([page(1), page(2), ContextTooLong(), "short", ContextTooLong()])

    with pytest.raises(ContextTooLong):
        await agent_of(llm, token_budget=100_000).run("read")


async def test_a_goal_that_is_too_long_alone_is_not_summed_up() -> None:
    llm = ScriptedLlm([ContextTooLong()])

    with pytest.raises(ContextTooLong):
        await agent_of(llm).run("read " * 5_000)


async def test_a_summary_that_the_model_does_not_write_leaves_a_note() -> None:
    llm = ScriptedLlm([page(1), page(2), page(3), page(4), " ", "done"])

    await agent_of(llm).run("read")

    assert "(there is none)" in str(llm.asked[-1].messages)


async def test_a_memory_that_leaves_out_has_nothing_to_sum_up() -> None:
    memory = ShortTermMemory(token_budget=1)
    await memory.add(UserMessage("goal"), AssistantMessage("x" * 100), UserMessage("y"))

    assert memory.excess(urgent=True) == ()
