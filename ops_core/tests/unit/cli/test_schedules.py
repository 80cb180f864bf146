"""Schedule commands."""

from __future__ import annotations

import json

import httpx2
import pytest

from ops_core.tests.unit.cli.terminal import Terminal, ok, page
from ops_core.tests.unit.client.fake_server import FakeServer, problem, schedule_json, task_json


def test_create_sends_the_line_and_what_it_submits(terminal: Terminal) -> None:
    server = FakeServer(httpx2.Response(201, json=schedule_json()))
    told = terminal.type(
        *("schedule", "create", "morning", "30 8 * * mon-fri", "assistant", "report"),
        *("--timezone", "Europe/Berlin", "--catch-up", "skip", "--priority", "7", "-q"),
        server=server,
    )
    assert (told.code, told.out) == (0, "morning\n")
    assert json.loads(server.requests[0].content) == {
        "name": "morning",
        "cron": "30 8 * * mon-fri",
        "submission": {"agent": "assistant", "goal": "report", "priority": 7},
        "timezone": "Europe/Berlin",
        "catch_up": "skip",
    }


BOUNDS = [
    *("--timeout", "60", "--max-attempts", "2", "--queue", "slow", "--label", "team=ops", "--stream"),
    *("--queue-timeout", "30", "--attempt-timeout", "20", "--concurrency-key", "acme", "--concurrency-limit", "3"),
    *("--rate", "acme=100/60", "--fairness-key", "acme"),
]
BOUND = {
    "timeout_seconds": 60,
    "max_attempts": 2,
    "queue": "slow",
    "labels": {"team": "ops"},
    "stream": True,
    "queue_timeout_seconds": 30,
    "attempt_timeout_seconds": 20,
    "concurrency_key": "acme",
    "concurrency_limit": 3,
    "rate": {"key": "acme", "limit": 100, "per_seconds": 60},
    "fairness_key": "acme",
}


def test_its_tasks_can_be_given_all_that_a_submit_gives(terminal: Terminal) -> None:
    server = FakeServer(httpx2.Response(201, json=schedule_json()))
    assert terminal.type("schedule", "create", "m", "* * * * *", "assistant", "x", *BOUNDS, server=server).code == 0
    assert json.loads(server.requests[0].content)["submission"] == {"agent": "assistant", "goal": "x", **BOUND}


def test_a_submit_and_a_schedule_take_the_same_options(terminal: Terminal) -> None:
    server = FakeServer(httpx2.Response(201, json=task_json()))
    assert terminal.type("task", "submit", "assistant", "x", *BOUNDS, server=server).code == 0
    assert json.loads(server.requests[0].content) == {"agent": "assistant", "goal": "x", **BOUND}


@pytest.mark.parametrize(
    ("typed", "changed"),
    [
        (["--agent", "other"], {"agent": "other"}),
        (["--priority", "9"], {"priority": 9}),
        (BOUNDS, BOUND),
    ],
)
def test_what_its_tasks_are_given_changes_only_where_it_is_named(
    terminal: Terminal, typed: list[str], changed: dict[str, object]
) -> None:
    before = {"agent": "assistant", "goal": "report", "priority": 7}
    server = FakeServer(ok(schedule_json(submission=before)), ok(schedule_json()))
    assert terminal.type("schedule", "update", "morning", *typed, server=server).code == 0
    assert json.loads(server.requests[1].content) == {"submission": {**before, **changed}, "version": 1}


def test_a_list_shows_when_each_fires_and_what_it_submits(terminal: Terminal) -> None:
    told = terminal.type("schedule", "list", server=FakeServer(page(schedule_json(), schedule_json(paused=True))))
    first, second = told.out.splitlines()[1:]
    assert first.startswith("morning  30 8 * * mon-fri  Europe/Berlin")
    assert first.endswith("assistant: report")
    assert "paused" in second


def test_update_sends_only_what_is_given(terminal: Terminal) -> None:
    server = FakeServer(ok(schedule_json()))
    terminal.type("schedule", "update", "morning", "--cron", "0 9 * * *", "--version", "3", server=server)
    (request,) = server.requests
    assert (request.method, json.loads(request.content)) == ("PATCH", {"cron": "0 9 * * *", "version": 3})


def test_what_somebody_changes_meanwhile_is_not_undone(terminal: Terminal) -> None:
    server = FakeServer(ok(schedule_json(version=7)), ok(schedule_json()))
    terminal.type("schedule", "update", "morning", "--queue", "slow", server=server)
    assert json.loads(server.requests[1].content)["version"] == 7


def test_another_goal_keeps_the_rest_of_what_is_submitted(terminal: Terminal) -> None:
    before = schedule_json(submission={"agent": "assistant", "input": {"goal": "old"}, "queue": "slow"})
    server = FakeServer(ok(before), ok(schedule_json()))
    terminal.type("schedule", "update", "morning", "--goal", "new", server=server)
    wanted = {"agent": "assistant", "goal": "new", "queue": "slow"}
    assert json.loads(server.requests[1].content) == {"submission": wanted, "version": 1}


@pytest.mark.parametrize("verb", ["pause", "resume"])
def test_pause_and_resume(terminal: Terminal, verb: str) -> None:
    server = FakeServer(ok(schedule_json()))
    assert terminal.type("schedule", verb, "morning", server=server).code == 0
    assert server.requests[0].url.path == f"/api/v1/schedules/morning/{verb}"


def test_trigger_prints_the_tasks_id(terminal: Terminal) -> None:
    server = FakeServer(httpx2.Response(201, json=task_json()))
    told = terminal.type("schedule", "trigger", "morning", server=server)
    assert told.out == task_json()["id"] + "\n"
    assert server.requests[0].headers["idempotency-key"]


def test_a_trigger_can_be_repeated_with_its_key(terminal: Terminal) -> None:
    server = FakeServer(httpx2.Response(201, json=task_json()))
    terminal.type("schedule", "trigger", "morning", "--idempotency-key", "once", server=server)
    assert server.requests[0].headers["idempotency-key"] == "once"


def test_next_prints_the_times_in_utc_and_here(terminal: Terminal) -> None:
    server = FakeServer(ok({"data": ["2030-01-02T07:30:00Z", "2030-01-03T07:30:00Z"]}))
    told = terminal.type("schedule", "next", "morning", "-n", "2", server=server)
    assert [line.split("  ")[0] for line in told.out.splitlines()] == ["2030-01-02T07:30:00Z", "2030-01-03T07:30:00Z"]
    assert server.requests[0].url.params["count"] == "2"


def test_a_delete_asks_and_where_nobody_can_be_asked_wants_to_be_told(terminal: Terminal) -> None:
    server = FakeServer(httpx2.Response(204))
    told = terminal.type("schedule", "delete", "morning", server=server)
    assert (told.code, server.requests) == (2, [])
    assert "try: --yes" in told.err

    assert terminal.type("schedule", "delete", "morning", "--yes", server=server).code == 0
    assert server.requests[0].method == "DELETE"


def test_a_line_that_never_fires_is_told_as_the_server_tells_it(terminal: Terminal) -> None:
    server = FakeServer(problem(422, "invalid_input", "The cron line '0 0 30 2 *' never fires."))
    told = terminal.type("schedule", "create", "never", "0 0 30 2 *", "assistant", "x", server=server)
    assert told.code == 2
    assert "never fires" in told.err
