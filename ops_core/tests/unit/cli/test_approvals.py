"""Approval commands: what is asked is shown, and what is said arrives as it was typed."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import httpx2
import pytest

from ops_core.cli.context import CliContext
from ops_core.entrypoints.main import build_app
from ops_core.tests.unit.cli.terminal import Terminal, ok, page
from ops_core.tests.unit.client.fake_server import APPROVAL_ID, FakeServer, approval_json, problem


def said(server: FakeServer) -> Any:
    return json.loads(server.requests[-1].content)


def decided(**changes: object) -> httpx2.Response:
    return ok(approval_json(**{"status": "approved", **changes}))


def test_a_list_shows_what_waits_for_a_decision(terminal: Terminal) -> None:
    server = FakeServer(page(approval_json()))
    told = terminal.type("approval", "list", "--mine", server=server)
    assert told.out.splitlines()[1].split()[:4] == [APPROVAL_ID, "pending", "refund-desk", "never"]
    assert "Refund 80 EUR to Ada?" in told.out
    asked = server.requests[0].url.params.multi_items()
    assert asked == [("status", "pending"), ("mine", "true"), ("limit", "50")]


def test_all_lists_the_decided_ones_too(terminal: Terminal) -> None:
    server = FakeServer(page())
    terminal.type("approval", "list", "--all", server=server)
    assert len(server.requests[0].url.params.get_list("status")) == 6


def test_get_shows_the_commands_that_decide_it(terminal: Terminal) -> None:
    told = terminal.type("approval", "get", APPROVAL_ID, server=FakeServer(ok(approval_json(allowed=["reject"]))))
    assert '{"amount": 80}' in told.out
    assert told.err.splitlines() == [f"ops-core approval reject {APPROVAL_ID} --reason 'why'"]


@pytest.mark.parametrize(
    ("typed", "body"),
    [
        (["approve"], {"decision": "approve"}),
        (["approve", "--reason", "fine"], {"decision": "approve", "reason": "fine"}),
        (["reject", "--reason", "no"], {"decision": "reject", "reason": "no"}),
        (["edit", "--arguments", '{"amount": 60}'], {"decision": "edit", "arguments": {"amount": 60}}),
    ],
)
def test_a_decision_is_sent_as_it_was_typed(terminal: Terminal, typed: list[str], body: object) -> None:
    server = FakeServer(decided())
    verb, *rest = typed
    told = terminal.type("approval", verb, APPROVAL_ID, *rest, server=server)
    assert (told.code, told.out) == (0, f"{APPROVAL_ID}  approved\n")
    assert server.requests[0].url.path == f"/api/v1/approvals/{APPROVAL_ID}/decide"
    assert said(server) == body


@pytest.mark.parametrize(
    ("typed", "response"),
    [(["42"], "42"), (["--json", "42"], 42), (["--json", "null"], None), (["--json", '["a"]'], ["a"])],
)
def test_a_response_is_text_unless_it_is_said_to_be_json(
    terminal: Terminal, typed: list[str], response: object
) -> None:
    server = FakeServer(decided(status="responded"))
    assert terminal.type("approval", "respond", APPROVAL_ID, *typed, server=server).code == 0
    assert said(server) == {"decision": "respond", "response": response}


def test_the_beginning_of_an_id_is_enough(terminal: Terminal) -> None:
    server = FakeServer(page(approval_json()), decided())
    assert terminal.type("approval", "approve", "0193bbbb", server=server).code == 0
    assert server.requests[0].url.params.multi_items() == [("id_prefix", "0193bbbb"), ("limit", "11")]
    assert APPROVAL_ID in server.requests[1].url.path


def test_an_id_that_several_have_is_refused_with_those_it_may_be(terminal: Terminal) -> None:
    server = FakeServer(page(approval_json(id=APPROVAL_ID[:-1] + "3"), approval_json()))
    told = terminal.type("approval", "approve", "0193bbbb", server=server)
    assert told.code == 2
    assert told.err.startswith("error: several approvals have an id that begins with '0193bbbb'")
    assert len(server.requests) == 1


def test_arguments_come_from_a_file(terminal: Terminal, tmp_path: Path) -> None:
    file, server = tmp_path / "arguments.json", FakeServer(decided())
    file.write_text('{"amount": 61}')
    assert terminal.type("approval", "edit", APPROVAL_ID, "--arguments", f"@{file}", server=server).code == 0
    assert said(server)["arguments"] == {"amount": 61}


@pytest.mark.parametrize("arguments", ["{amount: 60}", "[60]", "@no-such-file", ""])
def test_arguments_that_are_no_object_are_refused_before_anything_is_sent(terminal: Terminal, arguments: str) -> None:
    server = FakeServer(decided())
    told = terminal.type("approval", "edit", APPROVAL_ID, "--arguments", arguments, server=server)
    assert (told.code, server.requests) == (2, [])
    assert "try: " in told.err


def test_without_a_terminal_no_editor_opens(terminal: Terminal) -> None:
    told = terminal.type("approval", "edit", APPROVAL_ID, server=FakeServer(ok(approval_json())))
    assert told.code == 2
    assert "--arguments JSON" in told.err


def test_at_a_terminal_the_editor_opens_with_the_arguments(tmp_path: Path) -> None:
    editor, server = tmp_path / "editor.py", FakeServer(ok(approval_json()), decided())
    editor.write_text("import sys; p = sys.argv[1]; t = open(p).read(); open(p, 'w').write(t.replace('80', '60'))")
    carried = CliContext(lambda url: server.client(), lambda: (sys.executable, str(editor)), lambda: True)
    build_app()(["approval", "edit", APPROVAL_ID], obj=carried, standalone_mode=False)
    assert said(server) == {"decision": "edit", "arguments": {"amount": 60}}


def test_an_answer_is_wanted_once(terminal: Terminal) -> None:
    for typed in ([], ["yes", "--json", "1"]):
        told = terminal.type("approval", "respond", APPROVAL_ID, *typed, server=FakeServer(decided()))
        assert told.code == 2


def test_one_vote_of_two_says_that_another_is_needed(terminal: Terminal) -> None:
    told = terminal.type("approval", "approve", APPROVAL_ID, server=FakeServer(ok(approval_json(required=2))))
    assert told.out == f"{APPROVAL_ID}  pending\n"
    assert "2 different people" in told.err


@pytest.mark.parametrize(
    ("status", "error", "exit_code"),
    [
        (409, "approval_decided", 1),
        (410, "approval_expired", 1),
        (403, "not_an_approver", 2),
        (422, "decision_not_allowed", 2),
    ],
)
def test_a_refusal_says_what_to_try(terminal: Terminal, status: int, error: str, exit_code: int) -> None:
    server = FakeServer(problem(status, error, "ada has approved it."))
    told = terminal.type("approval", "approve", APPROVAL_ID, server=server)
    assert told.code == exit_code
    assert told.err.startswith("error: ada has approved it.\ntry: ops-core approval ")
