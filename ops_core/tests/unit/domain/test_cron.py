"""Cron lines in time zones."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ops_core.domain.cron import CronLine
from ops_core.errors import InvalidInput

NOW = datetime(2026, 11, 21, 10, tzinfo=UTC)
BERLIN = "Europe/Berlin"


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def parse(cron: str, timezone: str = "UTC") -> CronLine:
    return CronLine.parse(cron, timezone, now=NOW)


def test_a_time_is_that_of_its_zone_in_summer_and_winter() -> None:
    line = parse("0 9 * * *", BERLIN)
    assert line.next_after(utc("2026-07-01T00:00")) == utc("2026-07-01T07:00")
    assert line.next_after(utc("2026-12-01T00:00")) == utc("2026-12-01T08:00")


def test_a_daily_time_in_the_hour_that_comes_twice_fires_once() -> None:
    line = parse("30 2 * * *", BERLIN)
    times = line.first_after(utc("2026-10-24T12:00"), count=2)
    assert times == [utc("2026-10-25T00:30"), utc("2026-10-26T01:30")]


def test_within_the_second_of_the_two_hours_it_does_not_fire_again() -> None:
    line = parse("30 2 * * *", BERLIN)
    assert line.next_after(utc("2026-10-25T01:10")) == utc("2026-10-26T01:30")


def test_a_daily_time_in_the_hour_that_is_left_out_fires_right_after_it() -> None:
    line = parse("30 2 * * *", BERLIN)
    times = line.first_after(utc("2027-03-27T12:00"), count=2)
    assert times == [utc("2027-03-28T01:00"), utc("2027-03-29T00:30")]


def test_a_line_of_every_half_hour_goes_by_the_clock_through_both_nights() -> None:
    line = parse("*/30 * * * *", BERLIN)
    for night in ("2026-10-25T00:00", "2027-03-28T00:00"):
        times = line.first_after(utc(night), count=8)
        assert times == [utc(night) + timedelta(minutes=30 * n) for n in range(1, 9)]


@pytest.mark.parametrize("cron", ["0 0 30 2 *", "0 0 31 4,6,9,11 *", "0 0 31 2 *"])
def test_a_line_that_never_fires_is_refused(cron: str) -> None:
    with pytest.raises(InvalidInput, match="never fires"):
        parse(cron)


@pytest.mark.parametrize(
    "cron",
    [
        *("", "* * * *", "* * * * * *", "60 * * * *", "* 24 * * *", "* * 0 * *", "* * * 13 *", "* * * * 8"),
        *("@daily", "a b c d e", "*/0 * * * *", "5-1 * * * *", "* * * * *" * 100),
    ],
)
def test_a_line_that_cannot_be_read_is_refused_and_pointed_at(cron: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        parse(cron)
    assert [problem.pointer for problem in refused.value.problems] == ["/cron"]


@pytest.mark.parametrize(
    "timezone", ["", "Mars/Olympus", "../etc/passwd", "/etc/localtime", "Europe", "localtime", "x" * 10_000]
)
def test_a_zone_that_does_not_exist_is_refused_and_pointed_at(timezone: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        parse("* * * * *", timezone)
    assert [problem.pointer for problem in refused.value.problems] == ["/timezone"]
    assert len(refused.value.detail) < 300


def test_a_zone_that_is_nearly_right_is_told_which_is_meant() -> None:
    with pytest.raises(InvalidInput, match="did you mean Europe/Berlin"):
        parse("* * * * *", "Europe/Berln")


@given(st.text(alphabet="0123456789*/,-#LW MONJANé٣@?", max_size=30), st.sampled_from(["UTC", BERLIN]))
def test_any_text_is_a_line_that_fires_or_is_refused(cron: str, timezone: str) -> None:
    try:
        line = parse(cron, timezone)
    except InvalidInput:
        return
    found = line.next_after(NOW)
    assert found is not None
    assert found > NOW


def newest(**changes: Any) -> tuple[list[datetime], bool]:
    wanted: dict[str, Any] = {"since": NOW - timedelta(hours=5), "limit": 100, **changes}
    return CronLine("0 * * * *", "UTC").newest_until(NOW, **wanted)


def test_the_newest_times_include_both_ends() -> None:
    times, more = newest()
    assert (times, more) == ([NOW - timedelta(hours=n) for n in range(5, -1, -1)], False)


def test_of_more_times_than_wanted_the_newest_are_given() -> None:
    assert newest(limit=2) == ([NOW - timedelta(hours=1), NOW], True)
    assert newest(limit=6)[1] is False


def test_years_of_missed_minutes_are_not_counted_one_by_one() -> None:
    times, more = CronLine("* * * * *", BERLIN).newest_until(NOW, since=NOW - timedelta(days=3650), limit=3)
    assert (times, more) == ([NOW - timedelta(minutes=n) for n in (2, 1, 0)], True)
