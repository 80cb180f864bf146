"""What a provider says, in the headers of its replies, that it will still take."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

#: `6m0s`, `1s`, `20ms`, `1h2m3.5s`, `1d`.
_DURATION = re.compile(
    r"(?:(?P<d>\d+)d)?(?:(?P<h>\d+)h)?(?:(?P<m>\d+)m(?!s))?(?:(?P<s>\d+(?:\.\d+)?)s)?(?:(?P<ms>\d+(?:\.\d+)?)ms)?"
)
_SECONDS = {"d": 86_400.0, "h": 3_600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
#: A number this large is no duration but a moment: seconds since 1970, or milliseconds from `_MILLISECONDS` on.
_MOMENT = 1e9
_MILLISECONDS = 1e11


@dataclass(frozen=True, slots=True)
class Quota:
    """One limit of a provider; None for what it does not say."""

    limit: int | None = None
    remaining: int | None = None
    #: When all of the limit is there again.
    resets_in_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class RateAllowance:
    """The limits that a provider's reply tells of."""

    requests: Quota | None = None
    tokens: Quota | None = None


def allowance_from_headers(
    headers: Mapping[str, str], *, provider: str, now: datetime | None = None
) -> RateAllowance | None:
    """What the headers say of the provider's limits; None when they say nothing.

    A header that cannot be read is as good as none. Of Anthropic's limits on tokens, the one for both kinds is the one
    that binds; without it the closer one of input and output is taken.

    Args:
        provider: As in `LlmResponse.provider`. `anthropic` has headers of its own; whoever else sends any, sends those
            of OpenAI (for requests and for tokens) or OpenRouter's (for requests only).
        now: Moments are counted from it; None is the present.
    """
    said = {name.lower(): value.strip() for name, value in headers.items()}
    now = now or datetime.now(UTC)
    if provider == "anthropic":
        requests = _quota(said, "anthropic-ratelimit-requests-{}", now)
        tokens = _quota(said, "anthropic-ratelimit-tokens-{}", now) or _closer(
            _quota(said, "anthropic-ratelimit-input-tokens-{}", now),
            _quota(said, "anthropic-ratelimit-output-tokens-{}", now),
        )
    else:
        requests = _quota(said, "x-ratelimit-{}-requests", now) or _quota(said, "x-ratelimit-{}", now)
        tokens = _quota(said, "x-ratelimit-{}-tokens", now)
    return RateAllowance(requests, tokens) if requests or tokens else None


def _quota(said: Mapping[str, str], name: str, now: datetime) -> Quota | None:
    quota = Quota(
        _count(said.get(name.format("limit"), "")),
        _count(said.get(name.format("remaining"), "")),
        _seconds_until(said.get(name.format("reset"), ""), now),
    )
    return None if quota.limit is None and quota.remaining is None else quota


def _closer(one: Quota | None, other: Quota | None) -> Quota | None:
    known = [quota for quota in (one, other) if quota is not None]
    return min(known, key=lambda quota: math.inf if quota.remaining is None else quota.remaining, default=None)


def _count(text: str) -> int | None:
    """Not negative: OpenRouter says -1 for no limit."""
    number = _number(text)
    return None if number is None or number < 0 else int(number)


def _seconds_until(text: str, now: datetime) -> float | None:
    number = _number(text)
    if number is not None:
        if number >= _MOMENT:
            number = number / (1000 if number >= _MILLISECONDS else 1) - now.timestamp()
        return max(number, 0.0)
    found = _DURATION.fullmatch(text)
    if text and found:
        return sum(float(amount) * _SECONDS[unit] for unit, amount in found.groupdict(default="0").items())
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return max((moment.replace(tzinfo=moment.tzinfo or UTC) - now).total_seconds(), 0.0)


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None
