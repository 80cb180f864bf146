"""What the short-term memory shows of a conversation that is longer than its budget."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentkit import (
    AssistantMessage,
    Message,
    ShortTermMemory,
    SystemMessage,
    ToolCall,
    ToolMessage,
    ToolResult,
    UserMessage,
)
from agentkit.memory.short_term import OMISSION_NOTE
from agentkit.memory.token_estimate import message_tokens

SYSTEM, GOAL = SystemMessage("Be brief."), UserMessage("the goal")


def exchange(i: int, text: str, calls: int) -> list[Message]:
    """One turn of the loop: calls and results, or an answer that was corrected."""
    if calls == 0:
        return [AssistantMessage(f"{i} {text}"), UserMessage(f"correction {i}")]
    asked = tuple(ToolCall(f"{i}.{n}", "tool", {"text": text}) for n in range(calls))
    return [AssistantMessage("", asked), ToolMessage(tuple(ToolResult(c.id, c.name, text) for c in asked))]


exchanges = st.lists(st.tuples(st.text(max_size=200), st.integers(0, 3)), max_size=12).map(
    lambda drawn: [exchange(i, text, calls) for i, (text, calls) in enumerate(drawn)]
)


@given(exchanges, st.integers(1, 2_000), st.booleans())
async def test_whatever_is_left_out_the_view_is_a_conversation(
    turns: list[list[Message]], token_budget: int, has_system: bool
) -> None:
    opening = [SYSTEM, GOAL] if has_system else [GOAL]
    memory = ShortTermMemory(token_budget=token_budget)
    await memory.add(*opening, *(message for turn in turns for message in turn))
    view = list(await memory.view())

    assert view[: len(opening)] == opening
    shown = view[len(opening) :]
    left_out = shown[:1] == [OMISSION_NOTE]
    if left_out:
        shown = shown[1:]
    # The newest exchanges, whole and in order: so every result has its call.
    kept = next(k for k in range(len(turns) + 1) if [m for turn in turns[k:] for m in turn] == shown)
    assert left_out == (kept > 0)
    assert kept < len(turns) or not turns
    if sum(map(message_tokens, view)) > token_budget:
        assert kept == max(len(turns) - 1, 0), "over the budget only by what is always shown"
    if kept:
        whole = [*opening, *(message for turn in turns for message in turn)]
        assert sum(map(message_tokens, whole)) > token_budget, "left out only what did not fit"
        with_one_more = [*opening, OMISSION_NOTE, *(message for turn in turns[kept - 1 :] for message in turn)]
        assert kept == 1 or sum(map(message_tokens, with_one_more)) > token_budget


async def test_everything_is_shown_while_it_fits() -> None:
    memory = ShortTermMemory()
    messages = [SYSTEM, GOAL, *exchange(1, "x", 2), AssistantMessage("done")]
    await memory.add(*messages)
    assert await memory.view() == tuple(messages)


async def test_a_view_that_grows_keeps_the_newest_exchange() -> None:
    memory = ShortTermMemory(token_budget=1)
    await memory.add(GOAL, *exchange(1, "old", 1))
    await memory.add(*exchange(2, "new", 1))
    assert await memory.view() == (GOAL, OMISSION_NOTE, *exchange(2, "new", 1))


async def test_an_empty_memory_shows_nothing() -> None:
    assert await ShortTermMemory().view() == ()


def test_a_budget_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="greater than 0"):
        ShortTermMemory(token_budget=0)
