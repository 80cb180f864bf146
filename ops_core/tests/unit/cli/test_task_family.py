"""Forks, children and signals from the terminal."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx2
import pytest

from ops_core.tests.unit.cli.terminal import Terminal, ok, page
from ops_core.tests.unit.client.fake_server import TASK_ID, FakeServer, problem, task_json

SIGNAL: dict[str, Any] = {
    "id": "0193dddd-0000-7000-8000-000000000004",
    "task_id": TASK_ID,
    "name": "paid",
    "payload": {"amount": 80},
    "sent_by": "ada",
    "sent_at": "2026-11-21T05:00:00Z",
    "taken_by": None,
}


def test_a_fork_sends_what_is_different(terminal: Terminal, tmp_path: Path) -> None:
    server, file = FakeServer(httpx2.Response(201, json=task_json())), tmp_path / "instructions.txt"
    file.write_text("Be brief.")
    told = terminal.type(
        *("task", "fork", TASK_ID, "--from-step", "3", "--instructions", f"@{file}"),
        *("--model", "openai:gpt-5", "--input", '{"goal": "else"}', "--idempotency-key", "k"),
        server=server,
    )
    assert (told.code, told.out) == (0, TASK_ID + "\n")
    (request,) = server.requests
    assert request.headers["idempotency-key"] == "k"
    assert json.loads(request.content) == {
        "from_step": 3,
        "instructions": "Be brief.",
        "model": {"provider": "openai", "name": "gpt-5"},
        "input": {"goal": "else"},
    }


@pytest.mark.parametrize(
    ("typed", "model"),
    [
        ("gpt-5", {"name": "gpt-5"}),
        ("demo:", {"provider": "demo"}),
        ("ollama:a:7b", {"provider": "ollama", "name": "a:7b"}),
    ],
)
def test_a_model_is_a_name_or_a_provider_and_a_name(terminal: Terminal, typed: str, model: object) -> None:
    server = FakeServer(httpx2.Response(201, json=task_json()))
    terminal.type("task", "fork", TASK_ID, "--from-step", "1", "--model", typed, server=server)
    assert json.loads(server.requests[0].content)["model"] == model


def test_a_fork_from_a_step_that_is_not_there_says_how_to_see_those_there_are(terminal: Terminal) -> None:
    server = FakeServer(problem(422, "step_not_found", "There is no step 9."))
    told = terminal.type("task", "fork", TASK_ID, "--from-step", "9", server=server)
    assert told.code == 2
    assert "try: ops-core task events" in told.err


@pytest.mark.parametrize("verb", ["children", "ancestors"])
def test_the_family_is_listed_as_tasks(terminal: Terminal, verb: str) -> None:
    server = FakeServer(page(task_json()))
    told = terminal.type("task", verb, TASK_ID, "-q", server=server)
    assert told.out == TASK_ID + "\n"
    assert server.requests[0].url.path.endswith(f"/{TASK_ID}/{verb}")


@pytest.mark.parametrize(("verb", "item"), [("children", task_json()), ("signals", SIGNAL)])
@pytest.mark.parametrize(("typed", "told_of"), [([], 3), (["-n", "2"], 2), (["--limit", "3"], 3)])
def test_all_children_and_signals_are_listed_unless_a_limit_is_given(
    terminal: Terminal, verb: str, item: dict[str, Any], typed: list[str], told_of: int
) -> None:
    server = FakeServer(ok({"data": [item] * 2, "next_cursor": "c"}), page(item))
    told = terminal.type("task", verb, TASK_ID, *typed, "-q", server=server)
    assert told.out == f"{item['id']}\n" * told_of
    assert [request.url.params.get("cursor") for request in server.requests] == [None, "c"][: told_of - 1]


@pytest.mark.parametrize(("typed", "payload"), [([], None), (['{"amount": 80}'], {"amount": 80}), (['"yes"'], "yes")])
def test_a_signal_carries_json(terminal: Terminal, typed: list[str], payload: object) -> None:
    server = FakeServer(httpx2.Response(201, json=SIGNAL))
    told = terminal.type("task", "signal", TASK_ID, "paid", *typed, server=server)
    assert told.out == f"{SIGNAL['id']}  kept until it is awaited\n"
    (request,) = server.requests
    assert json.loads(request.content) == {"name": "paid", "payload": payload}
    assert request.headers["idempotency-key"]


def test_a_payload_that_is_no_json_says_how_to_write_text(terminal: Terminal) -> None:
    server = FakeServer(ok(SIGNAL))
    told = terminal.type("task", "signal", TASK_ID, "paid", "yes", server=server)
    assert (told.code, server.requests) == (2, [])
    assert """'"text"'""" in told.err


def test_a_signal_for_a_finished_task_is_refused(terminal: Terminal) -> None:
    server = FakeServer(problem(409, "task_finished", "It has finished."))
    assert terminal.type("task", "signal", TASK_ID, "paid", server=server).code == 1


def test_signals_say_who_took_them(terminal: Terminal) -> None:
    server = FakeServer(page(SIGNAL, {**SIGNAL, "taken_by": "3/tool/1/signal/1"}))
    told = terminal.type("task", "signals", TASK_ID, server=server)
    assert "  kept " in told.out.splitlines()[1]
    assert "3/tool/1/signal/1" in told.out.splitlines()[2]
