"""What agents rely on in any model, as tests that a model of one's own can be put through."""

from __future__ import annotations

import asyncio
import copy
import json
from collections.abc import Awaitable, Callable
from unittest import SkipTest

from agentkit.errors import LlmError
from agentkit.llm.base import BaseLlmClient, LlmResponse, StopReason
from agentkit.llm.payload import response_from_json, response_to_json
from agentkit.testing.own_loop import run_check
from agentkit.tools.base import ToolSpec
from agentkit.transcript import (
    AssistantMessage,
    Message,
    SystemMessage,
    ToolCall,
    ToolMessage,
    ToolResult,
    UserMessage,
)

_AT_ONCE = 8
_HARDLY_ANY_SECONDS = 0.001
#: A model that is told to hurry may take this long to say that it could not.
_GRACE_SECONDS = 10.0


class ModelContract:
    """Subclass it in a test module as `class TestMyModel(ModelContract)`, and say in `make` how the model is made.

    Each test has an event loop and a model of its own. The suite asks some twenty questions: what they cost is up to
    the model, and a fake server behind a real client is as good a subject as a real one.
    """

    #: What is asked; any question that the model answers.
    question = "Say hello in one word."
    #: For a question that makes the model call the tool `add` of `a` and `b`; a model may answer without it.
    tool_question = "What is 17 + 25? Use the tool."
    #: The time each call has.
    timeout_seconds = 60.0

    async def make(self) -> BaseLlmClient:
        """The model, new for each test."""
        raise NotImplementedError("say in `make` how the model is made")

    def test_it_says_who_it_is(self) -> None:
        async def check(llm: BaseLlmClient) -> None:
            for name in ("provider", "model"):
                value = getattr(llm, name, None)
                assert isinstance(value, str), f"`{name}` must be a text"
                assert value, f"`{name}` must not be empty"
            assert isinstance(llm.native_tools, bool), "`native_tools` must be True or False"
            assert isinstance(llm.native_output, bool), "`native_output` must be True or False"

        self._run(check)

    def test_it_answers_in_the_words_of_agentkit(self) -> None:
        async def check(llm: BaseLlmClient) -> None:
            _check_response(await self._ask(llm))

        self._run(check)

    def test_its_answer_survives_the_journal(self) -> None:
        async def check(llm: BaseLlmClient) -> None:
            response = await self._ask(llm)
            journaled = response_from_json(json.loads(json.dumps(response_to_json(response))))
            assert journaled == response, "an answer must be the same after a trip through JSON"

        self._run(check)

    def test_a_streamed_answer_is_told_as_it_is(self) -> None:
        async def check(llm: BaseLlmClient) -> None:
            pieces: list[str] = []
            messages = (UserMessage(self.question),)
            response = await llm.stream(messages, timeout_seconds=self.timeout_seconds, on_text=pieces.append)
            _check_response(response)
            assert "".join(pieces) == response.message.text, "the pieces told must make the text of the answer"
            assert all(pieces), "a piece of text must not be empty"

        self._run(check)

    def test_its_tool_calls_can_be_answered(self) -> None:
        async def check(llm: BaseLlmClient) -> None:
            if not llm.native_tools:
                raise SkipTest("the model has no tool calling of its own")
            opening = (SystemMessage("Be brief."), UserMessage(self.tool_question))
            called = await self._ask(llm, *opening, tools=(_ADD,))
            _check_response(called)
            if called.stop is not StopReason.tool_calls:
                raise SkipTest("the model answered without a tool: give it another `tool_question`")
            calls = called.message.tool_calls
            results = ToolMessage(tuple(ToolResult(call.id, call.name, "42") for call in calls))
            _check_response(await self._ask(llm, *opening, called.message, results, tools=(_ADD,)))

        self._run(check)

    def test_it_goes_on_with_a_conversation_of_another_model(self) -> None:
        async def check(llm: BaseLlmClient) -> None:
            foreign = {"provider": "some-other-provider", "content": [{"signature": "x"}]}
            call = ToolCall("functions.add:0", "add", {"a": 1, "b": 2})
            conversation: tuple[Message, ...] = (
                UserMessage("What is 1 + 2?"),
                AssistantMessage("", (call,), foreign),
                ToolMessage((ToolResult(call.id, call.name, "3"),)),
                AssistantMessage("It is 3.", vendor=foreign),
                UserMessage(self.question),
            )
            tools = (_ADD,) if llm.native_tools else ()
            _check_response(await self._ask(llm, *conversation, tools=tools))

        self._run(check)

    def test_it_leaves_what_it_is_given_as_it_is(self) -> None:
        async def check(llm: BaseLlmClient) -> None:
            messages: list[Message] = [SystemMessage("Be brief."), UserMessage(self.question)]
            tools = [_ADD]
            before = copy.deepcopy((messages, tools))
            offered = tools if llm.native_tools else []
            await llm.complete(messages, tools=offered, timeout_seconds=self.timeout_seconds)
            assert (messages, tools) == before, "messages and tools belong to the caller"

        self._run(check)

    def test_it_answers_many_at_once(self) -> None:
        async def check(llm: BaseLlmClient) -> None:
            for response in await asyncio.gather(*(self._ask(llm) for _ in range(_AT_ONCE))):
                _check_response(response)

        self._run(check)

    def test_too_little_time_is_an_error_of_agentkit(self) -> None:
        async def check(llm: BaseLlmClient) -> None:
            try:
                async with asyncio.timeout(_GRACE_SECONDS):
                    await llm.complete([UserMessage(self.question)], timeout_seconds=_HARDLY_ANY_SECONDS)
            except LlmError:
                return  # and one that had the time is welcome to it
            except TimeoutError as error:
                raise AssertionError(
                    "it must keep to `timeout_seconds`, and say LlmTimeout when they are over"
                ) from error

        self._run(check)

    def test_a_call_that_is_cancelled_disturbs_no_other(self) -> None:
        async def check(llm: BaseLlmClient) -> None:
            cancelled, other = asyncio.create_task(self._ask(llm)), asyncio.create_task(self._ask(llm))
            await asyncio.sleep(0)
            answered_at_once = not cancelled.cancel()
            await asyncio.wait({cancelled})
            assert cancelled.cancelled() or answered_at_once, "a cancelled call must end as cancelled"
            _check_response(await other)
            _check_response(await self._ask(llm))

        self._run(check)

    def test_closing_it_unused_and_twice_is_harmless(self) -> None:
        async def check(llm: BaseLlmClient) -> None:
            await llm.aclose()

        self._run(check)

    async def _ask(self, llm: BaseLlmClient, *messages: Message, tools: tuple[ToolSpec, ...] = ()) -> LlmResponse:
        asked = messages or (UserMessage(self.question),)
        return await llm.complete(asked, tools=tools, timeout_seconds=self.timeout_seconds)

    def _run(self, check: Callable[[BaseLlmClient], Awaitable[None]]) -> None:
        async def made_and_closed() -> None:
            llm = await self.make()
            try:
                await check(llm)
            finally:
                await llm.aclose()

        run_check(made_and_closed())


_ADD = ToolSpec(
    "add",
    "Add two numbers.",
    {
        "type": "object",
        "properties": {"a": {"type": "number"}, "b": {"type": "number"}},
        "required": ["a", "b"],
    },
    side_effect=False,
)


def _check_response(response: LlmResponse) -> None:
    assert isinstance(response, LlmResponse), "an answer must be an LlmResponse"
    message, usage = response.message, response.usage
    assert isinstance(message, AssistantMessage), "`message` must be an AssistantMessage"
    assert isinstance(message.text, str), "`message.text` must be a text"
    assert response.provider, "`provider` must say who answered"
    assert response.model, "`model` must say who answered"
    vendor = message.vendor
    assert vendor is None or vendor.get("provider") == response.provider, "`vendor` must say whose it is"
    counts = (usage.input_tokens, usage.output_tokens, usage.cached_input_tokens, usage.reasoning_tokens)
    assert min(counts) >= 0, "no count of tokens may be negative"
    assert usage.cached_input_tokens <= usage.input_tokens, "cached tokens are a part of the input"
    assert usage.reasoning_tokens <= usage.output_tokens, "reasoning tokens are a part of the output"
    _check_calls(response)


def _check_calls(response: LlmResponse) -> None:
    calls = response.message.tool_calls
    assert isinstance(response.stop, StopReason), "`stop` must be a StopReason"
    assert bool(calls) == (response.stop is StopReason.tool_calls), "`stop` must say tool_calls when there are some"
    assert bool(response.problem) == (response.stop is StopReason.bungled_call), "a bungled call says its `problem`"
    assert len({call.id for call in calls}) == len(calls), "each tool call must have an id of its own"
    for call in calls:
        assert call.id, "a tool call must have an id"
        assert call.name, "a tool call must name its tool"
        assert isinstance(call.arguments, dict), "the arguments of a tool call must be an object"
