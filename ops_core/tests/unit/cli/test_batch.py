"""`task submit-batch` sends a file in as few requests as the server takes, and names the lines that are wrong."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx2
import pytest

from ops_core.tests.unit.cli.terminal import Terminal
from ops_core.tests.unit.client.fake_server import FakeServer, problem, task_json


def limits(**changes: int) -> httpx2.Response:
    return httpx2.Response(200, json={"limits": {"max_batch": 500, "max_body_bytes": 1_000_000, **changes}})


def accept(request: httpx2.Request) -> httpx2.Response:
    count = len(bodies(request))
    data = [task_json(id=f"0193aaaa-0000-7000-8000-{index:012d}") for index in range(count)]
    return httpx2.Response(201, json={"data": data, "replayed": []})


def bodies(request: httpx2.Request) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(request.content)["tasks"]
    return found


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "tasks.jsonl"
    path.write_text('{"agent": "a", "goal": "one"}\n\n{"agent": "b", "goal": "two", "idempotency_key": "own"}\n')
    return path


def test_each_line_becomes_a_task_with_a_key_of_its_own(terminal: Terminal, file: Path) -> None:
    server = FakeServer(limits(), accept)
    told = terminal.type("task", "submit-batch", str(file), "--idempotency-key", "k", server=server)
    assert (told.code, len(told.out.splitlines())) == (0, 2)
    assert "2 tasks" in told.err
    assert bodies(server.requests[1]) == [
        {"idempotency_key": "k:1", "agent": "a", "goal": "one"},
        {"idempotency_key": "own", "agent": "b", "goal": "two"},
    ]


@pytest.mark.parametrize("bound", [{"max_batch": 2}, {"max_body_bytes": 210}])
def test_no_request_is_over_the_servers_limits(terminal: Terminal, tmp_path: Path, bound: dict[str, int]) -> None:
    file = tmp_path / "tasks.jsonl"
    file.write_text("".join(f'{{"agent": "a", "goal": "é{i}"}}\n' for i in range(5)))
    server = FakeServer(limits(**bound), accept)
    told = terminal.type("task", "submit-batch", str(file), "--idempotency-key", "k", server=server)
    sent = server.requests[1:]
    assert (told.code, len(told.out.splitlines())) == (0, 5)
    assert [one["goal"] for request in sent for one in bodies(request)] == [f"é{i}" for i in range(5)]
    assert [len(bodies(request)) for request in sent] == [2, 2, 1]
    assert all(len(request.content) <= bound.get("max_body_bytes", 10**6) for request in sent)


@pytest.mark.parametrize("line", ["{", "[]", '"text"', "null", "1" * 5_000])
def test_a_line_that_is_no_task_is_named_and_nothing_is_sent(terminal: Terminal, tmp_path: Path, line: str) -> None:
    file = tmp_path / "tasks.jsonl"
    file.write_text('{"agent": "a", "goal": "one"}\n' + line)
    server = FakeServer(limits(), accept)
    told = terminal.type("task", "submit-batch", str(file), server=server)
    assert (told.code, told.out, server.requests) == (2, "", [])
    assert "line 2 is not" in told.err


def test_an_empty_file_is_refused(terminal: Terminal, tmp_path: Path) -> None:
    (tmp_path / "empty").write_text("\n \n")
    told = terminal.type("task", "submit-batch", str(tmp_path / "empty"), server=FakeServer(limits()))
    assert told.code == 2
    assert "holds no tasks" in told.err


def test_what_the_server_refuses_is_told_by_line(terminal: Terminal, file: Path) -> None:
    errors = [{"pointer": "/tasks/1/goal", "detail": "must not be empty"}]
    refused = problem(422, "invalid_input", "`tasks.1.goal` must not be empty.", errors=errors)
    told = terminal.type("task", "submit-batch", str(file), server=FakeServer(limits(), refused))
    assert (told.code, told.out) == (2, "")
    assert "`line 3.goal` must not be empty" in told.err


def test_one_that_breaks_off_says_how_to_go_on(terminal: Terminal, file: Path) -> None:
    server = FakeServer(limits(max_batch=1), accept, httpx2.ConnectError("gone"))
    told = terminal.type("task", "submit-batch", str(file), server=server)
    assert (told.code, len(told.out.splitlines())) == (5, 1)
    key = bodies(server.requests[1])[0]["idempotency_key"].removesuffix(":1")
    assert f"1 tasks were submitted; go on with the same file and --idempotency-key {key}" in told.err


@pytest.mark.parametrize("form", ["json", "jsonl", "yaml"])
def test_programs_get_the_whole_tasks(terminal: Terminal, file: Path, form: str) -> None:
    told = terminal.type("task", "submit-batch", str(file), "-o", form, server=FakeServer(limits(), accept))
    assert (told.code, told.out.count("created_at")) == (0, 2)
