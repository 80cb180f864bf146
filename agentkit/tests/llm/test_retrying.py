"""When a model is asked again, and how long that takes at most."""

from __future__ import annotations

import asyncio

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
from agentkit.llm.retrying import Backoff, RetryingLlm
from agentkit.tests.llm.fake_model import FakeModel, Turn, ask, failing, stream
from agentkit.tests.llm.virtual_time import in_virtual_time, now, outcome, settled


def retrying(model: FakeModel, backoff: Backoff | None = None, jitter: float = 1.0) -> RetryingLlm:
    return RetryingLlm(model, backoff, jitter=lambda: jitter)


@pytest.mark.parametrize("error", [RateLimited, LlmUnavailable, LlmTimeout, MalformedReply])
@in_virtual_time
async def test_an_error_that_may_pass_is_tried_again(error: type[LlmError]) -> None:
    model = FakeModel(failing(error("no")), Turn())
    assert (await ask(retrying(model))).message.text == "Hello"


@pytest.mark.parametrize("error", [LlmError, BadCredentials, ContextTooLong, Refused, LlmRequestInvalid])
@in_virtual_time
async def test_an_error_that_will_not_pass_is_raised_at_once(error: type[LlmError]) -> None:
    model = FakeModel(failing(error("no")), Turn())
    with pytest.raises(error):
        await ask(retrying(model))
    assert len(model.questions) == 1


@in_virtual_time
async def test_a_model_of_no_use_is_asked_so_often_and_no_more() -> None:
    model = FakeModel(failing(LlmUnavailable("down")))
    with pytest.raises(LlmUnavailable, match="down") as caught:
        await ask(retrying(model, Backoff(attempts=3)))
    assert len(model.questions) == 3
    assert caught.value.__notes__ == ["after 3 attempts in 1.5 s"]


@in_virtual_time
async def test_pauses_grow_up_to_the_longest() -> None:
    model = FakeModel(failing(LlmUnavailable("down")))
    backoff = Backoff(attempts=6, first_pause_seconds=1, longest_pause_seconds=5)
    await outcome(ask(retrying(model, backoff)))
    assert model.asked_at == [0, 1, 3, 7, 12, 17]


@pytest.mark.parametrize("attempt", [1, 64, 1_000_000])
def test_no_attempt_is_too_late_for_a_pause(attempt: int) -> None:
    assert Backoff(longest_pause_seconds=5).longest_pause_after(attempt) <= 5


@in_virtual_time
async def test_pauses_are_drawn_from_all_of_their_length() -> None:
    model = FakeModel(failing(LlmUnavailable("down")))
    backoff = Backoff(attempts=3, first_pause_seconds=1)
    await outcome(ask(retrying(model, backoff, jitter=0.25)))
    assert model.asked_at == [0, 0.25, 0.75]


@in_virtual_time
async def test_many_that_failed_together_do_not_come_back_together() -> None:
    model = FakeModel(failing(RateLimited("busy")))
    backoff = Backoff(attempts=2, first_pause_seconds=10)
    llm = RetryingLlm(model, backoff)
    await asyncio.gather(*(outcome(ask(llm)) for _ in range(100)))
    again = sorted(model.asked_at)[100:]
    assert len({round(at, 2) for at in again}) > 80


@in_virtual_time
async def test_the_time_a_provider_asks_for_is_waited_and_the_pause_comes_on_top() -> None:
    model = FakeModel(failing(RateLimited("busy", retry_after_seconds=7)), Turn())
    await ask(retrying(model, Backoff(first_pause_seconds=2)))
    assert model.asked_at == [0, 9]


@in_virtual_time
async def test_a_wait_that_ends_after_the_deadline_is_not_begun() -> None:
    model = FakeModel(failing(RateLimited("busy", retry_after_seconds=61)), Turn())
    with pytest.raises(RateLimited) as caught:
        await ask(retrying(model), seconds=60)
    assert (now(), caught.value.retry_after_seconds) == (0, 61)


@in_virtual_time
async def test_each_attempt_is_given_what_is_left_of_the_time() -> None:
    model = FakeModel(failing(LlmUnavailable("down"), "x", piece_seconds=10))
    backoff = Backoff(attempts=9, first_pause_seconds=5, longest_pause_seconds=5)
    await outcome(ask(retrying(model, backoff), seconds=40))
    assert [question.timeout_seconds for question in model.questions] == [40, 25, 10]
    assert now() == 40


@in_virtual_time
async def test_all_attempts_together_may_be_given_less_than_the_call() -> None:
    model = FakeModel(failing(LlmUnavailable("down")))
    backoff = Backoff(attempts=99, first_pause_seconds=1, longest_pause_seconds=1, total_seconds=5)
    await outcome(ask(retrying(model, backoff), seconds=600))
    assert now() < 5


@in_virtual_time
async def test_an_attempt_that_hangs_can_be_cut_short_and_tried_again() -> None:
    model = FakeModel(Turn(piece_seconds=1_000), Turn())
    response = await ask(retrying(model, Backoff(attempt_seconds=8)), seconds=60)
    assert response.message.text == "Hello"
    assert model.asked_at == [0, 8.5]


@in_virtual_time
async def test_what_was_said_before_the_error_is_not_told_again() -> None:
    told: list[str] = []
    model = FakeModel(failing(LlmUnavailable("cut"), "Once ", "upon"), Turn(("Once", " upon a", " time")))
    response = await stream(retrying(model), told)
    assert (told, response.message.text) == (["Once ", "upon", " a", " time"], "Once upon a time")


@in_virtual_time
async def test_an_answer_that_begins_otherwise_is_returned_and_not_told() -> None:
    told: list[str] = []
    model = FakeModel(failing(LlmUnavailable("cut"), "Once "), Turn(("There ", "was")))
    response = await stream(retrying(model), told)
    assert (told, response.message.text) == (["Once "], "There was")


@in_virtual_time
async def test_a_cancelled_call_is_not_tried_again() -> None:
    model = FakeModel(failing(LlmUnavailable("down")))
    call = asyncio.create_task(ask(retrying(model)))
    await settled()
    call.cancel()
    await asyncio.wait({call})
    await asyncio.sleep(100)
    assert (call.cancelled(), len(model.questions)) == (True, 1)


@in_virtual_time
async def test_an_error_of_the_reader_is_not_the_models() -> None:
    def on_text(_: str) -> None:
        raise ZeroDivisionError

    model = FakeModel()
    with pytest.raises(ZeroDivisionError):
        await retrying(model).stream([], timeout_seconds=1, on_text=on_text)
    assert len(model.questions) == 1


@pytest.mark.parametrize(
    "options",
    [{"attempts": 0}, {"first_pause_seconds": -1.0}, {"attempt_seconds": 0.0}, {"total_seconds": -1.0}],
)
def test_limits_that_cannot_be_are_refused(options: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="must"):
        Backoff(**options)  # type: ignore[arg-type]  # the table mixes counts and seconds
