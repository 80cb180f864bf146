from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from ops_core.domain.task import RateLimit
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
        ({"queue_timeout_seconds": 0}, "/queue_timeout_seconds", "greater than 0"),
        ({"attempt_timeout_seconds": float("inf")}, "/attempt_timeout_seconds", "greater than 0"),
        ({"concurrency_key": "k" * 10_000}, "/concurrency_key", "1 to 256 printable characters, not 10,000"),
        ({"fairness_key": "k" * 257}, "/fairness_key", "1 to 256"),
        ({"fairness_key": "a\nb"}, "/fairness_key", "printable"),
        ({"concurrency_key": ""}, "/concurrency_key", "1 to 256"),
        ({"concurrency_limit": 0}, "/concurrency_limit", "between 1 and 100,000"),
        ({"concurrency_limit": 100_001}, "/concurrency_limit", "between 1 and 100,000"),
        ({"rate": RateLimit(key="k" * 257, limit=1, per_seconds=1)}, "/rate/key", "1 to 256"),
        ({"rate": RateLimit(key="k", limit=0, per_seconds=1)}, "/rate/limit", "between 1 and 100,000"),
        ({"rate": RateLimit(key="k", limit=1, per_seconds=0)}, "/rate/per_seconds", "greater than 0"),
        ({"rate": RateLimit(key="k", limit=1, per_seconds=4e7)}, "/rate/per_seconds", "at most 31,622,400"),
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
        {"concurrency_key": "Müller & Söhne", "concurrency_limit": 1, "fairness_key": "k" * 256},
        {"rate": RateLimit(key="k", limit=100_000, per_seconds=0.1)},
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
    [
        *({"goal": "else"}, {"priority": 6}, {"labels": {"a": "b"}}, {"run_at": NOW}, {"queue": "default"}),
        *({"agent": "b"}, {"queue_timeout_seconds": 5}, {"attempt_timeout_seconds": 5}, {"concurrency_limit": 1}),
        *({"rate": RateLimit(key="k", limit=1, per_seconds=1)}, {"stream": True}),
    ],
)
def test_another_request_has_another_hash(other: dict[str, Any]) -> None:
    assert request_hash(replace(GOOD, **other)) != request_hash(GOOD)


def test_a_request_from_before_there_were_more_fields_has_the_hash_it_had() -> None:
    plain = Submission(agent="assistant", goal="add")
    assert request_hash(plain) == "2f9e5ba4740ceab8ded8c71b25fbe816c5d0ed560be15cc4206c97e7684ad9a9"
    full = Submission(
        agent="a",
        input={"n": 2.0},
        priority=7,
        labels={"a": "b"},
        timeout_seconds=30.0,
        max_attempts=2,
        queue="q",
        concurrency_key="k",
        fairness_key="f",
    )
    assert request_hash(full) == "16fdb9e543a915d5fc6220d9c13d00885c17e7e9ca8ae1e82b69aabf3dcbb7ff"


def test_whole_numbers_are_the_same_request_through_either_door() -> None:
    by_rest = replace(GOOD, goal=None, input={"n": 2, "list": [1]}, timeout_seconds=30)
    by_grpc = replace(GOOD, goal=None, input={"n": 2.0, "list": [1.0]}, timeout_seconds=30.0)
    assert request_hash(by_rest) == request_hash(by_grpc)


def test_the_same_instant_in_another_zone_is_the_same_request() -> None:
    tokyo = replace(GOOD, run_at=NOW.astimezone(timezone(timedelta(hours=9))))
    assert request_hash(tokyo) == request_hash(replace(GOOD, run_at=NOW))
