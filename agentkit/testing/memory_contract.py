"""What agents rely on in any memory, as tests that a memory of one's own can be put through."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from agentkit.memory.base import BaseMemory
from agentkit.testing.own_loop import run_check
from agentkit.transcript import (
    AssistantMessage,
    Message,
    SystemMessage,
    ToolCall,
    ToolMessage,
    ToolResult,
    UserMessage,
)

_GOAL = UserMessage("Find out what the weather will be like.")
_INSTRUCTIONS = SystemMessage("Be brief.")


class MemoryContract:
    """Subclass it in a test module as `class TestMyMemory(MemoryContract)`, and say in `make` how a memory is made.

    Each test has an event loop and a memory of its own. One of the conversations is long: give the memory so little
    room that it must leave something out of it, or its forgetting is not tested.
    """

    #: Exchanges in the long conversation, with two tool calls in each, and the length of each result.
    exchanges = 100
    result_characters = 2_000

    async def make(self) -> BaseMemory:
        """The memory, new for each test."""
        raise NotImplementedError("say in `make` how the memory is made")

    def test_a_short_conversation_is_shown_as_it_was(self) -> None:
        async def check(memory: BaseMemory) -> None:
            conversation = (_INSTRUCTIONS, _GOAL, *_exchange(1, "rain"))
            await memory.add(*conversation)
            assert tuple(await memory.view()) == conversation, "what fits must be shown in full and in order"

        self._run(check)

    def test_messages_added_one_by_one_are_the_same_conversation(self) -> None:
        async def check(memory: BaseMemory) -> None:
            conversation = (_INSTRUCTIONS, _GOAL, *_exchange(1, "rain"))
            for message in conversation:
                await memory.add(message)
            assert tuple(await memory.view()) == conversation, "how messages are added must not matter"

        self._run(check)

    def test_the_goal_is_shown_however_long_the_conversation(self) -> None:
        async def check(memory: BaseMemory) -> None:
            await self._fill(memory)
            assert _GOAL in await memory.view(), "the goal (the first user message) must always be shown"

        self._run(check)

    def test_every_result_is_shown_with_its_call(self) -> None:
        async def check(memory: BaseMemory) -> None:
            await memory.add(_INSTRUCTIONS, _GOAL)
            for message in self._long_conversation():
                await memory.add(message)
                _check_results_have_calls(await memory.view())

        self._run(check)

    def test_the_newest_message_is_shown_last(self) -> None:
        async def check(memory: BaseMemory) -> None:
            await self._fill(memory)
            newest = UserMessage("And tomorrow?")
            await memory.add(newest)
            assert tuple(await memory.view())[-1:] == (newest,), "the model must see what was said last"

        self._run(check)

    def test_looking_changes_nothing(self) -> None:
        async def check(memory: BaseMemory) -> None:
            await self._fill(memory)
            assert tuple(await memory.view()) == tuple(await memory.view()), "a view must be the same the second time"

        self._run(check)

    def test_two_memories_know_nothing_of_each_other(self) -> None:
        async def check(memory: BaseMemory) -> None:
            other = await self.make()
            await asyncio.gather(memory.add(_GOAL), other.add(UserMessage("Something else.")))
            assert tuple(await memory.view()) == (_GOAL,), "a memory belongs to one run"

        self._run(check)

    async def _fill(self, memory: BaseMemory) -> None:
        await memory.add(_INSTRUCTIONS, _GOAL, *self._long_conversation())

    def _long_conversation(self) -> list[Message]:
        return [
            message
            for number in range(self.exchanges)
            for message in _exchange(number, f"{number} ".ljust(self.result_characters, "x"))
        ]

    def _run(self, check: Callable[[BaseMemory], Awaitable[None]]) -> None:
        async def made() -> None:
            await check(await self.make())

        run_check(made())


def _exchange(number: int, result: str) -> tuple[Message, Message]:
    calls = tuple(ToolCall(f"call_{number}_{side}", "forecast", {"day": number}) for side in "ab")
    return AssistantMessage("", calls), ToolMessage(tuple(ToolResult(each.id, each.name, result) for each in calls))


def _check_results_have_calls(view: Sequence[Message]) -> None:
    before: Message | None = None
    for message in view:
        called = before.tool_calls if isinstance(before, AssistantMessage) else ()
        if isinstance(message, ToolMessage):
            answered = [result.call_id for result in message.results]
            assert answered == [call.id for call in called], "results must stand right after the calls they answer"
        else:
            assert not called, "calls must be shown with their results, or not at all"
        before = message
