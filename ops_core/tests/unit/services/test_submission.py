from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from ops_core.services.limits import TaskLimits
from ops_core.services.submission import Submission, field_problems, request_hash

NOW = datetime(2026, 11, 21, 10, tzinfo=UTC)
LIMITS = TaskLimits(max_goal_chars=100, max_input_bytes=1_000, max_json_depth=5)
GOOD = Submission(agent="assistant", goal="add")


def problems(**changes: Any) -> dict[str, str]:
    found = field_problems(replace(GOOD, **changes), limits=LIMITS, now=NOW)
    return {problem.pointer: problem.detail for problem in found}


def nested(levels: int) -> dict[str, Any]:
    return {} if levels == 1 else {"a": nested(levels - 1)}


def test_a_plain_submission_has_no_problems() -> None:
    assert problems() == {}


@pytest.mark.parametrize(
    ("changes", "pointer", "says"),
    [
        ({"agent": ""}, "/agent", "name of an agent"),
        ({"agent": "a\nb"}, "/agent", "printable"),
        ({"goal": ""}, "/goal", "must not be empty"),
        ({"goal": " \n\t "}, "/goal", "must not be empty"),
        ({"goal": "x" * 101}, "/goal", "at most 100 characters, not 101"),
        ({"goal": None}, "/goal", "is missing"),
        ({"input": {"goal": "x"}}, "/goal", "together with an input"),
        ({"goal": None, "input": {"goal": ""}}, "/input/goal", "must not be empty"),
        ({"goal": "a\ud800"}, "/goal", "surrogate"),
        ({"goal": "a\x00b"}, "/goal", "NUL"),
        ({"goal": None, "input": {"a": [1, {"b": float("nan")}]}}, "/input/a/1/b", "finite"),
        ({"goal": None, "input": {"a/b": "\x00"}}, "/input/a~1b", "NUL"),
        ({"goal": None, "input": nested(6)}, "/input", "at most 5 levels"),
        ({"goal": None, "input": {"a": "x" * 1_000}}, "/input", "at most 1,000 bytes"),
        ({"priority": -1}, "/priority", "between 0 and 9"),
        ({"priority": 10}, "/priority", "between 0 and 9"),
        ({"timeout_seconds": 0}, "/timeout_seconds", "greater than 0"),
        ({"timeout_seconds": -5}, "/timeout_seconds", "greater than 0"),
        ({"timeout_seconds": float("inf")}, "/timeout_seconds", "greater than 0"),
        ({"timeout_seconds": 1e12}, "/timeout_seconds", "at most 31,622,400"),
        ({"max_attempts": 0}, "/max_attempts", "between 1 and 100"),
        ({"max_attempts": 101}, "/max_attempts", "between 1 and 100"),
        ({"run_at": NOW.replace(tzinfo=None)}, "/run_at", "time zone"),
        ({"run_at": NOW - timedelta(seconds=61)}, "/run_at", "in the past"),
        ({"run_at": datetime(9999, 1, 1, tzinfo=UTC)}, "/run_at", "within 1,830 days"),
        ({"queue": ""}, "/queue", "lower-case"),
        ({"queue": "Fast Lane"}, "/queue", "lower-case"),
        ({"queue": "1st"}, "/queue", "begin with a letter"),
        ({"labels": {"": "x"}}, "/labels/", "name that is not allowed"),
        ({"labels": {"a b": "x"}}, "/labels/a b", "name that is not allowed"),
        ({"labels": {"a/b": "x" * 256}}, "/labels/a~1b", "at most 255"),
        ({"labels": {"a": "x\ny"}}, "/labels/a", "printable"),
        ({"labels": {f"k{n}": "" for n in range(33)}}, "/labels", "at most 32"),
        ({"idempotency_key": ""}, "/idempotency_key", "printable ASCII"),
        ({"idempotency_key": "ü"}, "/idempotency_key", "printable ASCII"),
        ({"idempotency_key": "k" * 256}, "/idempotency_key", "1 to 255"),
        ({"traceparent": "00-0-0-0"}, "/traceparent", "W3C"),
    ],
)
def test_what_is_wrong_is_named_with_its_place(changes: dict[str, Any], pointer: str, says: str) -> None:
    found = problems(**changes)
    assert list(found) == [pointer]
    assert says in found[pointer]


@pytest.mark.parametrize(
    "changes",
    [
        {"run_at": NOW - timedelta(seconds=59)},
        {"run_at": NOW.astimezone(timezone(timedelta(hours=9))) + timedelta(hours=1)},
        {"goal": None, "input": nested(5)},
        {"goal": None, "input": {"text": "a \\u0000 that is only spelled out", "ümlaut": "😀"}},
        {"labels": {"team.example/name": "Support (2nd level)"}},
        {"idempotency_key": "order 17/a"},
        {"timeout_seconds": 0.5, "max_attempts": 100, "priority": 9, "queue": "slow_lane-2"},
    ],
)
def test_what_is_right_passes(changes: dict[str, Any]) -> None:
    assert problems(**changes) == {}


def test_everything_that_is_wrong_is_told_at_once() -> None:
    assert set(problems(goal="", priority=99, queue="?")) == {"/goal", "/priority", "/queue"}


@pytest.mark.parametrize(
    "same",
    [
        {"goal": None, "input": {"goal": "add"}},
        {"idempotency_key": "k", "traceparent": "00-" + "1" * 32 + "-" + "2" * 16 + "-01"},
        {"timeout_seconds": None, "priority": 5},
    ],
)
def test_the_hash_is_that_of_what_was_asked_for(same: dict[str, Any]) -> None:
    assert request_hash(replace(GOOD, **same)) == request_hash(GOOD)


@pytest.mark.parametrize(
    "other",
    [{"goal": "else"}, {"priority": 6}, {"labels": {"a": "b"}}, {"run_at": NOW}, {"queue": "default"}, {"agent": "b"}],
)
def test_another_request_has_another_hash(other: dict[str, Any]) -> None:
    assert request_hash(replace(GOOD, **other)) != request_hash(GOOD)


def test_whole_numbers_are_the_same_request_through_either_door() -> None:
    by_rest = replace(GOOD, goal=None, input={"n": 2, "list": [1]}, timeout_seconds=30)
    by_grpc = replace(GOOD, goal=None, input={"n": 2.0, "list": [1.0]}, timeout_seconds=30.0)
    assert request_hash(by_rest) == request_hash(by_grpc)


def test_the_same_instant_in_another_zone_is_the_same_request() -> None:
    tokyo = replace(GOOD, run_at=NOW.astimezone(timezone(timedelta(hours=9))))
    assert request_hash(tokyo) == request_hash(replace(GOOD, run_at=NOW))
