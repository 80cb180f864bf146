"""The tools that come with agentkit."""

from __future__ import annotations

import time
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentkit import BadToolArguments, calculator, convert_units
from agentkit.tools import builtin
from agentkit.tools.calculator import evaluate
from agentkit.tools.clock import make_clock


@pytest.mark.parametrize(
    ("expression", "result"),
    [
        ("6 * 7", "42"),
        ("(2 + 3) * 4.5", "22.5"),
        ("0.1 + 0.2", "0.3"),
        ("-7 // 2", "-4"),
        ("7 % 4", "3"),
        ("2 ** 10", "1024"),
        ("2 ^ 10", "1024"),
        ("2 ** -1", "0.5"),
        ("sqrt(2)", "1.4142135623731"),
        ("round(2.567, 1)", "2.6"),
        ("round(1250, -2) + round(2.5)", "1202"),
        ("min(3, 1, 2) + max(1, 2) + abs(-3)", "6"),
        ("12 / 4", "3"),
        ("1e3", "1000"),
        ("  1 +\t1 ", "2"),
    ],
)
def test_arithmetic_is_worked_out(expression: str, result: str) -> None:
    assert calculator(expression) == result


@pytest.mark.parametrize(
    "expression",
    [
        "9**9**9",
        "9**9**9**9**9",
        "2**99999999999",
        "(2**4000)**4000",
        "2**4000*2**4000",
        "10.0**400",
        "0**-1",
        "1/0",
        "1 % 0",
        "(-8) ** 0.5",
        "sqrt(-1)",
        "round(1, 2, 3)",
        "round(1, -99999999999)",
        "round(1, 0.5)",
        "max()",
        "1 +",
        "",
        "x + 1",
        "'a' * 3",
        "True + 1",
        "[1] * 3",
        "1 if 1 else 2",
        "1 < 2",
        "__import__('os').system('id')",
        "(1).__class__",
        "sqrt(x=4)",
        "1j * 1j",
        "(" * 300 + "1" + ")" * 300,
        "-" * 500 + "1",
        "1+" * 400 + "1",
        "round(2 ** 5000)",
        "1\x00",
    ],
)
def test_what_is_not_arithmetic_or_too_large_is_refused_at_once(expression: str) -> None:
    started = time.monotonic()
    with pytest.raises(BadToolArguments):
        calculator(expression)
    assert time.monotonic() - started < 1


@given(st.text(alphabet="0123456789.+-*/%^() sqrtabminx,e", max_size=60))
def test_any_expression_has_a_value_or_is_refused(expression: str) -> None:
    try:
        value = evaluate(expression)
    except BadToolArguments:
        return
    assert isinstance(value, int | float)
    calculator(expression)


NOON = make_clock(lambda: datetime(2026, 7, 1, 12, tzinfo=UTC))


@pytest.mark.parametrize(
    ("arguments", "answer"),
    [
        ({}, "Wednesday 2026-07-01 12:00:00 UTC (UTC+0000)"),
        ({"timezone": "Asia/Tokyo"}, "Wednesday 2026-07-01 21:00:00 Asia/Tokyo (UTC+0900)"),
        (
            {"timezone": "America/New_York", "time": "15:30", "from_timezone": "Europe/Berlin"},
            "Wednesday 2026-07-01 15:30:00 Europe/Berlin (UTC+0200) is "
            "Wednesday 2026-07-01 09:30:00 America/New_York (UTC-0400)",
        ),
        (
            {"timezone": "UTC", "time": "2026-01-15T09:00", "from_timezone": "Europe/Berlin"},
            "Thursday 2026-01-15 09:00:00 Europe/Berlin (UTC+0100) is Thursday 2026-01-15 08:00:00 UTC (UTC+0000)",
        ),
        (
            {"timezone": "Asia/Tokyo", "time": "2026-01-15T09:00:00+02:00"},
            "Thursday 2026-01-15 09:00:00 (UTC+0200) is Thursday 2026-01-15 16:00:00 Asia/Tokyo (UTC+0900)",
        ),
    ],
)
def test_the_clock_tells_and_converts_times(arguments: dict[str, str], answer: str) -> None:
    assert NOON(**arguments) == answer


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ({"timezone": "tokyo"}, "'tokyo' is not an IANA time zone; did you mean Asia/Tokyo?"),
        ({"timezone": "Middle/Earth"}, "not an IANA time zone, such as Europe/Berlin."),
        ({"timezone": "../etc/passwd"}, "not an IANA time zone"),
        ({"timezone": ""}, "not an IANA time zone"),
        ({"timezone": "UTC", "time": "25:00"}, "'25:00' is not a time"),
        ({"timezone": "UTC", "time": "noon"}, "'noon' is not a time"),
        ({"timezone": "UTC", "time": "9999-12-31T23:59-14:00"}, "is not a time that can be converted"),
    ],
)
def test_the_clock_says_what_is_wrong(arguments: dict[str, str], problem: str) -> None:
    with pytest.raises(BadToolArguments) as error:
        NOON(**arguments)
    assert problem in str(error.value)


@pytest.mark.parametrize(
    ("value", "source", "target", "answer"),
    [
        (5, "miles", "km", "5 mi = 8.04672 km"),
        (100, "fahrenheit", "Celsius", "100 °F = 37.77777778 °C"),
        (0, "°C", "K", "0 °C = 273.15 K"),
        (-40, "C", "F", "-40 °C = -40 °F"),
        (1, "cubic meter", "litres", "1 m3 = 1000 l"),
        (90, "km/h", "m/s", "90 km/h = 25 m/s"),
        (2, "weeks", "days", "2 week = 14 d"),
        (1, "lb", "g", "1 lb = 453.59237 g"),
    ],
)
def test_units_are_converted(value: float, source: str, target: str, answer: str) -> None:
    assert convert_units(value, source, target) == answer


@pytest.mark.parametrize(
    ("value", "source", "target", "problem"),
    [
        (1, "miles", "kg", "'miles' is a unit of length and 'kg' of mass"),
        (1, "parsec", "km", "'parsec' is not a known unit. Known are: "),
        (-300, "C", "K", "below absolute zero"),
        (1e308, "week", "ms", "too large"),
        (float("nan"), "m", "km", "too large"),
    ],
)
def test_units_that_cannot_be_converted_are_refused(value: float, source: str, target: str, problem: str) -> None:
    with pytest.raises(BadToolArguments) as error:
        convert_units(value, source, target)
    assert problem in str(error.value)


def test_the_builtin_tools_change_nothing_outside() -> None:
    assert not any(getattr(builtin, name).spec.side_effect for name in builtin.__all__)
