"""An event is one line, whatever is in it."""

from __future__ import annotations

import pytest

from ops_core.cli.event_lines import event_line
from ops_core.client import Event
from ops_core.tests.unit.client.fake_server import event_json

HOSTILE = {"content": "a\nb\x1b[31m" + "x" * 500, "name": "t", "arguments": {"q": "y" * 500, "n": [1, {"a": None}]}}


@pytest.mark.parametrize(
    ("kind", "payload", "said"),
    [
        ("tool.completed", {"name": "t", "arguments": {}, "content": "no", "is_error": True}, "t() → failed: no"),
        ("tool.started", {"name": "pay", "arguments": {"amount": 80}}, "pay(amount=80)"),
        ("llm.completed", {"message": {"text": "It is 42."}, "model": "m"}, "It is 42.  (m)"),
        ("task.retrying", {"error": {"code": "rate_limited", "message": "slow down"}}, "rate_limited: slow down"),
        ("task.started", {"attempt": 2, "worker_id": None}, "attempt 2"),
        ("task.resumed", {"waited_for": "children"}, "after waiting for children"),
        ("timer.started", {"kind": "wait", "wait": "timer", "request": {"seconds": 2}}, "seconds 2"),
        ("timer.fired", {"kind": "wait", "wait": "timer", "seconds": 0, "answer": {}}, ""),
        ("something.new", {"of": "a newer server"}, "of a newer server"),
    ],
)
def test_says_what_tells_the_most(kind: str, payload: dict[str, object], said: str) -> None:
    line = event_line(Event(**event_json(1, kind, **payload))).plain
    assert line.partition("  ")[2].removeprefix(kind).strip() == said


@pytest.mark.parametrize(
    "payload", [{}, HOSTILE, {"message": "text", "usage": 3, "arguments": "x", "error": "y", "seconds": "z"}]
)
@pytest.mark.parametrize("kind", ["llm.completed", "tool.completed", "tool.started", "task.failed", "x.y"])
def test_stays_one_short_line_without_control_characters(kind: str, payload: dict[str, object]) -> None:
    line = event_line(Event(**event_json(1, kind, **payload))).plain
    assert len(line) < 600
    assert not any(ord(char) < 0x20 for char in line)
