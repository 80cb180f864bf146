"""When a question is not asked again, and what becomes of those who ask it at the same time."""

from __future__ import annotations

import asyncio
import json

import pytest

from agentkit.errors import LlmTimeout, LlmUnavailable
from agentkit.llm.allowance import Quota, RateAllowance
from agentkit.llm.base import StopReason, Usage
from agentkit.llm.cached import CachedLlm
from agentkit.llm.response_store import MemoryResponseStore
from agentkit.tests.llm.fake_model import FakeModel, Turn, ask, failing, stream
from agentkit.tests.llm.virtual_time import in_virtual_time, now, outcome, settled
from agentkit.tools.base import ToolSpec
from agentkit.transcript import JsonObject, ToolCall, UserMessage


@in_virtual_time
async def test_the_same_question_is_asked_once() -> None:
    model = FakeModel(Turn(("Once",)), Turn(("Twice",)))
    llm = CachedLlm(model)
    answers = [(await ask(llm)).message.text for _ in range(3)]
    assert (answers, len(model.questions)) == (["Once"] * 3, 1)


@in_virtual_time
async def test_an_answer_that_was_kept_used_nothing_and_says_so() -> None:
    llm = CachedLlm(FakeModel(Turn(allowance=RateAllowance(Quota(1, 1, 1)))))
    first, second = await ask(llm), await ask(llm)
    assert (first.usage, first.from_cache) == (Usage(10, 5), False)
    assert (second.usage, second.from_cache, second.allowance) == (Usage(), True, None)


@in_virtual_time
async def test_tool_calls_are_kept_as_they_were() -> None:
    call = ToolCall("call_1", "add", {"a": 1, "text": "ż\ud800"})
    llm = CachedLlm(FakeModel(Turn((), calls=(call,))))
    first, second = await ask(llm), await ask(llm)
    assert first.message == second.message
    assert second.stop is StopReason.tool_calls


@in_virtual_time
async def test_a_kept_answer_is_a_copy() -> None:
    llm = CachedLlm(FakeModel(Turn((), calls=(ToolCall("call_1", "add", {"a": 1}),))))
    await ask(llm)
    (await ask(llm)).message.tool_calls[0].arguments["a"] = 2
    assert (await ask(llm)).message.tool_calls[0].arguments == {"a": 1}


TOOL = ToolSpec("a", "b", {"type": "object"})


@pytest.mark.parametrize(
    ("text", "tools", "schema"),
    [
        ("Twice?", (TOOL,), {"type": "object"}),
        ("Once?", (), {"type": "object"}),
        ("Once?", (ToolSpec("a", "c", {"type": "object"}),), {"type": "object"}),
        ("Once?", (TOOL,), None),
        ("Once?", (TOOL,), {"type": "array"}),
    ],
)
@in_virtual_time
async def test_another_question_is_asked(text: str, tools: tuple[ToolSpec, ...], schema: JsonObject | None) -> None:
    model = FakeModel()
    llm = CachedLlm(model)
    await llm.complete([UserMessage("Once?")], tools=[TOOL], output_schema={"type": "object"}, timeout_seconds=9)
    await llm.complete([UserMessage(text)], tools=tools, output_schema=schema, timeout_seconds=9)
    assert len(model.questions) == 2


@in_virtual_time
async def test_what_the_model_is_not_told_of_a_tool_makes_no_difference() -> None:
    model = FakeModel()
    llm = CachedLlm(model)
    for side_effect in (True, False):
        tool = ToolSpec("a", "b", {"type": "object"}, side_effect)
        await llm.complete([UserMessage("Once?")], tools=[tool], timeout_seconds=9)
    assert len(model.questions) == 1


@pytest.mark.parametrize(
    ("one", "other", "asked"),
    [
        ({}, {}, 1),
        ({}, {"model": "fake-2"}, 2),
        ({}, {"provider": "other"}, 2),
    ],
)
@in_virtual_time
async def test_a_store_can_be_shared_and_keeps_models_apart(
    one: dict[str, str], other: dict[str, str], asked: int
) -> None:
    store, models = MemoryResponseStore(), [FakeModel(**one), FakeModel(**other)]  # type: ignore[arg-type]  # names
    for model in models:
        await ask(CachedLlm(model, store))
    assert sum(len(model.questions) for model in models) == asked


@in_virtual_time
async def test_clients_with_other_settings_are_kept_apart() -> None:
    store, model = MemoryResponseStore(), FakeModel()
    for temperature in (0, 1, 0):
        await ask(CachedLlm(model, store, settings={"temperature": temperature}))
    assert len(model.questions) == 2


@pytest.mark.parametrize("stop", [StopReason.length, StopReason.bungled_call])
@in_virtual_time
async def test_an_answer_that_went_wrong_is_not_kept(stop: StopReason) -> None:
    model = FakeModel(Turn(stop=stop))
    llm = CachedLlm(model)
    await ask(llm)
    await ask(llm)
    assert len(model.questions) == 2


@in_virtual_time
async def test_an_error_is_not_kept() -> None:
    llm = CachedLlm(FakeModel(failing(LlmUnavailable("down")), Turn()))
    assert isinstance(await outcome(ask(llm)), LlmUnavailable)
    assert (await ask(llm)).message.text == "Hello"


@in_virtual_time
async def test_what_is_kept_is_json() -> None:
    kept: list[bytes] = []

    class Store(MemoryResponseStore):
        async def keep(self, key: str, value: bytes) -> None:
            kept.append(value)

    await ask(CachedLlm(FakeModel(), Store()))
    assert json.loads(kept[0])["message"]["text"] == "Hello"


@in_virtual_time
async def test_a_stampede_asks_once() -> None:
    model = FakeModel(Turn(piece_seconds=5))
    llm = CachedLlm(model)
    answers = await asyncio.gather(*(ask(llm) for _ in range(1_000)))
    assert len(model.questions) == 1
    assert {answer.message.text for answer in answers} == {"Hello"}
    assert sum(answer.usage.total_tokens for answer in answers) == 15
    assert now() == 5


@in_virtual_time
async def test_without_the_cache_a_stampede_asks_each_time() -> None:
    model = FakeModel(Turn(piece_seconds=5))
    await asyncio.gather(*(ask(model) for _ in range(1_000)))
    assert len(model.questions) == 1_000


@in_virtual_time
async def test_an_error_is_given_to_all_who_wait_and_not_asked_for_again() -> None:
    model = FakeModel(failing(LlmUnavailable("down"), "x", piece_seconds=5))
    llm = CachedLlm(model)
    outcomes = await asyncio.gather(*(outcome(ask(llm)) for _ in range(10)))
    assert all(isinstance(each, LlmUnavailable) for each in outcomes)
    assert len(model.questions) == 1


@in_virtual_time
async def test_when_the_one_who_asks_is_cancelled_another_asks_in_its_place() -> None:
    model = FakeModel(Turn(piece_seconds=5))
    llm = CachedLlm(model)
    first, *others = [asyncio.create_task(ask(llm)) for _ in range(10)]
    await asyncio.sleep(1)
    first.cancel()
    answers = await asyncio.gather(*others)
    assert first.cancelled()
    assert {answer.message.text for answer in answers} == {"Hello"}
    assert model.asked_at == [0, 1]


@in_virtual_time
async def test_when_one_who_waits_is_cancelled_nobody_notices() -> None:
    model = FakeModel(Turn(piece_seconds=5))
    llm = CachedLlm(model)
    first, second, third = [asyncio.create_task(ask(llm)) for _ in range(3)]
    await asyncio.sleep(1)
    second.cancel()
    await asyncio.gather(first, third)
    assert (second.cancelled(), len(model.questions)) == (True, 1)


@in_virtual_time
async def test_when_all_are_cancelled_the_call_is_too_and_nothing_is_left_behind() -> None:
    model = FakeModel(Turn(piece_seconds=5), Turn(("Again",)))
    llm = CachedLlm(model)
    calls = [asyncio.create_task(ask(llm)) for _ in range(3)]
    await settled()
    for call in calls:
        call.cancel()
    await asyncio.wait(calls)
    assert model.in_flight == 0
    assert (await ask(llm)).message.text == "Again"


@in_virtual_time
async def test_one_who_has_less_time_than_the_call_takes_is_told_in_time() -> None:
    llm = CachedLlm(FakeModel(Turn(piece_seconds=50)))
    patient = asyncio.create_task(ask(llm, seconds=60))
    await settled()
    assert isinstance(await outcome(ask(llm, seconds=10)), LlmTimeout)
    assert now() == 10
    assert (await patient).message.text == "Hello"


@in_virtual_time
async def test_one_who_has_more_time_asks_when_the_first_ones_is_up() -> None:
    model = FakeModel(Turn(piece_seconds=50))
    llm = CachedLlm(model)
    hasty, patient = asyncio.create_task(ask(llm, seconds=10)), asyncio.create_task(ask(llm, seconds=100))
    assert isinstance(await outcome(hasty), LlmTimeout)
    assert (await patient).message.text == "Hello"
    assert model.asked_at == [0, 10]


@in_virtual_time
async def test_a_store_that_hangs_does_not_outlast_the_call() -> None:
    class Hanging(MemoryResponseStore):
        async def find(self, key: str) -> bytes | None:
            await asyncio.Event().wait()
            return None

    assert isinstance(await outcome(ask(CachedLlm(FakeModel(), Hanging()), seconds=10)), LlmTimeout)
    assert now() == 10


@in_virtual_time
async def test_a_kept_answer_is_told_whole() -> None:
    told: list[str] = []
    again: list[str] = []
    llm = CachedLlm(FakeModel(Turn(("On", "ce"))))
    await stream(llm, told)
    await stream(llm, again)
    assert (told, again) == (["On", "ce"], ["Once"])


@in_virtual_time
async def test_of_two_readers_at_once_one_is_told_in_pieces_and_the_other_whole() -> None:
    told: list[str] = []
    other: list[str] = []
    model = FakeModel(Turn(("On", "ce"), piece_seconds=1))
    llm = CachedLlm(model)
    await asyncio.gather(stream(llm, told), stream(llm, other))
    assert (told, other, len(model.questions)) == (["On", "ce"], ["Once"], 1)


@in_virtual_time
async def test_a_reader_that_fails_harms_itself_only() -> None:
    def on_text(_: str) -> None:
        raise ZeroDivisionError

    model = FakeModel(Turn(piece_seconds=1))
    llm = CachedLlm(model)
    failed, answer = await asyncio.gather(
        llm.stream([UserMessage("Once?")], timeout_seconds=9, on_text=on_text), ask(llm), return_exceptions=True
    )
    assert isinstance(failed, ZeroDivisionError)
    assert not isinstance(answer, BaseException)
    assert answer.message.text == "Hello"
