"""Task commands: data on stdout, talk on stderr, and an exit code that tells the outcome."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx2
import pytest
import yaml

from ops_core.tests.unit.cli.terminal import STEPS, Terminal, ok, page, running_to
from ops_core.tests.unit.client.fake_server import (
    APPROVAL_ID,
    TASK_ID,
    FakeServer,
    approval_json,
    event_json,
    event_stream,
    problem,
    sse,
    task_json,
)

OTHER_ID = TASK_ID[:-1] + "2"


def test_run_shows_the_steps_on_stderr_and_the_answer_on_stdout(terminal: Terminal) -> None:
    told = terminal.type(
        "task", "run", "assistant", "add", server=running_to("completed", result={"answer": "50.40", "output": None})
    )
    assert (told.code, told.out) == (0, "50.40\n")
    assert "demo.lookup(item=widget) → 4.20 EUR  (2.0 s)" in told.err
    assert "(demo, 10 + 5 tokens, 12 ms)" in told.err
    assert len(told.err.splitlines()) == 1 + len(STEPS)


@pytest.mark.parametrize(
    ("status", "code"), [("completed", 0), ("failed", 1), ("canceled", 3), ("rejected", 3), ("running", 5)]
)
@pytest.mark.parametrize("form", ["table", "json", "jsonl", "yaml"])
def test_the_exit_code_of_run_tells_the_outcome(terminal: Terminal, status: str, code: int, form: str) -> None:
    told = terminal.type("task", "run", "assistant", "add", "-o", form, server=running_to(status, result="x"))
    assert told.code == code


def test_run_stops_with_its_own_code_when_a_person_is_waited_for(terminal: Terminal) -> None:
    server = FakeServer(
        httpx2.Response(201, json=task_json()),
        event_stream(sse(event_json(1, "task.submitted"), event_json(2, "task.waiting", waiting_for="approval"))),
        ok(task_json(status="waiting", waiting_for="approval")),
        page(approval_json()),
    )
    told = terminal.type("task", "run", "assistant", "add", server=server)
    assert told.code == 4
    assert "waiting for approval" in told.err
    assert f"approval {APPROVAL_ID}: Refund 80 EUR to Ada?" in told.err
    assert '  refund({"amount": 80})\n' in told.err
    assert f"ops-core approval approve {APPROVAL_ID}" in told.err
    assert f"""ops-core approval edit {APPROVAL_ID} --arguments '{{"amount": 80}}'""" in told.err


def test_run_goes_on_when_only_a_timer_is_waited_for(terminal: Terminal) -> None:
    server = FakeServer(
        httpx2.Response(201, json=task_json()),
        event_stream(sse(event_json(1, "task.waiting", waiting_for="timer"), event_json(2, "task.completed"))),
        ok(task_json(status="waiting", waiting_for="timer")),
        httpx2.Response(204),
        ok(task_json(status="completed", result="done")),
    )
    assert terminal.type("task", "run", "assistant", "add", server=server).code == 0


def test_a_failed_task_says_why_and_what_to_try(terminal: Terminal) -> None:
    error = {"code": "limit_steps", "message": "20 steps are used up", "retryable": False}
    told = terminal.type("task", "run", "assistant", "add", server=running_to("failed", error=error))
    assert told.out == ""
    assert f"failed: limit_steps: 20 steps are used up\ntry: ops-core task retry {TASK_ID}" in told.err


def test_run_writes_the_whole_task_or_every_event_for_programs(terminal: Terminal) -> None:
    whole = terminal.type("task", "run", "assistant", "add", "-o", "json", server=running_to("completed", result="x"))
    assert json.loads(whole.out)["result"] == "x"
    lines = terminal.type("task", "run", "assistant", "add", "-o", "jsonl", server=running_to("completed"))
    assert [json.loads(line) for line in lines.out.splitlines()] == STEPS
    quiet = terminal.type("task", "run", "assistant", "add", "-q", server=running_to("completed"))
    assert (quiet.out, quiet.err) == (TASK_ID + "\n", "")


def test_what_an_agent_answers_cannot_move_the_cursor(terminal: Terminal) -> None:
    told = terminal.type("task", "run", "assistant", "add", server=running_to("completed", result="\x1b[2Jboo\x9b\nok"))
    assert told.out == "\\x1b[2Jboo\\x9b\nok\n"


def body_of(server: FakeServer) -> dict[str, Any]:
    body: dict[str, Any] = json.loads(server.requests[0].content)
    return body


def test_a_goal_is_text_and_an_input_is_a_json_object(terminal: Terminal, tmp_path: Path) -> None:
    file = tmp_path / "input.json"
    file.write_text('{"topic": "äöü"}')
    for arguments, sent in (
        (["What is [2]?"], {"goal": "What is [2]?"}),
        (['{"topic": "x"}'], {"input": {"topic": "x"}}),
        (["--input", str(file)], {"input": {"topic": "äöü"}}),
    ):
        server = FakeServer(httpx2.Response(201, json=task_json()))
        assert terminal.type("task", "submit", "assistant", *arguments, server=server).code == 0
        assert body_of(server) == {"agent": "assistant", **sent}


def test_submit_prints_the_id_and_takes_every_option(terminal: Terminal) -> None:
    server = FakeServer(httpx2.Response(201, json=task_json()))
    options = "--priority 9 --run-at 2030-01-01T00:00:00Z --timeout 5 --max-attempts 2 --queue q --label a=b=c"
    told = terminal.type(
        "task", "submit", "assistant", "add", *options.split(), "--idempotency-key", "k", server=server
    )
    assert told.out == TASK_ID + "\n"
    assert body_of(server) == {
        "agent": "assistant",
        "goal": "add",
        "priority": 9,
        "run_at": "2030-01-01T00:00:00Z",
        "timeout_seconds": 5,
        "max_attempts": 2,
        "queue": "q",
        "labels": {"a": "b=c"},
    }
    assert server.requests[0].headers["idempotency-key"] == "k"


@pytest.mark.parametrize(
    "arguments",
    [
        ["task", "run", "assistant"],
        ["task", "run", "assistant", "add", "--input", "-"],
        ["task", "run", "assistant", "{not json"],
        ["task", "run", "assistant", "--input", "/no/such/file"],
        ["task", "submit", "assistant", "add", "--label", "novalue"],
        ["task", "list", "--since", "yesterday"],
        ["task", "list", "--status", "finished"],
        ["task", "get", "xyz"],
        ["task", "get", "019"],
        ["task", "frobnicate"],
        ["task", "list", "-o", "xml"],
    ],
)
def test_a_command_that_cannot_be_right_is_refused_before_anybody_is_asked(
    terminal: Terminal, arguments: list[str]
) -> None:
    server = FakeServer(ok({}))
    told = terminal.type(*arguments, server=server)
    assert (told.code, told.out, server.requests) == (2, "", [])
    assert told.err


def test_a_list_is_narrowed_by_what_is_asked_for(terminal: Terminal) -> None:
    server = FakeServer(page(task_json()))
    terminal.type(
        "task", "list", "--status", "failed", "--agent", "a", "--label", "k=v", "--since", "24h", server=server
    )
    params = server.requests[0].url.params
    assert (params["status"], params["agent"], params["label"]) == ("failed", "a", "k:v")
    assert params["created_after"].endswith("+00:00")


def test_a_list_comes_in_every_form(terminal: Terminal) -> None:
    def listed(*options: str) -> str:
        return terminal.type("task", "list", *options, server=FakeServer(page(task_json(), task_json()))).out

    assert listed("-q") == f"{TASK_ID}\n{TASK_ID}\n"
    assert json.loads(listed("-o", "json")) == [task_json()] * 2
    assert [json.loads(line) for line in listed("-o", "jsonl").splitlines()] == [task_json()] * 2
    assert yaml.safe_load(listed("-o", "yaml"))[0]["id"] == TASK_ID
    table = listed().splitlines()
    assert table[0].split() == ["ID", "STATUS", "AGENT", "AGE", "GOAL"]
    assert table[1].startswith(f"{TASK_ID}  queued  assistant")


def test_the_beginning_of_an_id_is_enough(terminal: Terminal) -> None:
    server = FakeServer(page(task_json()), ok(task_json()))
    told = terminal.type("task", "get", "0193aaaa-00", "-o", "json", server=server)
    assert (told.code, json.loads(told.out)["id"]) == (0, TASK_ID)
    assert server.requests[0].url.params["id_prefix"] == "0193aaaa00"


def test_a_beginning_that_several_have_lists_them(terminal: Terminal) -> None:
    told = terminal.type("task", "get", "0193aaaa", server=FakeServer(page(task_json(), task_json(id=OTHER_ID))))
    assert told.code == 2
    assert TASK_ID in told.err
    assert OTHER_ID in told.err


def test_a_beginning_that_none_has_says_so(terminal: Terminal) -> None:
    told = terminal.type("task", "get", "0193aaaa", server=FakeServer(page()))
    assert (told.code, told.err) == (
        2,
        "error: no task has an id that begins with '0193aaaa'\ntry: ops-core task list\n",
    )


def test_get_shows_what_is_set(terminal: Terminal) -> None:
    told = terminal.type("task", "get", TASK_ID, server=FakeServer(ok(task_json(result={"answer": "50"}))))
    assert '"answer": "50"' in told.out
    assert "error" not in told.out


def test_watch_goes_on_after_the_event_it_is_given(terminal: Terminal) -> None:
    server = FakeServer(
        event_stream(sse(*STEPS[3:])), httpx2.Response(204), ok(task_json(status="completed", result="x"))
    )
    told = terminal.type("task", "watch", TASK_ID, "--after", "3", server=server)
    assert (told.code, told.out) == (0, "x\n")
    assert server.requests[0].headers["last-event-id"] == "3"


def test_events_prints_what_there_is(terminal: Terminal) -> None:
    told = terminal.type("task", "events", TASK_ID, server=FakeServer(ok({"data": STEPS, "next_after": None})))
    assert len(told.out.splitlines()) == len(STEPS)
    assert "   4  " in told.out
    lines = terminal.type(
        "task", "events", TASK_ID, "-o", "jsonl", server=FakeServer(ok({"data": STEPS, "next_after": None}))
    )
    assert [json.loads(line) for line in lines.out.splitlines()] == STEPS


def test_cancel_takes_several(terminal: Terminal) -> None:
    server = FakeServer(ok(task_json(status="canceled")), ok(task_json(id=OTHER_ID, status="running")))
    told = terminal.type("task", "cancel", TASK_ID, OTHER_ID, server=server)
    assert told.out == f"{TASK_ID}  canceled\n{OTHER_ID}  told to stop\n"


def test_retry_with_watch_shows_only_what_is_new(terminal: Terminal) -> None:
    server = FakeServer(
        ok(task_json(status="failed", seq=7)),
        ok(task_json()),
        event_stream(sse(event_json(8, "task.reopened"), event_json(9, "task.completed"))),
        httpx2.Response(204),
        ok(task_json(status="completed", result="x")),
    )
    told = terminal.type("task", "retry", TASK_ID, "--from", "scratch", "--watch", server=server)
    assert (told.code, told.out) == (0, "x\n")
    assert json.loads(server.requests[1].content) == {"from": "scratch"}
    assert server.requests[2].headers["last-event-id"] == "7"


def test_a_retry_from_a_step_says_which(terminal: Terminal) -> None:
    server = FakeServer(ok(task_json(status="failed")), ok(task_json()))
    assert terminal.type("task", "retry", TASK_ID, "--from-step", "3", server=server).code == 0
    assert json.loads(server.requests[1].content) == {"from": "step", "step": 3}


def test_get_of_a_waiting_task_shows_how_to_decide(terminal: Terminal) -> None:
    server = FakeServer(ok(task_json(status="waiting", waiting_for="input")), page(approval_json(allowed=["respond"])))
    told = terminal.type("task", "get", TASK_ID, server=server)
    assert told.code == 0
    assert f"ops-core approval respond {APPROVAL_ID}" in told.err
    assert server.requests[1].url.params.multi_items()[:2] == [("status", "pending"), ("task_id", TASK_ID)]


def test_get_of_a_task_that_waits_for_a_signal_names_the_one_it_waits_for(terminal: Terminal) -> None:
    log = [
        {**event_json(1, "signal.awaited", request={"name": "order"}), "step_key": "1/tool/1/signal/1"},
        event_json(2, "task.waiting", waiting_for="signal", keys=["1/tool/1/signal/1"]),
        {**event_json(3, "signal.received"), "step_key": "1/tool/1/signal/1"},
        {**event_json(4, "signal.awaited", request={"name": "payment"}), "step_key": "2/tool/1/signal/1"},
        event_json(5, "task.waiting", waiting_for="signal", keys=["2/tool/1/signal/1"]),
    ]
    server = FakeServer(ok(task_json(status="waiting", waiting_for="signal")), page(*log))
    told = terminal.type("task", "get", TASK_ID, server=server)
    assert told.err.splitlines() == ["waiting for signal", f"  ops-core task signal {TASK_ID} payment '{{}}'"]


def test_a_call_is_shown_with_its_arguments_also_where_they_cannot_be_edited(terminal: Terminal) -> None:
    asked = approval_json(message="Refund.", arguments={"amount": 80}, allowed=["approve", "reject"])
    server = FakeServer(ok(task_json(status="waiting", waiting_for="approval")), page(asked))
    assert '  refund({"amount": 80})\n' in terminal.type("task", "get", TASK_ID, server=server).err


def test_a_call_that_is_not_shown_whole_says_so(terminal: Terminal) -> None:
    asked = approval_json(message="Refund.", arguments={"note": "x" * 5_000})
    server = FakeServer(ok(task_json(status="waiting", waiting_for="approval")), page(asked))
    told = terminal.type("task", "get", TASK_ID, server=server)
    assert f"… (5,020 characters; all of it: ops-core approval get {APPROVAL_ID})" in told.err


def test_get_leaves_out_what_says_nothing(terminal: Terminal) -> None:
    told = terminal.type("task", "get", TASK_ID, server=FakeServer(ok(task_json(blocked=False, pending_children=2))))
    assert "blocked" not in told.out
    assert "pending_children" in told.out


def test_keys_and_limits_are_sent_with_a_submit(terminal: Terminal) -> None:
    server = FakeServer(httpx2.Response(201, json=task_json()))
    bounds = ["--concurrency-key", "acme", "--concurrency-limit", "3", "--rate", "acme=100/60", "--fairness-key", "a"]
    assert terminal.type("task", "submit", "assistant", "add", *bounds, server=server).code == 0
    assert json.loads(server.requests[0].content) == {
        "agent": "assistant",
        "goal": "add",
        "concurrency_key": "acme",
        "concurrency_limit": 3,
        "rate": {"key": "acme", "limit": 100, "per_seconds": 60.0},
        "fairness_key": "a",
    }


def test_a_rate_that_is_none_is_refused_before_anything_is_sent(terminal: Terminal) -> None:
    server = FakeServer(ok({}))
    told = terminal.type("task", "submit", "assistant", "add", "--rate", "fast", server=server)
    assert (told.code, server.requests) == (2, [])
    assert "--rate acme=100/60" in told.err


@pytest.mark.parametrize(("status", "code"), [("completed", 0), ("failed", 1), ("waiting", 4), ("running", 5)])
def test_wait_tells_how_it_ended(terminal: Terminal, status: str, code: int) -> None:
    task = ok(task_json(status=status, waiting_for="approval" if status == "waiting" else None))
    server = FakeServer(task, page(approval_json())) if status == "waiting" else FakeServer(task)
    assert terminal.type("task", "wait", TASK_ID, "--timeout", "0", server=server).code == code


def test_wait_tells_at_once_that_a_person_is_waited_for(terminal: Terminal) -> None:
    server = FakeServer(ok(task_json(status="waiting", waiting_for="approval")), page(approval_json()))
    told = terminal.type("task", "wait", TASK_ID, server=server)
    assert (told.code, "prefer" in server.requests[0].headers) == (4, False)
    assert f"ops-core approval approve {APPROVAL_ID}" in told.err


@pytest.mark.parametrize("waiting_for", ["children", "timer"])
def test_a_wait_that_is_over_while_nobody_has_to_act_is_a_time_out(terminal: Terminal, waiting_for: str) -> None:
    server = FakeServer(ok(task_json(status="waiting", waiting_for=waiting_for)))
    assert terminal.type("task", "wait", TASK_ID, "--timeout", "0", server=server).code == 5


@pytest.mark.parametrize(
    ("answer", "code", "said"),
    [
        (
            problem(404, "agent_not_found", "There is no agent x."),
            2,
            "error: There is no agent x.\ntry: ops-core agent list",
        ),
        (problem(401, "unauthenticated", "A key."), 2, "error: A key.\ntry: set OPS_CORE_API_KEY to the server's key"),
        (problem(409, "task_finished", "It has finished."), 1, "error: It has finished.\ntry: ops-core task retry"),
        (problem(503, "store_unavailable", "No database."), 5, "error: No database.\ntry: ops-core doctor"),
        (httpx2.ConnectError("refused"), 5, "error: no server answers at http://server: refused\ntry: start one"),
        (httpx2.Response(200, text="<html>"), 5, "error: "),
    ],
)
def test_every_refusal_says_what_to_try(
    terminal: Terminal, answer: httpx2.Response | Exception, code: int, said: str
) -> None:
    told = terminal.type("task", "submit", "x", "add", server=FakeServer(answer))
    assert told.code == code
    assert told.out == ""
    assert told.err.startswith(said)


def test_each_wrong_field_has_its_line(terminal: Terminal) -> None:
    answer = problem(422, "invalid_input", "No.", errors=[{"pointer": "/priority", "detail": "must be at most 9"}])
    told = terminal.type("task", "submit", "x", "add", "--priority", "99", server=FakeServer(answer))
    assert "\n  /priority: must be at most 9\n" in told.err


def test_a_reader_that_gives_up_hears_that_the_task_goes_on(terminal: Terminal) -> None:
    server = FakeServer(httpx2.Response(201, json=task_json()), httpx2.ReadTimeout("silence"))
    told = terminal.type("task", "run", "assistant", "add", "--give-up-after", "0", server=server)
    assert told.code == 5
    assert "the task goes on" in told.err


def test_ctrl_c_leaves_the_task_and_says_how_to_see_it_again(terminal: Terminal) -> None:
    def interrupted(request: httpx2.Request) -> httpx2.Response:
        raise KeyboardInterrupt

    told = terminal.type(
        "task", "run", "assistant", "add", server=FakeServer(httpx2.Response(201, json=task_json()), interrupted)
    )
    assert told.code == 130
    assert f"the task goes on; see it again with: ops-core task watch {TASK_ID}" in told.err


def test_a_problem_that_the_detail_tells_is_not_told_twice(terminal: Terminal) -> None:
    answer = problem(422, "invalid_input", "`goal` is empty.", errors=[{"pointer": "/goal", "detail": "is empty"}])
    assert terminal.type("task", "submit", "x", "add", server=FakeServer(answer)).err.count("is empty") == 1


@pytest.mark.parametrize(
    "command",
    [
        ("submit", "assistant", "bytes \udcff of no encoding"),
        ("run", "assistant", '{"goal": "half \\ud800"}'),
        ("submit", "assistant", "2 + 2", "--idempotency-key", "\udcff"),
        ("list", "--agent", "\udcff"),
    ],
)
def test_what_is_no_text_is_refused_in_a_line(terminal: Terminal, command: tuple[str, ...]) -> None:
    server = FakeServer(ok(task_json()))
    told = terminal.type("task", *command, server=server)
    assert (told.code, server.requests) == (2, [])
    assert "cannot be written as JSON in UTF-8" in told.err


def test_text_is_shown_while_it_is_written_and_the_events_on_lines_of_their_own(terminal: Terminal) -> None:
    pieces = [
        f"event: text\ndata: {json.dumps({'step_key': '1/llm', 'epoch': epoch, 'offset': offset, 'text': text})}\n\n"
        for epoch, offset, text in ((1, 0, "Hel"), (1, 3, "lo \x1b[2J"), (2, 0, "Anew"))
    ]
    stream = sse(event_json(1, "task.submitted")) + "".join(pieces) + sse(event_json(2, "task.completed"))
    server = FakeServer(
        ok(task_json()), event_stream(stream), httpx2.Response(204), ok(task_json(status="completed", result="Anew"))
    )
    told = terminal.type("task", "run", "assistant", "add", "--stream", server=server)
    assert body_of(server)["stream"] is True
    assert told.out == "Anew\n"
    lines = told.err.splitlines()
    assert [line for line in lines if "task." not in line][1:] == ["Hello \\x1b[2J", "Anew"]
    assert "task.completed" in lines[-1]


def test_text_for_programs_is_one_object_a_line(terminal: Terminal) -> None:
    body = {"step_key": "1/llm", "epoch": 1, "offset": 0, "text": "Hi"}
    stream = f"event: text\ndata: {json.dumps(body)}\n\n" + sse(event_json(1, "task.completed"))
    server = FakeServer(
        ok(task_json()), event_stream(stream), httpx2.Response(204), ok(task_json(status="completed", result="Hi"))
    )
    told = terminal.type("task", "run", "assistant", "add", "--stream", "-o", "jsonl", server=server)
    assert json.loads(told.out.splitlines()[0]) == {"type": "text", **body}
