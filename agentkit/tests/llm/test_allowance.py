"""What the headers of a reply say of a provider's limits."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

import pytest

from agentkit.llm.allowance import Quota, RateAllowance, allowance_from_headers

NOW = datetime(2026, 11, 22, 12, 0, 0, tzinfo=UTC)
OPENAI = {
    "x-ratelimit-limit-requests": "5000",
    "x-ratelimit-limit-tokens": "160000",
    "x-ratelimit-remaining-requests": "4999",
    "x-ratelimit-remaining-tokens": "159976",
    "x-ratelimit-reset-requests": "12ms",
    "x-ratelimit-reset-tokens": "6m0s",
}
ANTHROPIC = {
    "anthropic-ratelimit-requests-limit": "1000",
    "anthropic-ratelimit-requests-remaining": "999",
    "anthropic-ratelimit-requests-reset": "2026-11-22T12:00:02Z",
    "anthropic-ratelimit-input-tokens-limit": "80000",
    "anthropic-ratelimit-input-tokens-remaining": "79000",
    "anthropic-ratelimit-input-tokens-reset": "2026-11-22T12:00:01Z",
    "anthropic-ratelimit-output-tokens-limit": "16000",
    "anthropic-ratelimit-output-tokens-remaining": "15000",
    "anthropic-ratelimit-output-tokens-reset": "2026-11-22T12:00:04Z",
}
BOTH_KINDS = {
    "anthropic-ratelimit-tokens-limit": "96000",
    "anthropic-ratelimit-tokens-remaining": "94000",
    "anthropic-ratelimit-tokens-reset": "2026-11-22T12:00:03Z",
}
#: Moments in milliseconds since 1970.
OPENROUTER = {
    "X-RateLimit-Limit": "20",
    "X-RateLimit-Remaining": "0",
    "X-RateLimit-Reset": str(int(NOW.timestamp() * 1000) + 42_500),
}


def said(headers: Mapping[str, str], provider: str = "openai") -> RateAllowance | None:
    return allowance_from_headers(headers, provider=provider, now=NOW)


def test_openais_headers() -> None:
    assert said(OPENAI) == RateAllowance(Quota(5000, 4999, 0.012), Quota(160_000, 159_976, 360))


def test_anthropics_headers() -> None:
    assert said(ANTHROPIC | BOTH_KINDS, "anthropic") == RateAllowance(Quota(1000, 999, 2), Quota(96_000, 94_000, 3))


def test_of_anthropics_two_kinds_of_tokens_the_closer_limit_counts() -> None:
    allowance = said(ANTHROPIC, "anthropic")
    assert allowance is not None
    assert allowance.tokens == Quota(16_000, 15_000, 4)


def test_openrouters_headers() -> None:
    assert said(OPENROUTER, "openrouter") == RateAllowance(Quota(20, 0, 42.5), None)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("6m0s", 360),
        ("1s", 1),
        ("20ms", 0.02),
        ("0s", 0),
        ("7.66s", 7.66),
        ("2m59.56s", 179.56),
        ("1h2m3s", 3723),
        ("1d", 86_400),
        ("1m20ms", 60.02),
        ("34", 34),
        ("1.5", 1.5),
        (str(int(NOW.timestamp()) + 9), 9),
        ("2026-11-22T12:00:30Z", 30),
        ("2026-11-22T13:00:30+01:00", 30),
        ("2026-11-22T12:00:30", 30),
        ("2026-11-22T11:59:00Z", 0),
        ("", None),
        ("soon", None),
        ("nan", None),
        ("inf", None),
        ("-5", 0),
    ],
)
def test_when_a_limit_is_whole_again(text: str, seconds: float | None) -> None:
    allowance = said(OPENAI | {"x-ratelimit-reset-requests": text})
    assert allowance is not None
    assert allowance.requests is not None
    assert allowance.requests.resets_in_seconds == (None if seconds is None else pytest.approx(seconds))


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"content-type": "application/json"},
        {"x-ratelimit-reset-requests": "1s"},
        {"x-ratelimit-limit-requests": "many", "x-ratelimit-remaining-requests": "inf"},
        {"x-ratelimit-limit": "-1", "x-ratelimit-remaining": "-1"},
    ],
)
def test_headers_that_say_nothing_give_nothing(headers: Mapping[str, str]) -> None:
    assert said(headers) is None


def test_one_limit_may_be_told_without_the_other() -> None:
    assert said({"x-ratelimit-remaining-tokens": "7"}) == RateAllowance(None, Quota(None, 7, None))


def test_another_providers_headers_are_not_taken_for_anthropics() -> None:
    assert said(OPENAI, "anthropic") is None


def test_moments_are_counted_from_the_present_unless_told_otherwise() -> None:
    assert allowance_from_headers(OPENROUTER, provider="openrouter") is not None
