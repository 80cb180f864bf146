"""The generic cell rate algorithm."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ops_core.domain.rate import Rate

NOW = datetime(2026, 11, 21, 10, tzinfo=UTC)


def starts(rate: Rate, *, seconds: float, step_seconds: float) -> list[float]:
    """When tasks start that are always there, looked at every so often."""
    theoretical, found, at = NOW, [], 0.0
    while at < seconds:
        now = NOW + timedelta(seconds=at)
        while rate.allows(theoretical, now):
            theoretical = rate.after_start(theoretical, now)
            found.append(at)
        at += step_seconds
    return found


@pytest.mark.parametrize(
    ("limit", "per_seconds"), [(1, 1.0), (3, 1.0), (3, 2.0), (7, 60.0), (100_000, 1.0), (10, 0.001)]
)
def test_after_a_pause_exactly_the_limit_may_start_at_once(limit: int, per_seconds: float) -> None:
    rate, theoretical, count = Rate(limit, per_seconds), NOW, 0
    assert rate.allowed(theoretical, NOW) == limit
    while rate.allows(theoretical, NOW):
        theoretical, count = rate.after_start(theoretical, NOW), count + 1
    assert count == limit


def test_after_the_burst_they_start_evenly() -> None:
    assert starts(Rate(4, 8.0), seconds=8, step_seconds=1.0) == [0, 0, 0, 0, 2, 4, 6]


@given(st.integers(1, 20), st.floats(0.5, 50), st.floats(0.01, 1.0))
def test_a_span_never_has_more_than_its_share_and_one_burst(limit: int, per_seconds: float, step: float) -> None:
    found = starts(Rate(limit, per_seconds), seconds=min(3 * per_seconds, 60), step_seconds=step)
    for n, begin in enumerate(found):
        within = [at for at in found[n:] if at - begin < per_seconds - 0.001]
        assert len(within) < 2 * limit


@given(st.integers(1, 50), st.floats(0.1, 100), st.floats(-100, 100))
def test_what_is_allowed_now_is_what_may_start_one_after_the_other(limit: int, per: float, ahead: float) -> None:
    rate, theoretical, count = Rate(limit, per), NOW + timedelta(seconds=ahead), 0
    allowed = rate.allowed(theoretical, NOW)
    while rate.allows(theoretical, NOW):
        theoretical, count = rate.after_start(theoretical, NOW), count + 1
    assert count == allowed


def test_the_earliest_start_is_the_first_that_is_allowed() -> None:
    rate, theoretical = Rate(3, 9.0), NOW + timedelta(seconds=9)
    earliest = rate.earliest(theoretical)
    assert rate.allows(theoretical, earliest)
    assert not rate.allows(theoretical, earliest - timedelta(microseconds=1))
