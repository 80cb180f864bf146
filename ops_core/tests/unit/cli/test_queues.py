"""Queue commands."""

from __future__ import annotations

import json

from ops_core.tests.unit.cli.terminal import Terminal, ok, page
from ops_core.tests.unit.client.fake_server import FakeServer, problem, queue_json


def test_a_list_shows_what_each_queue_has_and_wants(terminal: Terminal) -> None:
    long = queue_json(name="long", ready=10_000, wanted_slots=10_002, wanted_slots_capped=True)
    empty = queue_json(name="new", ready=0, running=0, oldest_ready_seconds=None, wanted_slots=0)
    told = terminal.type("queue", "list", server=FakeServer(page(queue_json(), long, empty)))
    assert told.code == 0
    assert [line.split() for line in told.out.splitlines()] == [
        ["QUEUE", "READY", "RUNNING", "WORKERS", "SLOTS", "FREE", "OLDEST", "WANTED"],
        ["default", "3", "2", "1", "2", "0", "1.2", "s", "5"],
        ["long", "10000+", "2", "1", "2", "0", "1.2", "s", "10002+"],
        ["new", "0", "0", "1", "2", "0", "0"],
    ]


def test_a_list_for_programs_is_what_the_server_said(terminal: Terminal) -> None:
    told = terminal.type("queue", "list", "--output", "json", server=FakeServer(page(queue_json())))
    assert json.loads(told.out) == [queue_json()]


def test_a_quiet_list_is_the_names(terminal: Terminal) -> None:
    told = terminal.type("queue", "list", "-q", server=FakeServer(page(queue_json(name="a"), queue_json(name="b"))))
    assert told.out == "a\nb\n"


def test_show_tells_of_one_queue(terminal: Terminal) -> None:
    server = FakeServer(ok(queue_json(name="slow")))
    told = terminal.type("queue", "get", "slow", server=server)
    assert (told.code, server.requests[0].url.path) == (0, "/api/v1/queues/slow")
    assert ["wanted_slots", "5"] in [line.split() for line in told.out.splitlines()]


def test_show_for_programs_is_what_the_server_said(terminal: Terminal) -> None:
    told = terminal.type("queue", "get", "slow", "--output", "json", server=FakeServer(ok(queue_json())))
    assert json.loads(told.out) == queue_json()


def test_a_name_that_cannot_be_a_queues_is_told_as_the_server_tells_it(terminal: Terminal) -> None:
    server = FakeServer(problem(422, "invalid_input", "`name` must be 1 to 63 lower-case letters."))
    told = terminal.type("queue", "get", "Slow", server=server)
    assert told.code == 2
    assert "lower-case" in told.err
