"""What every vendor's client promises of an answer that is streamed, beyond what holds of every answer."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncIterator
from typing import Literal

import pytest

from agentkit.errors import LlmError, LlmTimeout, LlmUnavailable, MalformedReply, RateLimited
from agentkit.llm.base import BaseLlmClient, LlmResponse
from agentkit.llm.openai_chat import OpenAiChatClient
from agentkit.tests.llm.http_server import Reply, event
from agentkit.tests.llm.script import Broken, Call, FailWhileStreaming, Fault, Json, Say
from agentkit.tests.llm.vendor_server import VendorServer
from agentkit.tests.llm.vendors import VENDORS, Vendor
from agentkit.tools.base import ToolSpec
from agentkit.transcript import UserMessage

ADD = ToolSpec("add", "Add two numbers.", {"type": "object", "properties": {"a": {}, "b": {}}, "required": ["a", "b"]})
FOX = "The quick brown fox\u2028jumps over\r\n the lazy 🦊.\n\nEnd"
#: The second of what each vendor sends for a text: its first word, or what precedes it.
PIECES: dict[str, Json] = {
    "openai": {"model": "m", "choices": [{"index": 0, "delta": {"content": "x"}}]},
    "openai-responses": {"type": "response.output_text.delta", "delta": "x"},
    "anthropic": {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "x"}},
    "gemini": {"candidates": [{"content": {"parts": [{"text": "x"}]}}]},
}


@pytest.fixture
async def model(vendor: Vendor, server: VendorServer) -> AsyncIterator[BaseLlmClient]:
    client = vendor.client(server)
    yield client
    await client.aclose()


async def stream(model: BaseLlmClient, pieces: list[str] | None = None, *, timeout_seconds: float = 20) -> LlmResponse:
    told = [] if pieces is None else pieces
    return await model.stream([UserMessage("Hi")], tools=[ADD], timeout_seconds=timeout_seconds, on_text=told.append)


async def error_of(model: BaseLlmClient, pieces: list[str] | None = None, *, timeout_seconds: float = 20) -> LlmError:
    with pytest.raises(LlmError) as caught:
        await stream(model, pieces, timeout_seconds=timeout_seconds)
    return caught.value


async def test_the_text_comes_in_pieces_that_make_the_whole(model: BaseLlmClient, server: VendorServer) -> None:
    server.then(Say(FOX))
    pieces: list[str] = []

    response = await stream(model, pieces)

    assert response.message.text == "".join(pieces) == FOX
    assert len(pieces) > 5


async def test_a_piece_is_told_before_the_next_one_is_there(model: BaseLlmClient, server: VendorServer) -> None:
    server.then(Broken(Say("Once upon a time"), missing=4, how="stall"))
    first = asyncio.Event()

    call = asyncio.create_task(
        model.stream([UserMessage("Hi")], timeout_seconds=20, on_text=lambda _: first.set()),
    )
    await asyncio.wait_for(first.wait(), 10)
    assert not call.done()
    call.cancel()
    await asyncio.wait([call], timeout=10)

    assert call.cancelled()
    async with asyncio.timeout(10):
        while not server.hung_up:  # the vendor is told too: nobody pays for text that nobody reads
            await asyncio.sleep(0.01)


@pytest.mark.parametrize(
    "step",
    [
        Say("Six."),
        Say("Six.", cut_short=True),
        Call((("add", {"a": 1, "b": [2, {"c": "ü"}]}), ("add", {"a": 3, "b": 4})), text="Let me add."),
        Call((("add", {}),), cut_short=True),
    ],
    ids=["text", "cut-short", "calls", "calls-cut-short"],
)
async def test_an_answer_is_the_same_streamed_and_whole(
    model: BaseLlmClient, server: VendorServer, step: Say | Call
) -> None:
    server.then(step, step)

    whole = await model.complete([UserMessage("Hi")], tools=[ADD], timeout_seconds=20)

    assert await stream(model) == whole


@pytest.mark.parametrize("how", ["cut", "end"])
@pytest.mark.parametrize(
    "step", [Say("Once upon a time."), Call((("add", {"a": 1}),), "Let me add.")], ids=["text", "call"]
)
async def test_an_answer_that_breaks_off_is_unavailable_wherever_it_does(
    model: BaseLlmClient, vendor: Vendor, server: VendorServer, step: Say | Call, how: Literal["cut", "end"]
) -> None:
    await stream(model)
    events = len(server.rendered(step, server.requests[-1]).pieces)
    assert events > 3

    for missing in range(_fewest_missing(vendor, how), events):
        server.then(Broken(step, missing=missing, how=how))
        assert type(await error_of(model)) is LlmUnavailable


@pytest.mark.parametrize("vendor", [v for v in VENDORS if v.make is OpenAiChatClient], ids=str)
async def test_a_body_that_ends_in_good_order_after_the_usage_needs_no_end_mark(
    model: BaseLlmClient, server: VendorServer
) -> None:
    server.then(Broken(Say("Once."), missing=1, how="end"))

    assert (await stream(model)).message.text == "Once."


async def test_pieces_told_before_the_answer_broke_off_do_not_make_an_answer(
    model: BaseLlmClient, server: VendorServer
) -> None:
    server.then(Broken(Say("Once upon a time there was a king."), missing=4))
    pieces: list[str] = []

    error = await error_of(model, pieces)

    assert pieces
    assert error.retryable


async def test_silence_in_the_middle_is_a_timeout(model: BaseLlmClient, server: VendorServer) -> None:
    server.then(Broken(how="stall"))
    pieces: list[str] = []

    error = await error_of(model, pieces, timeout_seconds=0.5)

    assert type(error) is LlmTimeout
    assert pieces


async def test_the_time_limit_holds_while_pieces_still_come(vendor: Vendor, server: VendorServer) -> None:
    model = vendor.client(server, model="react-0-words-1000-piece-20")

    assert type(await error_of(model, timeout_seconds=0.5)) is LlmTimeout
    await model.aclose()


@pytest.mark.parametrize(
    ("fault", "expected"),
    [(Fault.overloaded, LlmUnavailable), (Fault.server_error, LlmUnavailable)],
)
async def test_an_error_in_the_middle_is_the_error(
    model: BaseLlmClient, server: VendorServer, fault: Fault, expected: type[LlmError]
) -> None:
    server.then(FailWhileStreaming(fault, "we are on fire"))

    error = await error_of(model)

    assert type(error) is expected
    assert "we are on fire" in str(error)


@pytest.mark.parametrize("vendor", [v for v in VENDORS if v.name not in ("openai", "compatible")], ids=str)
async def test_a_rate_limit_in_the_middle_is_one(model: BaseLlmClient, server: VendorServer) -> None:
    server.then(FailWhileStreaming(Fault.rate_limited, "slow down"))

    assert type(await error_of(model)) is RateLimited


@pytest.mark.parametrize("vendor", [v for v in VENDORS if v.keyed], ids=str)
async def test_a_key_repeated_in_the_middle_is_cut_out(model: BaseLlmClient, server: VendorServer) -> None:
    server.then(FailWhileStreaming(Fault.overloaded, f"overloaded: {server.key}"))

    assert server.key not in str(await error_of(model))


@pytest.mark.parametrize("rubbish", ["{", "[]", "null", '"x"', '{"choices": 1, "candidates": 1, "type": 1}', "\x00"])
async def test_rubbish_in_the_middle_is_a_malformed_reply(
    model: BaseLlmClient, vendor: Vendor, server: VendorServer, rubbish: str
) -> None:
    server.then(Reply(content_type="text/event-stream", pieces=(*_beginning(vendor), event(rubbish))))

    assert type(await error_of(model)) is MalformedReply


async def test_bytes_that_are_no_text_are_a_malformed_reply(
    model: BaseLlmClient, vendor: Vendor, server: VendorServer
) -> None:
    broken = event(PIECES[_format_of(vendor)]).replace(b'"x"', b'"\xff"')
    server.then(Reply(content_type="text/event-stream", pieces=(*_beginning(vendor), broken)))

    assert type(await error_of(model)) is MalformedReply


async def test_an_empty_stream_is_unavailable(model: BaseLlmClient, server: VendorServer) -> None:
    server.then(Reply(content_type="text/event-stream", pieces=(b": hello\n\n",)))

    assert type(await error_of(model)) is LlmUnavailable


async def test_an_event_that_never_ends_is_bounded(model: BaseLlmClient, server: VendorServer) -> None:
    server.then(Reply(body=b"data: " + b"x" * 65_536, content_type="text/event-stream", endless=True))

    error = await error_of(model, timeout_seconds=60)

    assert type(error) is MalformedReply
    assert "longer than" in str(error)


async def test_events_cut_anywhere_and_comments_between_them_change_nothing(
    model: BaseLlmClient, server: VendorServer
) -> None:
    server.then(Say(FOX))
    await stream(model)
    asked = server.requests[-1]
    rendered = server.rendered(Say(FOX), asked)
    body = b": keep-alive\r\n\r\n".join(rendered.pieces)
    server.then(dataclasses.replace(rendered, pieces=tuple(body[i : i + 7] for i in range(0, len(body), 7))))

    assert (await stream(model)).message.text == FOX


async def test_a_vendor_that_does_not_stream_after_all_is_understood(
    model: BaseLlmClient, server: VendorServer
) -> None:
    server.then(Say(FOX))
    await model.complete([UserMessage("Hi")], timeout_seconds=20)
    server.then(server.rendered(Say("All at once."), server.requests[-1]))
    pieces: list[str] = []

    assert (await stream(model, pieces)).message.text == "All at once."
    assert pieces == ["All at once."]


async def test_streams_one_after_another_share_a_connection(model: BaseLlmClient, server: VendorServer) -> None:
    for _ in range(4):
        await stream(model)

    assert server.connections == 1


def _fewest_missing(vendor: Vendor, how: Literal["cut", "end"]) -> int:
    """Chat completions say all that matters before the end mark."""
    return 2 if how == "end" and vendor.make is OpenAiChatClient else 1


def _format_of(vendor: Vendor) -> str:
    return vendor.name if vendor.name in PIECES else "openai"


def _beginning(vendor: Vendor) -> tuple[bytes, ...]:
    """A stream up to its first word."""
    piece = event(PIECES[_format_of(vendor)])
    if vendor.name != "anthropic":
        return (piece,)
    begun = {"type": "message_start", "message": {"model": "m", "usage": {"input_tokens": 1}}}
    block = {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}
    return event(begun), event(block), piece
