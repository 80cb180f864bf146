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


def test_another_goal_keeps_the_rest_of_what_is_submitted(terminal: Terminal) -> None:
    before = schedule_json(submission={"agent": "assistant", "input": {"goal": "old"}, "queue": "slow"})
    server = FakeServer(ok(before), ok(schedule_json()))
    terminal.type("schedule", "update", "morning", "--goal", "new", server=server)
    wanted = {"agent": "assistant", "goal": "new", "queue": "slow"}
    assert json.loads(server.requests[1].content) == {"submission": wanted}


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
