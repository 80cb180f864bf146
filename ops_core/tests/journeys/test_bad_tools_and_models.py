"""Tools and models that misbehave, through a whole system: each task ends as it should, and the next one runs."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from agentkit.tests.llm.http_server import Reply
from agentkit.tests.llm.script import Blank, Call, Fail, Fault, Say, Step
from ops_core.client.answers import Task
from ops_core.tests.journeys import naughty_tools
from ops_core.tests.journeys.conftest import ModelServer
from ops_core.tests.journeys.system import System

#: What a model is shown of a tool's answer, with the note that there was more.
TOOL_RESULT_BYTES = 64_000 + 200


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory, model_server: ModelServer) -> Iterator[System]:
    """`ops-core up` with a model that follows a script, and a plug-in and MCP servers that cannot be trusted."""
    directory = tmp_path_factory.mktemp("naughty")
    agents = directory / "agents"
    agents.mkdir()
    model = f"model: {{provider: openai-compatible, name: scripted, base_url: '{model_server.url}'}}\n"
    tools = "tools: [explode, leave, unserialisable, ten_megabytes, note]\n"
    (agents / "scripted.yaml").write_text(f"{model}{tools}limits: {{steps: 5, llm_seconds: 2}}\n")
    (agents / "no-such-command.yaml").write_text(f"{model}mcp_servers: [missing]\n")
    (agents / "dies-at-once.yaml").write_text(f"{model}mcp_servers: [short_lived]\n")
    servers = {
        "missing": {"command": str(directory / "no-such-program")},
        "short_lived": {"command": sys.executable, "args": ["-c", "raise SystemExit('I will not serve')"]},
    }
    (agents / "mcp.json").write_text(json.dumps({"mcpServers": servers}))
    naughty_tools.install(directory / "plugins")
    with System(directory, database_url=f"sqlite:///{directory}/ops.db") as system:
        system.environment |= {
            "AGENTKIT_LLM_API_KEY": model_server.vendors.key,
            "PYTHONPATH": str(directory / "plugins"),
            naughty_tools.CALLS_FILE: str(directory / "calls"),
        }
        system.wait_ready(system.start("up", "up"))
        yield system


class Ran:
    """One task of the scripted model, and what it left behind."""

    def __init__(self, system: System, model_server: ModelServer, agent: str, *steps: Step) -> None:
        asked = model_server.vendors.received
        model_server.vendors.then(*steps)
        with system.client() as client:
            submitted = client.tasks.submit(agent, "Do as you are told")
            self.task: Task = client.tasks.wait(submitted.id, timeout_seconds=60)
            self.events = list(client.tasks.past_events(submitted.id))
        #: Requests the model's server has seen, refused ones included.
        self.asked = model_server.vendors.received - asked
        assert not model_server.vendors.script_left, "the model was asked less often than the script expects"

    @property
    def outcome(self) -> tuple[str, str | None]:
        return self.task.status.value, self.task.error.code if self.task.error else None

    def observed(self) -> tuple[str, str]:
        """What the first tool call came to: the error's code, and what the model was told."""
        payload = next(e.payload for e in self.events if e.type == "tool.completed")
        return str(payload["error"]), str(payload["content"])


@pytest.fixture(autouse=True)
def the_next_task_runs(system: System, model_server: ModelServer) -> Iterator[None]:
    """Whatever a test has done: the same process serves the next task."""
    [up] = [process for process in system.processes if process.name == "up"]
    yield
    model_server.vendors.forget_script()
    with system.client() as client:
        done = client.tasks.wait(client.tasks.submit("assistant", "What is 6 * 7?").id, timeout_seconds=30)
    assert (done.status, up.popen.poll()) == ("completed", None), up.output()[-3000:]


@pytest.mark.parametrize(
    ("tool", "error", "told"),
    [
        ("explode", "tool_failed", "the tool fell over"),
        ("leave", "tool_failed", "bye"),
        ("unserialisable", "tool_failed", "JSON"),
        ("no_such_tool", "tool_unknown", "no_such_tool"),
    ],
)
def test_what_goes_wrong_in_a_tool_is_told_to_the_model_which_goes_on(
    system: System, model_server: ModelServer, tool: str, error: str, told: str
) -> None:
    ran = Ran(system, model_server, "scripted", Call(((tool, {}),)), Say("I see"))
    assert ran.outcome == ("completed", None)
    code, content = ran.observed()
    assert code == error
    assert told in content
    assert ran.task.attempt == 1


def test_ten_megabytes_from_a_tool_are_cut_before_they_are_kept_or_shown(
    system: System, model_server: ModelServer
) -> None:
    ran = Ran(system, model_server, "scripted", Call((("ten_megabytes", {}),)), Say("Long"))
    assert ran.outcome == ("completed", None)
    _, content = ran.observed()
    assert 1_000 < len(content.encode()) <= TOOL_RESULT_BYTES
    shown = next(m for m in model_server.vendors.requests[-1].body["messages"] if m["role"] == "tool")
    assert len(shown["content"]) <= TOOL_RESULT_BYTES
    assert "10000000 bytes" in content[-200:]


@pytest.mark.parametrize(("agent", "server"), [("no-such-command", "missing"), ("dies-at-once", "short_lived")])
def test_an_mcp_server_that_does_not_run_is_an_observation(
    system: System, model_server: ModelServer, agent: str, server: str
) -> None:
    ran = Ran(system, model_server, agent, Call(((f"{server}__anything", {}),)), Say("It is down"))
    assert ran.outcome == ("completed", None)
    code, content = ran.observed()
    assert code in {"tool_unknown", "tool_failed"}
    assert server in content


def test_a_model_that_answers_nothing_once_is_told_so_and_goes_on(system: System, model_server: ModelServer) -> None:
    ran = Ran(system, model_server, "scripted", Say(""), Say("Sorry"))
    assert ran.outcome == ("completed", None)
    assert "empty" in model_server.vendors.requests[-1].body["messages"][-1]["content"]


def test_a_model_that_goes_on_answering_nothing_fails_the_task(system: System, model_server: ModelServer) -> None:
    ran = Ran(system, model_server, "scripted", *[Say("")] * 4)
    assert ran.outcome == ("failed", "limit_corrections")
    assert ran.asked == 4


def test_an_answer_that_holds_no_message_at_all_is_asked_for_again(system: System, model_server: ModelServer) -> None:
    ran = Ran(system, model_server, "scripted", Blank(), Say("Here"))
    assert ran.outcome == ("completed", None)
    assert (ran.asked, ran.task.attempt) == (2, 2)


def test_a_model_that_never_comes_to_an_end_reaches_the_limit_on_steps(
    system: System, model_server: ModelServer
) -> None:
    ran = Ran(system, model_server, "scripted", *[Call((("note", {"what": "again"}),))] * 5)
    assert ran.outcome == ("failed", "limit_steps")
    assert (ran.asked, ran.task.attempt) == (5, 1)


def test_an_answer_that_never_ends_is_given_up_and_tried_again(system: System, model_server: ModelServer) -> None:
    ran = Ran(system, model_server, "scripted", Reply(body=b" " * 65536, endless=True), Say("Short"))
    assert ran.outcome == ("completed", None)
    assert ran.task.attempt == 2


def test_a_key_that_is_refused_fails_the_task_at_once(system: System, model_server: ModelServer) -> None:
    ran = Ran(system, model_server, "scripted", Fail(Fault.bad_key, "who are you?"))
    assert ran.outcome == ("failed", "llm_bad_credentials")
    assert (ran.asked, ran.task.attempt) == (1, 1)


def test_a_rate_limit_is_waited_for_as_long_as_the_provider_asks(system: System, model_server: ModelServer) -> None:
    ran = Ran(system, model_server, "scripted", Fail(Fault.rate_limited, headers={"retry-after": "2"}), Say("Hello"))
    assert ran.outcome == ("completed", None)
    assert (ran.asked, ran.task.attempt) == (2, 2)
    at = {event.type: event.at for event in ran.events}
    retried, started = at["task.retrying"], at["task.started"]
    assert retried is not None
    assert started is not None
    assert 2.0 <= (started - retried).total_seconds() < 6.0


def test_a_provider_that_fails_and_recovers_costs_attempts_and_no_finished_step(
    system: System, model_server: ModelServer
) -> None:
    failing = [Fail(Fault.server_error), Fail(Fault.unavailable)]
    ran = Ran(system, model_server, "scripted", Call((("note", {"what": "once"}),)), *failing, Say("At last"))
    assert ran.outcome == ("completed", None)
    assert (ran.asked, ran.task.attempt) == (4, 3)
    assert naughty_tools.calls_in(Path(system.environment[naughty_tools.CALLS_FILE])).count("once") == 1


def test_garbage_uses_up_the_attempts_and_says_what_was_wrong(system: System, model_server: ModelServer) -> None:
    garbage = Reply(body=b"<html>proxy error</html>", content_type="text/html")
    ran = Ran(system, model_server, "scripted", garbage, garbage, garbage)
    assert ran.outcome == ("failed", "llm_malformed_reply")
    assert (ran.asked, ran.task.attempt) == (3, 3)
    assert ran.task.error is not None
    assert ran.task.error.message
