"""The suites for models, tools and memories: what is right passes all of one, and each wrong finds its own test."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any
from unittest import SkipTest

import pytest

from agentkit.errors import BadToolArguments
from agentkit.llm.base import BaseLlmClient, LlmResponse, StopReason, Usage
from agentkit.llm.cached import CachedLlm
from agentkit.llm.demo import DemoLlm
from agentkit.llm.fallback import FallbackLlm
from agentkit.llm.metered import MeteredLlm
from agentkit.llm.rate_limited import RateLimitedLlm
from agentkit.llm.recorded import RecordingLlm
from agentkit.llm.retrying import RetryingLlm
from agentkit.memory.base import BaseMemory
from agentkit.memory.short_term import ShortTermMemory
from agentkit.testing import CountingTool, MemoryContract, ModelContract, ToolContract, call_of
from agentkit.tests.llm.fake_model import FakeModel, Turn
from agentkit.tests.wrong_subjects import BAD_MEMORIES, BAD_MODELS, BAD_TOOLS
from agentkit.tools.allowed import AllowedTools
from agentkit.tools.base import BaseToolManager, ToolSpec
from agentkit.tools.builtin import calculator
from agentkit.tools.combined import CombinedTools
from agentkit.tools.registry import ToolRegistry
from agentkit.transcript import AssistantMessage, JsonObject, Message, ToolCall


class TestDemoModel(ModelContract):
    question = "What is 6 * 7?"

    async def make(self) -> BaseLlmClient:
        return DemoLlm()


class TestDemoModelInText(ModelContract):
    question = "What is 6 * 7?"

    async def make(self) -> BaseLlmClient:
        return DemoLlm(native_tools=False)


class TestModelThatCallsTools(ModelContract):
    async def make(self) -> BaseLlmClient:
        return FakeModel(Turn((), calls=(ToolCall("call_1", "add", {"a": 1}),)))


class AtOnce(BaseLlmClient):
    """Answers without ever waiting."""

    provider, model = "fake", "at-once"

    async def complete(
        self,
        messages: Sequence[Message],
        *,
        tools: Sequence[ToolSpec] = (),
        output_schema: JsonObject | None = None,
        timeout_seconds: float,
    ) -> LlmResponse:
        return LlmResponse(AssistantMessage("Hello"), StopReason.end, Usage(), self.provider, self.model)


class TestModelThatAnswersAtOnce(ModelContract):
    async def make(self) -> BaseLlmClient:
        return AtOnce()


class TestWrappedModel(ModelContract):
    """All wrappers at once: whatever holds of a model holds of a wrapped one."""

    question = "What is 6 * 7?"

    @pytest.fixture(autouse=True)
    def recording(self, tmp_path: Path) -> None:
        self.path = tmp_path / "calls.jsonl"

    async def make(self) -> BaseLlmClient:
        inside = RetryingLlm(RateLimitedLlm(RecordingLlm(self.inner(), self.path)))
        return MeteredLlm(CachedLlm(FallbackLlm(inside, self.inner())), price_of=lambda _: None)

    def inner(self) -> BaseLlmClient:
        return DemoLlm()


class TestWrappedModelThatCallsTools(TestWrappedModel):
    def inner(self) -> BaseLlmClient:
        return FakeModel(Turn((), calls=(ToolCall("call_1", "add", {"a": 1}),)))


class TestRegistry(ToolContract):
    good_call = call_of("calculator", expression="6 * 7")
    bad_call = call_of("calculator", formula="6 * 7")

    async def make(self) -> BaseToolManager:
        return ToolRegistry([calculator])


class TestCountingTool(ToolContract):
    good_call = call_of("count", n=1)

    async def make(self) -> BaseToolManager:
        return CombinedTools(AllowedTools(CountingTool(), ["count"]))


class TestShortTermMemory(MemoryContract):
    async def make(self) -> BaseMemory:
        return ShortTermMemory(token_budget=2_000)


@pytest.mark.parametrize(("test", "make"), BAD_MODELS)
def test_a_model_that_is_wrong_is_found_out(test: str, make: Callable[[], BaseLlmClient]) -> None:
    suite = ModelContract()
    suite.make = _making(make)  # type: ignore[method-assign]  # as a subclass would
    assert _fails(suite, test)


@pytest.mark.parametrize(("test", "make"), BAD_TOOLS)
def test_tools_that_are_wrong_are_found_out(test: str, make: Callable[[], BaseToolManager]) -> None:
    suite = ToolContract()
    suite.good_call = call_of("calculator", expression="6 * 7")
    suite.bad_call = call_of("calculator", formula="6 * 7")
    suite.make = _making(make)  # type: ignore[method-assign]  # as a subclass would
    assert _fails(suite, test)


@pytest.mark.parametrize(("test", "make"), BAD_MEMORIES)
def test_a_memory_that_is_wrong_is_found_out(test: str, make: Callable[[], BaseMemory]) -> None:
    suite = MemoryContract()
    suite.make = _making(make)  # type: ignore[method-assign]  # as a subclass would
    assert _fails(suite, test)


@pytest.mark.parametrize(
    ("suite", "found_out"),
    [(ModelContract, BAD_MODELS), (ToolContract, BAD_TOOLS), (MemoryContract, BAD_MEMORIES)],
)
def test_every_test_of_a_suite_has_found_somebody_out(suite: type, found_out: list[tuple[str, object]]) -> None:
    tests = {name for name, _ in inspect.getmembers(suite, inspect.isfunction) if name.startswith("test_")}
    assert tests == {test for test, _ in found_out}


@pytest.mark.parametrize("suite", [ModelContract, ToolContract, MemoryContract])
def test_a_suite_that_is_not_told_what_to_test_says_so(suite: type) -> None:
    with pytest.raises(NotImplementedError, match="say in `make`"):
        asyncio.run(suite().make())


def test_what_cannot_be_tested_is_skipped_with_its_reason() -> None:
    with pytest.raises(SkipTest, match="no tool calling of its own"):
        TestDemoModelInText().test_its_tool_calls_can_be_answered()
    with pytest.raises(SkipTest, match="take any arguments"):
        TestCountingTool().test_wrong_arguments_are_refused()


def test_a_good_call_that_fails_says_why() -> None:
    class Bad(TestRegistry):
        good_call = call_of("calculator", formula="6 * 7")

    with pytest.raises(BadToolArguments):
        Bad().test_a_good_call_is_answered_with_text()


def _making(make: Callable[[], Any]) -> Callable[[], Coroutine[Any, Any, Any]]:
    async def made() -> Any:
        return make()

    return made


def _fails(suite: object, test: str) -> bool:
    try:
        getattr(suite, test)()
    except SkipTest:
        return False
    except Exception:  # noqa: BLE001 - whatever a wrong one raises
        return True
    return False
