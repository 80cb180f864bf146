"""Models, tools and memories that are wrong in one thing each, with the one test of their suite that is to find it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from agentkit.llm.base import BaseLlmClient, LlmResponse, StopReason, Usage
from agentkit.memory.base import BaseMemory
from agentkit.tests.llm.fake_model import FakeModel, Turn
from agentkit.tools.base import BaseToolManager, ToolContext, ToolSpec
from agentkit.tools.builtin import calculator
from agentkit.tools.registry import ToolRegistry
from agentkit.transcript import AssistantMessage, JsonObject, Message, ToolCall, ToolMessage, ToolResult


class Altered(BaseLlmClient):
    """A model whose every answer is changed on its way."""

    def __init__(self, change: Callable[[LlmResponse], LlmResponse], *turns: Turn) -> None:
        self._inner = FakeModel(*turns)
        self.provider, self.model, self.native_output = self._inner.provider, self._inner.model, True
        self._change = change

    async def complete(
        self,
        messages: Sequence[Message],
        *,
        tools: Sequence[ToolSpec] = (),
        output_schema: JsonObject | None = None,
        timeout_seconds: float,
    ) -> LlmResponse:
        return self._change(await self._inner.complete(messages, timeout_seconds=timeout_seconds))


class Nameless(FakeModel):
    def __init__(self) -> None:
        super().__init__(model="")


class Chatty(FakeModel):
    """Streams something else than it answers."""

    async def stream(self, messages: Sequence[Message], *, on_text: Callable[[str], None], **rest: Any) -> LlmResponse:
        on_text("Well, ")
        return await super().stream(messages, on_text=on_text, **rest)


class Timeless(FakeModel):
    """Lets its own time limit escape."""

    async def complete(self, messages: Sequence[Message], *, timeout_seconds: float, **rest: Any) -> LlmResponse:
        async with asyncio.timeout(timeout_seconds):
            await asyncio.sleep(0.01)
        return await super().complete(messages, timeout_seconds=timeout_seconds, **rest)


class Stubborn(FakeModel):
    """Does not let itself be cancelled."""

    async def complete(self, messages: Sequence[Message], *, timeout_seconds: float, **rest: Any) -> LlmResponse:
        try:
            return await super().complete(messages, timeout_seconds=timeout_seconds, **rest)
        except asyncio.CancelledError:
            return await super().complete(messages, timeout_seconds=timeout_seconds, **rest)


class OneAtATime(FakeModel):
    async def complete(self, messages: Sequence[Message], *, timeout_seconds: float, **rest: Any) -> LlmResponse:
        if self.in_flight > 2:
            raise RuntimeError("busy")
        return await super().complete(messages, timeout_seconds=timeout_seconds, **rest)


class Nationalist(FakeModel):
    """Takes what another vendor left in the conversation for its own."""

    async def complete(self, messages: Sequence[Message], *, timeout_seconds: float, **rest: Any) -> LlmResponse:
        for message in messages:
            if isinstance(message, AssistantMessage) and message.vendor:
                message.vendor["fake"]
        return await super().complete(messages, timeout_seconds=timeout_seconds, **rest)


class Grabbing(FakeModel):
    async def complete(self, messages: Sequence[Message], *, timeout_seconds: float, **rest: Any) -> LlmResponse:
        if isinstance(messages, list):
            messages.clear()
        return await super().complete(messages, timeout_seconds=timeout_seconds, **rest)


class Once(FakeModel):
    async def aclose(self) -> None:
        await super().aclose()
        if self.closed > 1:
            raise RuntimeError("closed twice")


def altered(**changes: Any) -> Callable[[], BaseLlmClient]:
    return lambda: Altered(lambda response: replace(response, **changes))


def wrongly_called(*calls: ToolCall) -> Callable[[], BaseLlmClient]:
    return lambda: FakeModel(Turn((), calls=calls))


IN_OUR_WORDS = "test_it_answers_in_the_words_of_agentkit"
BAD_MODELS: list[tuple[str, Callable[[], BaseLlmClient]]] = [
    ("test_it_says_who_it_is", Nameless),
    (IN_OUR_WORDS, altered(provider="")),
    (IN_OUR_WORDS, altered(model="")),
    (IN_OUR_WORDS, altered(stop="end_turn")),
    (IN_OUR_WORDS, altered(stop=StopReason.tool_calls)),
    (IN_OUR_WORDS, altered(stop=StopReason.bungled_call)),
    (IN_OUR_WORDS, altered(usage=Usage(-1, 0))),
    (IN_OUR_WORDS, altered(usage=Usage(1, 1, cached_input_tokens=2))),
    (IN_OUR_WORDS, altered(usage=Usage(1, 1, reasoning_tokens=2))),
    (IN_OUR_WORDS, altered(message=AssistantMessage("Hello", vendor={"content": "x"}))),
    (IN_OUR_WORDS, altered(message="Hello")),
    (IN_OUR_WORDS, wrongly_called(ToolCall("same", "add", {}), ToolCall("same", "add", {}))),
    (IN_OUR_WORDS, wrongly_called(ToolCall("", "add", {}))),
    (IN_OUR_WORDS, wrongly_called(ToolCall("call_1", "", {}))),
    (IN_OUR_WORDS, wrongly_called(ToolCall("call_1", "add", "{}"))),  # type: ignore[arg-type]  # that is what is wrong
    (
        "test_its_answer_survives_the_journal",
        altered(message=AssistantMessage("Hello", vendor={"provider": "fake", "content": (1, 2)})),
    ),
    ("test_a_streamed_answer_is_told_as_it_is", Chatty),
    ("test_its_tool_calls_can_be_answered", wrongly_called(ToolCall("", "add", {}))),
    ("test_it_goes_on_with_a_conversation_of_another_model", Nationalist),
    ("test_it_leaves_what_it_is_given_as_it_is", Grabbing),
    ("test_it_answers_many_at_once", OneAtATime),
    ("test_too_little_time_is_an_error_of_agentkit", Timeless),
    ("test_a_call_that_is_cancelled_disturbs_no_other", Stubborn),
    ("test_closing_it_unused_and_twice_is_harmless", Once),
]


class OddTools(ToolRegistry):
    """Tools that are right, but for what a subclass changes."""

    def __init__(self) -> None:
        super().__init__([calculator])


class Restless(OddTools):
    calls = 0

    async def specs(self) -> Sequence[ToolSpec]:
        self.calls += 1
        return tuple(replace(spec, description=f"{self.calls}") for spec in await super().specs())


class Respecified(OddTools):
    changes: JsonObject

    async def specs(self) -> Sequence[ToolSpec]:
        return tuple(replace(spec, **self.changes) for spec in await super().specs())


class Undescribed(Respecified):
    changes = {"description": " "}  # noqa: RUF012 - a subclass of a test


class Listing(Respecified):
    changes = {"parameters": {"type": "array"}}  # noqa: RUF012


class Schemaless(Respecified):
    changes = {"parameters": {"type": "object", "required": "a"}}  # noqa: RUF012


class Misnaming(OddTools):
    async def call(self, call: ToolCall, context: ToolContext) -> ToolResult:
        return replace(await super().call(call, context), call_id="another")


class Numeric(OddTools):
    async def call(self, call: ToolCall, context: ToolContext) -> ToolResult:
        return replace(await super().call(call, context), content=42)  # type: ignore[arg-type]  # that is what is wrong


class Forgiving(OddTools):
    """Answers whatever it is asked."""

    async def call(self, call: ToolCall, context: ToolContext) -> ToolResult:
        return ToolResult(call.id, call.name, "fine")


class Altering(OddTools):
    async def call(self, call: ToolCall, context: ToolContext) -> ToolResult:
        result = await super().call(call, context)
        call.arguments["seen"] = True
        return result


class Single(OddTools):
    busy = False

    async def call(self, call: ToolCall, context: ToolContext) -> ToolResult:
        if self.busy:
            raise RuntimeError("busy")
        self.busy = True
        await asyncio.sleep(0.01)
        self.busy = False
        return await super().call(call, context)


class Unhurried(OddTools):
    async def call(self, call: ToolCall, context: ToolContext) -> ToolResult:
        async with asyncio.timeout(context.timeout_seconds):
            await asyncio.sleep(0.01)
        return await super().call(call, context)


class OnceTools(OddTools):
    closed = False

    async def aclose(self) -> None:
        if self.closed:
            raise RuntimeError("closed twice")
        self.closed = True


BAD_TOOLS: list[tuple[str, Callable[[], BaseToolManager]]] = [
    ("test_there_are_the_same_tools_each_time", Restless),
    ("test_a_model_can_be_told_of_each_tool", Undescribed),
    ("test_a_model_can_be_told_of_each_tool", Listing),
    ("test_a_model_can_be_told_of_each_tool", Schemaless),
    ("test_a_model_can_be_told_of_each_tool", ToolRegistry),
    ("test_a_good_call_is_answered_with_text", Misnaming),
    ("test_a_good_call_is_answered_with_text", Numeric),
    ("test_a_call_leaves_its_arguments_as_they_are", Altering),
    ("test_a_tool_that_is_not_there_is_unknown", Forgiving),
    ("test_wrong_arguments_are_refused", Forgiving),
    ("test_calls_can_be_made_at_once", Single),
    ("test_too_little_time_is_an_error_of_agentkit", Unhurried),
    ("test_a_call_that_is_cancelled_disturbs_no_other", Single),
    ("test_closing_them_unused_and_twice_is_harmless", OnceTools),
]


class OddMemory(BaseMemory):
    """Keeps everything; `shown` says what of it is shown."""

    kept_by_all: list[Message] = []  # noqa: RUF012 - what `Communal` shares is what is wrong with it

    def __init__(self, shown: Callable[[list[Message]], list[Message]]) -> None:
        self._kept: list[Message] = []
        self._shown = shown

    async def add(self, *messages: Message) -> None:
        self._kept.extend(messages)

    async def view(self) -> tuple[Message, ...]:
        return tuple(self._shown(self._kept))


class Communal(OddMemory):
    def __init__(self) -> None:
        super().__init__(lambda kept: kept)
        self._kept = type(self).kept_by_all
        self._kept.clear()


class Wordwise(OddMemory):
    """Minds how many messages it is given at once."""

    async def add(self, *messages: Message) -> None:
        await super().add(*(messages if len(messages) > 1 else ()))


class Fading(OddMemory):
    """Loses something each time it is looked at."""

    async def view(self) -> tuple[Message, ...]:
        return tuple(self._kept.pop(0) for _ in self._kept[:1])


BAD_MEMORIES: list[tuple[str, Callable[[], BaseMemory]]] = [
    ("test_a_short_conversation_is_shown_as_it_was", lambda: OddMemory(lambda kept: kept[::-1])),
    ("test_messages_added_one_by_one_are_the_same_conversation", lambda: Wordwise(lambda kept: kept)),
    ("test_the_goal_is_shown_however_long_the_conversation", lambda: OddMemory(lambda kept: kept[-20:])),
    ("test_every_result_is_shown_with_its_call", lambda: OddMemory(lambda kept: kept[-5:])),
    (
        "test_every_result_is_shown_with_its_call",
        lambda: OddMemory(lambda kept: [each for each in kept if not isinstance(each, ToolMessage)]),
    ),
    ("test_the_newest_message_is_shown_last", lambda: OddMemory(lambda kept: kept[:20])),
    ("test_looking_changes_nothing", lambda: Fading(lambda kept: kept)),
    ("test_two_memories_know_nothing_of_each_other", Communal),
]
