"""Runs command lines against a server of canned answers."""

from __future__ import annotations

from dataclasses import dataclass

import httpx2
import pytest

from ops_core.entrypoints.main import run
from ops_core.tests.unit.client.fake_server import FakeServer, event_json, event_stream, sse, task_json


@dataclass(frozen=True)
class Told:
    """What a command left behind."""

    code: int
    out: str
    err: str


class Terminal:
    """A person at a terminal that is none: output is captured."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys

    def type(self, *arguments: str, server: FakeServer) -> Told:
        code = run(arguments, connect=lambda url: server.client())
        captured = self._capsys.readouterr()
        return Told(code, captured.out, captured.err)


def ok(body: object) -> httpx2.Response:
    return httpx2.Response(200, json=body)


def page(*tasks: object) -> httpx2.Response:
    return ok({"data": list(tasks), "next_cursor": None})


STEPS = [
    event_json(1, "task.submitted"),
    event_json(2, "task.started", attempt=1),
    event_json(
        3,
        "llm.completed",
        message={
            "role": "assistant",
            "text": "",
            "tool_calls": [{"name": "demo.lookup", "arguments": {"item": "widget"}}],
        },
        model="demo",
        usage={"input_tokens": 10, "output_tokens": 5},
        seconds=0.012,
    ),
    event_json(
        4,
        "tool.completed",
        name="demo.lookup",
        arguments={"item": "widget"},
        content="4.20 EUR",
        is_error=False,
        seconds=2,
    ),
    event_json(5, "task.completed"),
]


def running_to(status: str, *, steps: int = len(STEPS), **facts: object) -> FakeServer:
    """Answers a submit, the stream of events, its end, and the task as it stands then."""
    return FakeServer(
        httpx2.Response(201, json=task_json()),
        event_stream(sse(*STEPS[:steps])),
        httpx2.Response(204),
        ok(task_json(status=status, **facts)),
    )
