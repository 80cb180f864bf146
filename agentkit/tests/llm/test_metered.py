"""What is counted of a model's answers, and what they cost."""

from __future__ import annotations

import subprocess
import sys
from decimal import Decimal

import pytest

from agentkit.errors import LlmUnavailable
from agentkit.llm.base import LlmResponse, StopReason, Usage
from agentkit.llm.cached import CachedLlm
from agentkit.llm.fallback import FallbackLlm
from agentkit.llm.metered import Metered, MeteredLlm, MeterTotal, list_prices
from agentkit.tests.llm.fake_model import FakeModel, Turn, ask, failing, stream
from agentkit.transcript import AssistantMessage


def a_cent(_: LlmResponse) -> Decimal:
    return Decimal("0.01")


async def test_each_answer_is_told_with_who_gave_it() -> None:
    told: list[Metered] = []
    await ask(MeteredLlm(FakeModel(), told.append, price_of=a_cent))
    assert told == [Metered("fake", "fake-1", Usage(10, 5), Decimal("0.01"))]


async def test_streamed_answers_are_counted_alike() -> None:
    llm = MeteredLlm(FakeModel(), price_of=a_cent)
    await stream(llm, [])
    assert llm.totals == {("fake", "fake-1"): MeterTotal(1, Usage(10, 5), Decimal("0.01"))}


async def test_totals_are_kept_by_the_model_that_answered() -> None:
    first, second = FakeModel(Turn(), failing(LlmUnavailable("down"))), FakeModel(provider="other")
    llm = MeteredLlm(FallbackLlm(first, second), price_of=a_cent)
    for _ in range(3):
        await ask(llm)
    assert {name: total.calls for name, total in llm.totals.items()} == {("fake", "fake-1"): 1, ("other", "fake-1"): 2}
    assert llm.totals["other", "fake-1"].usage == Usage(20, 10)


async def test_a_failed_call_is_not_counted() -> None:
    llm = MeteredLlm(FakeModel(failing(LlmUnavailable("down"))), price_of=a_cent)
    with pytest.raises(LlmUnavailable):
        await ask(llm)
    assert llm.totals == {}


async def test_an_answer_from_a_cache_costs_nothing() -> None:
    told: list[Metered] = []
    llm = MeteredLlm(CachedLlm(FakeModel()), told.append, price_of=a_cent)
    await ask(llm)
    await ask(llm)
    assert told[1] == Metered("fake", "fake-1", Usage(), Decimal(0), from_cache=True)
    assert llm.totals["fake", "fake-1"].price_usd == Decimal("0.01")


async def test_calls_without_a_price_are_counted_apart() -> None:
    llm = MeteredLlm(FakeModel(), price_of=lambda _: None)
    await ask(llm)
    assert llm.totals["fake", "fake-1"] == MeterTotal(1, Usage(10, 5), Decimal(0), calls_without_price=1)


def test_totals_cannot_be_changed_from_outside() -> None:
    with pytest.raises(TypeError):
        MeteredLlm(FakeModel(), price_of=a_cent).totals["a", "b"] = MeterTotal()  # type: ignore[index]  # that is it


def response_of(provider: str, model: str, usage: Usage) -> LlmResponse:
    return LlmResponse(AssistantMessage("Hello"), StopReason.end, usage, provider, model)


@pytest.mark.parametrize(
    ("provider", "model"),
    [
        ("openai", "gpt-4o"),
        ("openai", "gpt-4o-2024-08-06"),
        ("anthropic", "claude-sonnet-4-5-20250929"),
        ("gcp.gemini", "gemini-2.5-flash"),
        ("openrouter", "anthropic/claude-sonnet-4.5"),
    ],
)
def test_list_prices_know_the_models_of_our_providers(provider: str, model: str) -> None:
    price_of = list_prices()
    cheap, dear = (price_of(response_of(provider, model, Usage(tokens, 10))) for tokens in (1_000, 2_000))
    assert isinstance(cheap, Decimal)
    assert isinstance(dear, Decimal)
    assert 0 < cheap < dear < 1


def test_cached_input_is_cheaper() -> None:
    price_of = list_prices()
    full, cached = (price_of(response_of("openai", "gpt-4o", Usage(1_000, 0, read))) for read in (0, 1_000))
    assert full is not None
    assert cached is not None
    assert 0 < cached < full


@pytest.mark.parametrize(
    ("provider", "model", "usage"),
    [
        ("openai", "no-such-model", Usage(10, 5)),
        ("demo", "demo", Usage(10, 5)),
        ("ollama", "gpt-4o", Usage(10, 5)),
        ("vllm", "gpt-4o", Usage(10, 5)),
        ("lmstudio", "gpt-4o", Usage(10, 5)),
        ("openai-compatible", "gpt-4o", Usage(10, 5)),
        ("openai", "", Usage(10, 5)),
        ("openai", "gpt-4o", Usage(10, 5, cached_input_tokens=20)),
        ("openai", "gpt-4o", Usage(-10, 5)),
    ],
)
def test_what_has_no_list_price_has_none(provider: str, model: str, usage: Usage) -> None:
    assert list_prices()(response_of(provider, model, usage)) is None


def test_without_the_package_it_is_said_what_to_install() -> None:
    script = """
import sys
sys.modules["genai_prices"] = None
from agentkit.errors import ConfigurationError
from agentkit.llm.demo import DemoLlm
from agentkit.llm.metered import MeteredLlm
MeteredLlm(DemoLlm(), price_of=lambda _: None)
try:
    MeteredLlm(DemoLlm())
except ConfigurationError as error:
    print(error)
"""
    said = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True).stdout
    assert "pip install 'opspawn[prices]'" in said


def test_importing_the_meter_does_not_import_the_price_table() -> None:
    script = "import sys, agentkit.llm.metered; print('genai_prices' in sys.modules, 'httpx2' in sys.modules)"
    said = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True).stdout
    assert said == "False False\n"
