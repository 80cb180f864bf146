"""When another model is asked, which one answered, and what each is given."""

from __future__ import annotations

import asyncio
import json
from contextlib import aclosing

import pytest

from agentkit.errors import (
    BadCredentials,
    ContextTooLong,
    LlmError,
    LlmRequestInvalid,
    LlmTimeout,
    LlmUnavailable,
    MalformedReply,
    RateLimited,
    Refused,
)
from agentkit.llm.fallback import FallbackLlm
from agentkit.tests.llm.fake_model import FakeModel, Turn, ask, failing, stream
from agentkit.tests.llm.script import Fail, Fault, Say
from agentkit.tests.llm.vendor_server import VendorServer
from agentkit.tests.llm.vendors import VENDORS, Vendor
from agentkit.tests.llm.virtual_time import in_virtual_time, now
from agentkit.transcript import Message, UserMessage

#: What the fake vendors sign with.
SEALS = ("sealed", "c2VhbGVk")


def other(*turns: Turn) -> FakeModel:
    return FakeModel(*turns, provider="other", model="other-1")


@pytest.mark.parametrize("error", [BadCredentials, RateLimited, LlmUnavailable, LlmTimeout, MalformedReply])
@in_virtual_time
async def test_a_model_that_cannot_be_asked_is_replaced_and_the_response_says_who_answered(
    error: type[LlmError],
) -> None:
    first, second = FakeModel(failing(error("no"))), other()
    response = await ask(FallbackLlm(first, second))
    assert (response.provider, response.model) == ("other", "other-1")


@pytest.mark.parametrize("error", [LlmError, LlmRequestInvalid, ContextTooLong, Refused])
@in_virtual_time
async def test_no_other_model_is_asked_what_the_question_is_to_blame_for(error: type[LlmError]) -> None:
    second = other()
    with pytest.raises(error):
        await ask(FallbackLlm(FakeModel(failing(error("no"))), second))
    assert second.questions == []


@in_virtual_time
async def test_a_question_that_is_too_long_goes_on_when_that_is_asked_for() -> None:
    llm = FallbackLlm(FakeModel(failing(ContextTooLong("no"))), other(), on=(ContextTooLong,))
    assert (await ask(llm)).provider == "other"


@in_virtual_time
async def test_models_are_asked_in_their_order_until_one_answers() -> None:
    models = [FakeModel(failing(LlmUnavailable("down"))), FakeModel(failing(RateLimited("busy"))), FakeModel()]
    unasked = FakeModel()
    await ask(FallbackLlm(*models, unasked))
    assert [len(model.questions) for model in (*models, unasked)] == [1, 1, 1, 0]


@in_virtual_time
async def test_when_all_fail_the_error_that_may_pass_is_raised_and_tells_of_the_others() -> None:
    first, second = FakeModel(failing(BadCredentials("no key"))), other(failing(RateLimited("busy")))
    with pytest.raises(RateLimited, match="busy") as caught:
        await ask(FallbackLlm(first, second))
    assert caught.value.__notes__ == ["fake/fake-1 failed too: BadCredentials: no key"]


@in_virtual_time
async def test_when_none_may_pass_the_first_models_error_is_raised() -> None:
    first, second = FakeModel(failing(BadCredentials("no key"))), FakeModel(failing(LlmRequestInvalid("what?")))
    with pytest.raises(BadCredentials, match="no key"):
        await ask(FallbackLlm(first, second))


@in_virtual_time
async def test_all_models_share_the_time_of_the_call() -> None:
    first, second = FakeModel(failing(LlmUnavailable("down"), "x", piece_seconds=20)), other()
    await ask(FallbackLlm(first, second), seconds=60)
    assert [model.questions[0].timeout_seconds for model in (first, second)] == [60, 40]


@in_virtual_time
async def test_a_model_that_hangs_leaves_time_for_the_next_when_it_is_given_less() -> None:
    first, second = FakeModel(Turn(piece_seconds=1_000)), other(Turn(piece_seconds=30))
    response = await ask(FallbackLlm(first, second, attempt_seconds=10), seconds=60)
    assert (response.provider, now()) == ("other", 40)


@in_virtual_time
async def test_a_model_may_stand_first_and_last_with_less_time_at_first() -> None:
    one = FakeModel(Turn(piece_seconds=1_000), Turn(piece_seconds=30))
    await ask(FallbackLlm(one, other(failing(LlmUnavailable("down"))), one, attempt_seconds=10), seconds=60)
    assert [question.timeout_seconds for question in one.questions] == [10, 50]


@in_virtual_time
async def test_nobody_is_asked_when_the_time_is_up() -> None:
    first, second = FakeModel(Turn(piece_seconds=1_000)), other()
    with pytest.raises(LlmTimeout):
        await ask(FallbackLlm(first, second), seconds=60)
    assert (second.questions, now()) == ([], 60)


@in_virtual_time
async def test_a_failure_before_the_first_word_is_not_seen_by_the_reader() -> None:
    told: list[str] = []
    llm = FallbackLlm(FakeModel(failing(RateLimited("busy"))), FakeModel(Turn(("There ", "was"))))
    await stream(llm, told)
    assert told == ["There ", "was"]


@in_virtual_time
async def test_after_a_failure_in_the_middle_the_reader_is_told_nothing_twice() -> None:
    told: list[str] = []
    llm = FallbackLlm(FakeModel(failing(LlmUnavailable("cut"), "Once ")), FakeModel(Turn(("There ", "was"))))
    response = await stream(llm, told)
    assert (told, response.message.text) == (["Once "], "There was")


@pytest.mark.parametrize("tools", [True, False])
def test_it_has_native_tools_only_if_all_have_them(tools: bool) -> None:
    assert FallbackLlm(FakeModel(), FakeModel(native_tools=tools)).native_tools is tools


@in_virtual_time
async def test_a_schema_goes_only_to_those_that_take_one() -> None:
    first, second = FakeModel(failing(LlmUnavailable("down"))), FakeModel(native_output=False)
    llm = FallbackLlm(first, second)
    await llm.complete([UserMessage("Hi")], output_schema={"type": "object"}, timeout_seconds=9)
    assert llm.native_output
    assert [model.questions[0].output_schema for model in (first, second)] == [{"type": "object"}, None]


async def test_a_model_that_stands_in_two_places_is_closed_once() -> None:
    one, another = FakeModel(), FakeModel()
    await FallbackLlm(one, another, one).aclose()
    assert (one.closed, another.closed) == (1, 1)


@in_virtual_time
async def test_a_cancelled_call_asks_no_other_model() -> None:
    first, second = FakeModel(Turn(piece_seconds=1_000)), FakeModel()
    call = asyncio.create_task(ask(FallbackLlm(first, second)))
    await asyncio.sleep(1)
    call.cancel()
    await asyncio.wait({call})
    assert (call.cancelled(), first.in_flight, second.questions) == (True, 0, [])


@pytest.mark.parametrize("next_vendor", VENDORS, ids=str)
async def test_what_one_vendor_wants_back_is_not_sent_to_another(
    vendor: Vendor, next_vendor: Vendor, server: VendorServer
) -> None:
    """Through the real SDKs: the first vendor signs its answer, and is down when the conversation goes on."""
    server.then(Say("One.", signed=True), Fail(Fault.unavailable), Say("Two."))
    async with aclosing(vendor.client(server)) as first, aclosing(next_vendor.client(server)) as second:
        said = (await ask(first)).message
        conversation: list[Message] = [UserMessage("Count."), said, UserMessage("Go on.")]

        response = await FallbackLlm(first, second).complete(conversation, timeout_seconds=20)

    assert response.message.text == "Two."
    own, foreign = (json.dumps(request.body) for request in list(server.requests)[1:])
    assert any(seal in own for seal in SEALS), "the first one's own is given back to it"
    assert vendor is next_vendor or not any(seal in foreign for seal in SEALS)
