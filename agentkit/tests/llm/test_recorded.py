"""What a recording holds, and how a run is repeated from it without a model."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from agentkit.agent import Agent
from agentkit.attachments import Attachment
from agentkit.errors import ConfigurationError, LlmError, LlmUnavailable, RateLimited
from agentkit.llm.base import Usage
from agentkit.llm.demo import DemoLlm
from agentkit.llm.recorded import RecordingLlm, ReplayingLlm
from agentkit.planners.react import ReActPlanner
from agentkit.tests.llm.fake_model import FakeModel, Turn, ask, failing, stream
from agentkit.tests.llm.virtual_time import outcome
from agentkit.tools.base import ToolSpec
from agentkit.tools.builtin import calculator
from agentkit.tools.registry import ToolRegistry
from agentkit.transcript import AssistantMessage, Message, SystemMessage, ToolCall, UserMessage


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "calls.jsonl"


def written_in(path: Path) -> str:
    return path.read_text()


def lines_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in written_in(path).splitlines()]


async def put(llm: RecordingLlm | ReplayingLlm, *messages: Message, tools: Sequence[ToolSpec] = ()) -> str:
    return (await llm.complete(messages, tools=tools, timeout_seconds=9)).message.text


async def test_a_recorded_run_is_repeated_without_the_model(path: Path) -> None:
    goal = "What is 6 * 7, and then that plus 1?"

    def agent(llm: RecordingLlm | ReplayingLlm) -> Agent:
        return Agent(planner=ReActPlanner(llm), tools=ToolRegistry([calculator]))

    real = await agent(RecordingLlm(DemoLlm(), path)).run(goal)
    replayed = await agent(ReplayingLlm(path)).run(goal)

    assert replayed.transcript == real.transcript
    assert replayed.usage == real.usage
    assert len(lines_of(path)) == real.steps > 1


async def test_who_was_recorded_is_who_answers(path: Path) -> None:
    inner = FakeModel(provider="p", model="m", native_tools=False, native_output=True)
    recorded = await ask(RecordingLlm(inner, path))
    llm = ReplayingLlm(path)
    assert (llm.provider, llm.model, llm.native_tools, llm.native_output) == ("p", "m", False, True)
    assert await ask(llm) == recorded


async def test_the_same_request_is_answered_in_the_order_in_which_it_was(path: Path) -> None:
    recording = RecordingLlm(FakeModel(Turn(("1",)), Turn(("other",)), Turn(("2",))), path)
    for text in ("a", "b", "a"):
        await ask(recording, text)
    llm = ReplayingLlm(path)
    assert [(await ask(llm, text)).message.text for text in ("b", "a", "a")] == ["other", "1", "2"]


async def test_a_request_made_more_often_than_recorded_is_an_error(path: Path) -> None:
    await ask(RecordingLlm(FakeModel(), path))
    llm = ReplayingLlm(path)
    await ask(llm)
    with pytest.raises(LlmError, match=r"is line 1 of calls\.jsonl and was replayed already"):
        await ask(llm)


@pytest.mark.parametrize(
    "error",
    [
        RateLimited("busy", retry_after_seconds=3),
        LlmUnavailable("down"),
        LlmError("odd"),
    ],
)
async def test_errors_are_repeated_too(path: Path, error: LlmError) -> None:
    recording = RecordingLlm(FakeModel(failing(error)), path)
    assert await outcome(ask(recording)) is error
    repeated = await outcome(ask(ReplayingLlm(path)))
    assert (type(repeated), str(repeated)) == (type(error), str(error))
    assert repeated.retry_after_seconds == error.retry_after_seconds


async def test_an_error_of_ones_own_is_repeated_as_the_one_it_derives_from(path: Path) -> None:
    class Overloaded(LlmUnavailable):
        code = "my_overloaded"

        def __init__(self, *, region: str) -> None:
            super().__init__(f"overloaded in {region}")

    await outcome(ask(RecordingLlm(FakeModel(failing(Overloaded(region="x"))), path)))
    repeated = await outcome(ask(ReplayingLlm(path)))
    assert (type(repeated), str(repeated)) == (LlmUnavailable, "overloaded in x")


async def test_a_streamed_answer_is_repeated_in_its_pieces(path: Path) -> None:
    told: list[str] = []
    await stream(RecordingLlm(FakeModel(Turn(("On", "ce"))), path), [])
    await stream(ReplayingLlm(path), told)
    assert told == ["On", "ce"]


async def test_an_answer_that_was_not_streamed_is_told_whole(path: Path) -> None:
    told: list[str] = []
    await ask(RecordingLlm(FakeModel(Turn(("On", "ce"))), path))
    await stream(ReplayingLlm(path), told)
    assert told == ["Once"]


async def test_an_answer_that_broke_off_breaks_off_again(path: Path) -> None:
    told: list[str] = []
    await outcome(stream(RecordingLlm(FakeModel(failing(LlmUnavailable("cut"), "On", "ce")), path), []))
    assert isinstance(await outcome(stream(ReplayingLlm(path), told)), LlmUnavailable)
    assert told == ["On", "ce"]


async def test_calls_at_once_have_a_line_each(path: Path) -> None:
    llm = RecordingLlm(FakeModel(Turn(("x" * 100_000,))), path)
    await asyncio.gather(*(ask(llm, str(number)) for number in range(50)))
    assert len(lines_of(path)) == 50


async def test_the_folder_of_a_recording_is_made(tmp_path: Path) -> None:
    path = tmp_path / "recordings" / "of_today" / "calls.jsonl"
    await ask(RecordingLlm(FakeModel(), path))
    assert (await ask(ReplayingLlm(path))).message.text == "Hello"


async def test_a_second_run_is_added_to_the_first(path: Path) -> None:
    await ask(RecordingLlm(FakeModel(), path), "a")
    await ask(RecordingLlm(FakeModel(), path), "b")
    assert [line["request"]["messages"][0]["text"] for line in lines_of(path)] == ["a", "b"]


async def test_the_time_of_a_call_is_no_part_of_the_request(path: Path) -> None:
    await ask(RecordingLlm(FakeModel(), path), seconds=10)
    assert (await ask(ReplayingLlm(path), seconds=20)).message.text == "Hello"


async def test_what_a_vendor_wants_back_is_neither_kept_nor_part_of_the_request(path: Path) -> None:
    question = UserMessage("Once?")
    sealed = AssistantMessage("One.", vendor={"provider": "fake", "content": "sealed"})
    await put(RecordingLlm(FakeModel(), path), question, sealed)
    assert "sealed" not in written_in(path)
    assert await put(ReplayingLlm(path), question, AssistantMessage("One.")) == "Hello"


async def test_of_an_attachment_only_a_hash_is_kept_and_another_one_is_another_request(path: Path) -> None:
    one, other = (UserMessage("Look.", (Attachment.of(content, "image/png"),)) for content in (b"one", b"two"))
    await put(RecordingLlm(FakeModel(), path), one)
    assert one.attachments[0].data not in written_in(path)
    llm = ReplayingLlm(path)
    with pytest.raises(LlmError, match="its message 1 was recorded as"):
        await put(llm, other)
    assert await put(llm, one) == "Hello"


def without_numbers(text: str) -> str:
    return "".join("#" if character.isdigit() else character for character in text)


async def test_what_must_not_be_kept_is_nowhere_in_the_file_and_the_run_repeats_all_the_same(path: Path) -> None:
    call = ToolCall("call_1", "pay", {"card": "4711", "name": "4711", "items": [{"id": "4711"}]})
    tool = ToolSpec("pay", "Pays with 4711.", {"type": "object", "description": "4711"})
    conversation = (SystemMessage("4711"), UserMessage("4711", (Attachment("image/png", url="http://a/4711"),)))
    model = FakeModel(Turn(("47", "11"), calls=(call,)), failing(RateLimited("4711 is busy")))
    recording = RecordingLlm(model, path, redact=without_numbers)
    await recording.stream(conversation, tools=[tool], timeout_seconds=9, on_text=lambda _: None)
    await outcome(recording.complete(conversation, tools=[tool], timeout_seconds=9))

    written = written_in(path).replace(json.dumps(lines_of(path)[0]["fingerprint"]), "")
    assert "4711" not in written
    assert '"47"' not in written
    llm = ReplayingLlm(path, redact=without_numbers)
    replayed = await llm.complete(conversation, tools=[tool], timeout_seconds=9)
    assert replayed.message.tool_calls == (
        ToolCall("call_1", "pay", {"card": "####", "name": "####", "items": [{"id": "####"}]}),
    )
    assert replayed.message.text == "####"
    assert str(await outcome(llm.complete(conversation, tools=[tool], timeout_seconds=9))) == "#### is busy"


async def test_without_redact_the_conversation_is_in_the_file(path: Path) -> None:
    await ask(RecordingLlm(FakeModel(), path), "4711")
    assert "4711" in written_in(path)


async def test_a_hash_does_not_give_away_what_was_made_unreadable(path: Path) -> None:
    for text in ("4711", "4712"):
        await ask(RecordingLlm(FakeModel(), path, redact=without_numbers), text)
    one, other = lines_of(path)
    assert one["fingerprint"] == other["fingerprint"]


TOOL = ToolSpec("add", "Adds.", {"type": "object"})
RECORDED = (SystemMessage("Be brief."), UserMessage("What is the weather like in Paris today?"))


@pytest.mark.parametrize(
    ("messages", "tools", "difference"),
    [
        (
            (RECORDED[0], UserMessage("What is the weather like in Oslo today?")),
            (TOOL,),
            'line 2, but its message 2 was recorded as …", "text": "What is the weather like in Paris today?"} '
            'and is now …", "text": "What is the weather like in Oslo today?"}',
        ),
        ((*RECORDED, AssistantMessage("Sunny.")), (TOOL,), "line 2, but it has 2 messages, and this one has 3"),
        (RECORDED[:1], (TOOL,), "line 2, but it has 2 messages, and this one has 1"),
        (RECORDED, (), 'line 2, but its list of tools was recorded as [{"description": "Adds.", "name": "add"'),
        ((UserMessage("Tell me a joke!"),), (TOOL,), "line 1, but its message 1"),
    ],
)
async def test_a_request_that_was_not_recorded_is_told_the_nearest_one_and_what_differs(
    path: Path, messages: tuple[Message, ...], tools: tuple[ToolSpec, ...], difference: str
) -> None:
    recording = RecordingLlm(FakeModel(), path)
    await put(recording, UserMessage("Tell me a joke."), tools=[TOOL])
    await put(recording, *RECORDED, tools=[TOOL])
    with pytest.raises(LlmError) as caught:
        await put(ReplayingLlm(path), *messages, tools=tools)
    assert str(caught.value).startswith("nothing in calls.jsonl answers this request; the nearest is line ")
    assert difference in str(caught.value)
    assert not caught.value.retryable


async def test_an_output_schema_that_differs_is_named(path: Path) -> None:
    await RecordingLlm(FakeModel(), path).complete(RECORDED, output_schema={"type": "object"}, timeout_seconds=9)
    with pytest.raises(LlmError, match=r"its output schema was recorded as .*object.* and is now null"):
        await put(ReplayingLlm(path), *RECORDED)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (None, "there is no recording"),
        ("", "is empty"),
        ("{", "line 1 of"),
        ("[]", "line 1 of"),
        ('{"form": 99, "fingerprint": "a", "request": {"messages": [1]}}', "another form"),
    ],
)
def test_a_file_that_is_no_recording_is_refused(path: Path, content: str | None, problem: str) -> None:
    if content is not None:
        path.write_text(content)
    with pytest.raises(ConfigurationError, match=problem):
        ReplayingLlm(path)


async def test_usage_is_repeated_as_it_was(path: Path) -> None:
    await ask(RecordingLlm(FakeModel(Turn(usage=Usage(1, 2, 1, 2))), path))
    assert (await ask(ReplayingLlm(path))).usage == Usage(1, 2, 1, 2)
