"""What holds of every wrapper around a model, and of all of them at once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from agentkit.errors import LlmUnavailable, RateLimited
from agentkit.llm.allowance import Quota, RateAllowance
from agentkit.llm.base import BaseLlmClient
from agentkit.llm.cached import CachedLlm
from agentkit.llm.fallback import FallbackLlm
from agentkit.llm.metered import MeteredLlm
from agentkit.llm.payload import response_to_json
from agentkit.llm.rate_limited import RateLimitedLlm
from agentkit.llm.rate_limiter import RateLimiter
from agentkit.llm.recorded import RecordingLlm, ReplayingLlm
from agentkit.llm.retrying import Backoff, RetryingLlm
from agentkit.llm.wrapper import LlmWrapper
from agentkit.tests.llm.fake_model import FakeModel, Turn, ask, failing, stream
from agentkit.tools.base import ToolSpec
from agentkit.transcript import UserMessage

Wrap = Callable[[BaseLlmClient, Path], BaseLlmClient]

WRAPPERS: dict[str, Wrap] = {
    "plain": lambda llm, path: LlmWrapper(llm),
    "retrying": lambda llm, path: RetryingLlm(llm),
    "fallback": lambda llm, path: FallbackLlm(llm),
    "rate_limited": lambda llm, path: RateLimitedLlm(llm),
    "cached": lambda llm, path: CachedLlm(llm),
    "recording": lambda llm, path: RecordingLlm(llm, path / "calls.jsonl"),
    "metered": lambda llm, path: MeteredLlm(llm, price_of=lambda _: None),
}


@pytest.fixture(params=WRAPPERS)
def wrap(request: pytest.FixtureRequest) -> Wrap:
    return WRAPPERS[request.param]


@pytest.mark.parametrize("native", [True, False])
def test_it_is_known_as_the_model_inside(wrap: Wrap, tmp_path: Path, native: bool) -> None:
    inner = FakeModel(provider="p", model="m", native_tools=native, native_output=native)
    llm = wrap(inner, tmp_path)
    assert (llm.provider, llm.model, llm.native_tools, llm.native_output) == ("p", "m", native, native)


async def test_the_answer_and_the_question_pass_through(wrap: Wrap, tmp_path: Path) -> None:
    inner = FakeModel(Turn(("Hel", "lo")))
    llm, schema = wrap(inner, tmp_path), {"type": "object"}

    response = await llm.complete(
        [UserMessage("Hi")],
        tools=[ToolSpec("a", "b", {"type": "object"})],
        output_schema=schema,
        timeout_seconds=9,
    )

    assert response.message.text == "Hello"
    [question] = inner.questions
    assert (question.messages, question.output_schema) == ((UserMessage("Hi"),), schema)
    assert 8 < question.timeout_seconds <= 9


async def test_a_streamed_answer_is_told_piece_by_piece(wrap: Wrap, tmp_path: Path) -> None:
    told: list[str] = []
    response = await stream(wrap(FakeModel(Turn(("Hel", "lo"))), tmp_path), told)
    assert (told, response.message.text) == (["Hel", "lo"], "Hello")


async def test_what_is_of_the_moment_is_told_and_not_journaled() -> None:
    allowance = RateAllowance(Quota(60, 59, 1))
    llm = CachedLlm(LlmWrapper(FakeModel(Turn(allowance=allowance))))
    first, again = await ask(llm), await ask(llm)
    assert (first.allowance, again.from_cache) == (allowance, True)
    assert response_to_json(first).keys() == response_to_json(again).keys()
    assert not {"allowance", "from_cache"} & response_to_json(first).keys()


async def test_closing_it_closes_the_model_inside(wrap: Wrap, tmp_path: Path) -> None:
    inner = FakeModel()
    await wrap(inner, tmp_path).aclose()
    assert inner.closed == 1


def test_it_shows_what_it_wraps(tmp_path: Path) -> None:
    llm = MeteredLlm(CachedLlm(LlmWrapper(FakeModel())), price_of=lambda _: None)
    assert repr(llm).startswith("MeteredLlm(CachedLlm(LlmWrapper(")


@pytest.mark.parametrize("whole", [True, False], ids=["whole", "streamed"])
async def test_all_of_them_work_in_one_stack(tmp_path: Path, whole: bool) -> None:
    first = FakeModel(failing(RateLimited("busy"), "On"), failing(LlmUnavailable("down"), "Once"))
    second = FakeModel(Turn(("On", "ce ", "upon")), provider="other", model="other-1")
    backoff, path = Backoff(attempts=2, first_pause_seconds=0), tmp_path / "calls.jsonl"
    limiter = RateLimiter(requests_per_minute=100, tokens_per_minute=100_000)
    inside = FallbackLlm(
        RetryingLlm(RateLimitedLlm(first, limiter), backoff), RetryingLlm(RateLimitedLlm(second, limiter), backoff)
    )
    llm = MeteredLlm(CachedLlm(RecordingLlm(inside, path)), price_of=lambda _: None)

    async def one_call(told: list[str]) -> str:
        return (await (ask(llm) if whole else stream(llm, told))).message.text

    readers: list[list[str]] = [[] for _ in range(20)]
    answers = await asyncio.gather(*(one_call(told) for told in readers))

    assert set(answers) == {"Once upon"}
    assert whole or {"".join(told) for told in readers} == {"Once upon"}
    assert (len(first.questions), len(second.questions)) == (2, 1)
    total = llm.totals["other", "other-1"]
    assert (total.calls, total.usage.total_tokens) == (20, 15)
    assert (await ask(ReplayingLlm(path))).message.text == "Once upon"
    await llm.aclose()
    assert (first.closed, second.closed) == (1, 1)
