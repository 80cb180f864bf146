"""How many calls a model gets a minute, in which order, and what becomes of those who cannot wait."""

from __future__ import annotations

import asyncio

import pytest

from agentkit.errors import LlmUnavailable, RateLimited
from agentkit.llm.allowance import Quota, RateAllowance
from agentkit.llm.base import Usage
from agentkit.llm.rate_limited import RateLimitedLlm
from agentkit.llm.rate_limiter import RateLimiter
from agentkit.memory.token_estimate import message_tokens
from agentkit.tests.llm.fake_model import FakeModel, Turn, ask, failing, stream
from agentkit.tests.llm.virtual_time import in_virtual_time, now, outcome, settled, turns_of_the_loop
from agentkit.tools.base import ToolSpec
from agentkit.transcript import UserMessage


def limited(model: FakeModel, requests: int | None = None, tokens: int | None = None) -> RateLimitedLlm:
    return RateLimitedLlm(model, RateLimiter(requests_per_minute=requests, tokens_per_minute=tokens))


def exactly(tokens: int) -> str:
    """A question of so many tokens, by estimate."""
    text = "x" * 4 * (tokens - message_tokens(UserMessage("")))
    assert message_tokens(UserMessage(text)) == tokens
    return text


def using(tokens: int) -> Turn:
    return Turn(usage=Usage(tokens, 0))


async def admitted_at(limiter: RateLimiter, tokens: int = 0, *, within_seconds: float = 600) -> float:
    await limiter.admit(tokens, within_seconds=within_seconds)
    return now()


@in_virtual_time
async def test_a_stampede_is_let_through_at_the_limit_and_in_its_order() -> None:
    model = FakeModel()
    llm = limited(model, requests=60)
    await asyncio.gather(*(ask(llm, str(number), seconds=600) for number in range(300)))
    assert [question.messages[0] for question in model.questions] == [UserMessage(str(n)) for n in range(300)]
    assert model.asked_at == pytest.approx([0.0] * 60 + [float(second) for second in range(1, 241)])


@in_virtual_time
async def test_without_a_limiter_that_waits_the_stampede_goes_through_at_once() -> None:
    model = FakeModel()
    await asyncio.gather(*(ask(limited(model)) for _ in range(300)))
    assert set(model.asked_at) == {0.0}


@in_virtual_time
async def test_tokens_are_limited_too() -> None:
    model = FakeModel(using(100))
    llm = limited(model, tokens=600)
    await asyncio.gather(*(ask(llm, exactly(100), seconds=600) for _ in range(9)))
    assert model.asked_at == pytest.approx([0] * 6 + [10, 20, 30])


@pytest.mark.parametrize(("tool_text", "schema_text"), [("d" * 4_000, ""), ("", "d" * 4_000)])
@in_virtual_time
async def test_tools_and_schemas_are_tokens_as_well(tool_text: str, schema_text: str) -> None:
    model, limiter = FakeModel(), RateLimiter(tokens_per_minute=60_000)
    await limiter.admit(60_000, within_seconds=1)
    tool, schema = ToolSpec("t", tool_text, {"type": "object"}), {"description": schema_text}
    llm = RateLimitedLlm(model, limiter)
    await llm.complete([UserMessage("")], tools=[tool], output_schema=schema, timeout_seconds=9)
    assert model.asked_at == [pytest.approx(1, rel=0.05)]


@in_virtual_time
async def test_what_was_used_beyond_the_estimate_is_owed() -> None:
    model = FakeModel(using(1_200), using(100))
    llm = limited(model, tokens=600)
    await ask(llm, exactly(100))
    await ask(llm, exactly(100), seconds=600)
    assert model.asked_at == pytest.approx([0, 70])


@in_virtual_time
async def test_what_was_estimated_too_much_is_given_back_to_those_who_wait() -> None:
    model = FakeModel(Turn(usage=Usage(), piece_seconds=5), using(0))
    llm = limited(model, tokens=600)
    first = asyncio.create_task(ask(llm, exactly(600)))
    await settled()
    await asyncio.gather(first, ask(llm, exactly(600)))
    assert model.asked_at == pytest.approx([0, 5])


@in_virtual_time
async def test_a_call_larger_than_a_minutes_tokens_waits_for_a_full_minute_and_leaves_a_debt() -> None:
    limiter = RateLimiter(tokens_per_minute=600)
    assert await admitted_at(limiter, 300) == 0
    assert await admitted_at(limiter, 1_200) == pytest.approx(30)
    assert await admitted_at(limiter, 60) == pytest.approx(30 + 66)


@in_virtual_time
async def test_a_small_call_does_not_overtake_a_large_one() -> None:
    limiter = RateLimiter(tokens_per_minute=600)
    await limiter.admit(600, within_seconds=1)
    large, small = asyncio.create_task(admitted_at(limiter, 600)), asyncio.create_task(admitted_at(limiter, 1))
    assert await asyncio.gather(small, large) == pytest.approx([60.1, 60])


@in_virtual_time
async def test_a_call_that_would_wait_too_long_is_refused_at_once_with_the_time_to_come_back() -> None:
    model = FakeModel()
    llm = limited(model, requests=2)
    await asyncio.gather(ask(llm), ask(llm))
    with pytest.raises(RateLimited, match=r"limit of 2 requests a minute .* about 30\.0 s, and it has 29 s") as caught:
        await ask(llm, seconds=29)
    assert now() == 0
    assert caught.value.retry_after_seconds == pytest.approx(30)


@in_virtual_time
async def test_those_who_wait_already_count_for_one_who_comes() -> None:
    limiter = RateLimiter(requests_per_minute=2)
    early = [asyncio.create_task(admitted_at(limiter)) for _ in range(4)]
    await settled()
    with pytest.raises(RateLimited):
        await limiter.admit(0, within_seconds=80)
    assert await admitted_at(limiter, within_seconds=91) == pytest.approx(90)
    assert await asyncio.gather(*early) == pytest.approx([0, 0, 30, 60])


@in_virtual_time
async def test_a_wait_that_grows_ends_with_the_time_of_the_call() -> None:
    limiter = RateLimiter(requests_per_minute=1)
    await limiter.admit(0, within_seconds=1)
    waiting = asyncio.create_task(admitted_at(limiter, within_seconds=70))
    await settled()
    limiter.pause(600)
    assert isinstance(await outcome(waiting), RateLimited)
    assert now() == 70


@in_virtual_time
async def test_the_wait_is_taken_from_the_time_of_the_call() -> None:
    model = FakeModel()
    llm = limited(model, requests=1)
    await ask(llm)
    await ask(llm, seconds=100)
    assert [question.timeout_seconds for question in model.questions] == pytest.approx([60, 40])


@in_virtual_time
async def test_one_who_is_cancelled_gives_the_place_free() -> None:
    limiter = RateLimiter(requests_per_minute=1)
    await limiter.admit(0, within_seconds=1)
    waiting = [asyncio.create_task(admitted_at(limiter)) for _ in range(3)]
    await settled()
    waiting[0].cancel()
    waiting[1].cancel()
    assert await waiting[2] == pytest.approx(60)


@in_virtual_time
async def test_one_who_is_cancelled_in_the_moment_of_admission_gives_the_place_back() -> None:
    limiter = RateLimiter(requests_per_minute=1)
    await limiter.admit(0, within_seconds=1)
    unlucky = asyncio.create_task(admitted_at(limiter))
    await settled()
    asyncio.get_running_loop().call_at(60, lambda: asyncio.get_running_loop().call_soon(unlucky.cancel))
    next_one = asyncio.create_task(admitted_at(limiter))
    await asyncio.wait({unlucky})
    assert unlucky.cancelled()
    assert await next_one == pytest.approx(60)


@in_virtual_time
async def test_a_call_that_is_cancelled_on_its_way_stays_counted() -> None:
    model = FakeModel(Turn(piece_seconds=1_000), Turn())
    llm = limited(model, requests=1)
    call = asyncio.create_task(ask(llm))
    await settled()
    call.cancel()
    await ask(llm, seconds=100)
    assert model.asked_at == pytest.approx([0, 60])


@in_virtual_time
async def test_unused_time_is_not_saved_up_beyond_a_minute() -> None:
    limiter = RateLimiter(requests_per_minute=2)
    await asyncio.sleep(3_600)
    times = [await admitted_at(limiter) - 3_600 for _ in range(3)]
    assert times == pytest.approx([0, 0, 30])


@in_virtual_time
async def test_models_of_one_account_share_a_limiter() -> None:
    limiter, one, other = RateLimiter(requests_per_minute=1), FakeModel(), FakeModel()
    await ask(RateLimitedLlm(one, limiter))
    await ask(RateLimitedLlm(other, limiter), seconds=100)
    assert one.asked_at + other.asked_at == pytest.approx([0, 60])


@in_virtual_time
async def test_limits_are_learned_from_the_first_answer() -> None:
    model = FakeModel(Turn(allowance=RateAllowance(requests=Quota(60, 1, 59))), Turn())
    llm = limited(model)
    for _ in range(4):
        await ask(llm)
    assert model.asked_at == pytest.approx([0, 0, 1, 2])


@in_virtual_time
async def test_what_others_used_of_the_account_makes_the_limit_stricter() -> None:
    model = FakeModel(Turn(allowance=RateAllowance(requests=Quota(60, 1, 59))), Turn())
    llm = limited(model, requests=60)
    for _ in range(4):
        await ask(llm)
    assert model.asked_at == pytest.approx([0, 0, 1, 2])


@in_virtual_time
async def test_a_provider_that_allows_more_does_not_widen_the_limit_that_was_given() -> None:
    model = FakeModel(Turn(allowance=RateAllowance(Quota(6_000, 5_999, 1), Quota(10**9, 10**9, 0))))
    llm = limited(model, requests=2)
    for _ in range(3):
        await ask(llm)
    assert model.asked_at == pytest.approx([0, 0, 30])


@in_virtual_time
async def test_a_provider_that_allows_less_narrows_it() -> None:
    limiter = RateLimiter(requests_per_minute=600)
    limiter.learn(RateAllowance(requests=Quota(6, 6, 0)))
    assert [await admitted_at(limiter) for _ in range(8)] == pytest.approx([0] * 6 + [10, 20])


@in_virtual_time
async def test_when_nothing_remains_nobody_goes_before_the_reset() -> None:
    limiter = RateLimiter(requests_per_minute=600)
    limiter.learn(RateAllowance(requests=Quota(None, 0, 42)))
    assert await admitted_at(limiter) == pytest.approx(42)


@in_virtual_time
async def test_a_reset_that_is_far_away_is_tried_after_a_minute() -> None:
    limiter = RateLimiter()
    limiter.learn(RateAllowance(tokens=Quota(200, 0, 86_400)))
    assert await admitted_at(limiter) == pytest.approx(60)


@in_virtual_time
async def test_a_refusal_holds_everybody_back_for_the_time_the_provider_asks_for() -> None:
    model = FakeModel(failing(RateLimited("slow down", retry_after_seconds=20)), Turn())
    llm = limited(model, requests=600)
    refused, _ = await asyncio.gather(ask(llm), ask(llm), return_exceptions=True)
    assert isinstance(refused, RateLimited)
    assert model.asked_at == [0, 0]
    await asyncio.gather(*(ask(llm) for _ in range(5)))
    assert model.asked_at[2:] == pytest.approx([20] * 5)


@in_virtual_time
async def test_one_who_cannot_wait_so_long_is_told_of_the_providers_pause() -> None:
    llm = RateLimitedLlm(FakeModel(failing(RateLimited("slow down", retry_after_seconds=20))))
    await outcome(ask(llm))
    with pytest.raises(RateLimited, match=r"the pause the provider asked for lets this call go in about 20\.0 s"):
        await ask(llm, seconds=10)


@in_virtual_time
async def test_other_errors_hold_nobody_back() -> None:
    model = FakeModel(failing(LlmUnavailable("down", retry_after_seconds=20)), Turn())
    llm = limited(model)
    assert isinstance(await outcome(ask(llm)), LlmUnavailable)
    await ask(llm)
    assert model.asked_at == [0, 0]


@in_virtual_time
async def test_a_streamed_answer_is_limited_alike() -> None:
    told: list[str] = []
    model = FakeModel()
    llm = limited(model, requests=1)
    await stream(llm, told)
    await stream(llm, told, seconds=100)
    assert model.asked_at == pytest.approx([0, 60])
    assert told == ["Hello", "Hello"]


@in_virtual_time
async def test_nobody_polls() -> None:
    limiter = RateLimiter(requests_per_minute=1)
    await asyncio.gather(*(admitted_at(limiter, within_seconds=10_000) for _ in range(100)))
    assert now() == pytest.approx(99 * 60)
    assert turns_of_the_loop() < 100 * 6


@pytest.mark.parametrize("limits", [{"requests_per_minute": 0}, {"tokens_per_minute": -1}])
def test_a_limit_of_nothing_is_refused(limits: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="greater than 0"):
        RateLimiter(**limits)
