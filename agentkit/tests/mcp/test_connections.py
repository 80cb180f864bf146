"""Connections to servers that are slow, broken, gone or stubborn: the error of one call, and no process left."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from agentkit.errors import BadToolArguments, ToolFailed, ToolTimeout, UnknownTool
from agentkit.mcp import McpConnections, McpTools, StdioServer
from agentkit.tests.mcp.conftest import Hostile, is_alive, until
from agentkit.tools.base import OnUnknown

MakeHostile = Callable[..., Hostile]


async def test_fifty_calls_share_one_connection_at_the_same_time(hostile: MakeHostile) -> None:
    server = hostile()
    # The server answers none of them before all have arrived.
    answers = await asyncio.gather(*(server.call("meet", {"calls": 50}) for _ in range(50)))
    assert len(set(answers)) == 50
    assert len(server.pids) == 1


async def test_a_call_carries_its_idempotency_key(hostile: MakeHostile) -> None:
    said = json.loads(await hostile().call("echo", {"a": "ä"}, idempotency_key="key-1"))
    assert said["arguments"] == {"a": "ä"}
    assert said["meta"]["agentkit/idempotency-key"] == "key-1"


async def test_a_slow_tool_is_a_timeout_of_its_call_only(hostile: MakeHostile) -> None:
    server = hostile()
    with pytest.raises(ToolTimeout, match=r"'bad' gave no answer within 0\.\d+ s"):
        await server.call("hang", timeout_seconds=0.3)
    assert await server.call("echo")
    assert len(server.pids) == 1


async def test_a_cancelled_caller_leaves_the_connection_to_the_others(hostile: MakeHostile) -> None:
    server = hostile()
    other = asyncio.create_task(server.call("meet", {"calls": 2}))
    leaving = asyncio.create_task(server.call("hang"))
    await until(lambda: server.connections.status()[0].connected)
    leaving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await leaving
    await asyncio.gather(other, server.call("meet", {"calls": 2}))
    assert len(server.pids) == 1


async def test_a_server_that_is_stuck_is_replaced(hostile: MakeHostile) -> None:
    server = hostile(connect_timeout_seconds=1.0, call_timeout_seconds=1.0)
    assert await server.call("echo")
    with pytest.raises(ToolTimeout):
        await server.call("hang", {"for_good": True}, timeout_seconds=0.5)
    assert await server.connections.tools("bad")
    assert await server.call("echo")
    assert len(server.pids) == 2


async def test_a_crash_in_a_call_fails_all_calls_under_way_and_the_next_reconnects(hostile: MakeHostile) -> None:
    server = hostile()
    assert await server.call("echo")
    neighbour = asyncio.create_task(server.call("hang"))
    await asyncio.sleep(0)
    with pytest.raises(ToolFailed, match="'bad' failed during the call: ended with exit code 7"):
        await server.call("crash")
    with pytest.raises(ToolFailed):
        await neighbour
    assert await server.call("echo")
    assert len(server.pids) == 2


async def test_a_killed_server_is_noticed_and_started_again_when_needed(hostile: MakeHostile) -> None:
    server = hostile()
    assert await server.call("echo")
    (before,) = server.connections.status()
    assert (before.connected, before.tools, before.last_error, before.pid) == (True, 11, None, server.pids[0])
    os.kill(server.pids[0], signal.SIGKILL)
    await until(lambda: not server.connections.status()[0].connected)
    (after,) = server.connections.status()
    assert (after.tools, after.last_error, after.pid) == (None, "was killed by signal 9", None)
    assert await server.call("echo")
    assert server.connections.status()[0].last_error is None
    assert len(server.pids) == 2


async def test_a_server_that_ends_at_once_is_quoted_and_tried_less_and_less_often(hostile: MakeHostile) -> None:
    server = hostile("dies-at-start", first_retry_seconds=0.3, longest_retry_seconds=100)
    with pytest.raises(ToolFailed, match="ended with exit code 1; its last words: no licence found"):
        await server.call("echo")
    with pytest.raises(ToolFailed, match=r"no licence found; it is tried again in 0\.\d s"):
        await server.call("echo")
    assert len(server.pids) == 1, "a call during the delay must not start the server"
    waits = []
    for starts in (2, 3):
        await until_started(server, starts)
        with pytest.raises(ToolFailed) as failed:
            await server.call("echo")
        waits += [float(found[1]) for found in [re.search(r"again in ([\d.]+) s", str(failed.value))] if found]
    assert 0.3 < waits[0] <= 0.6 < waits[1] <= 1.2


async def until_started(server: Hostile, starts: int) -> None:
    deadline = time.monotonic() + 10
    while len(server.pids) < starts:
        assert time.monotonic() < deadline
        with pytest.raises(ToolFailed):
            await server.call("echo")
        await asyncio.sleep(0.02)


async def test_an_outage_is_logged_once(hostile: MakeHostile, caplog: pytest.LogCaptureFixture) -> None:
    server = hostile("dies-at-start", first_retry_seconds=0.0)
    for _ in range(3):
        assert await McpTools(server.connections).specs() == []
    assert len(server.pids) == 3
    assert [record.levelno for record in caplog.records if record.levelno >= logging.WARNING] == [logging.WARNING]


async def test_a_server_that_never_answers_initialize_is_ended(hostile: MakeHostile) -> None:
    server = hostile("silent", connect_timeout_seconds=0.5)
    with pytest.raises(ToolFailed, match=r"gave no answer to initialize within 0\.5 s"):
        await server.call("echo")
    await until(lambda: not any(is_alive(pid) for pid in server.pids))


async def test_a_call_does_not_wait_longer_than_its_own_time_for_a_server_to_start(hostile: MakeHostile) -> None:
    server = hostile("silent", connect_timeout_seconds=30)
    with pytest.raises(ToolTimeout, match=r"was not ready within 0\.2 s"):
        await server.call("echo", timeout_seconds=0.2)


async def test_rubbish_on_stdout_and_stderr_is_passed_over(
    hostile: MakeHostile, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, logger="agentkit.mcp")
    assert await hostile("noisy").call("echo")
    assert capfd.readouterr() == ("", "")
    logged = [record.message for record in caplog.records if "stderr: a line on stderr" in record.message]
    assert 100 < len(logged) <= 200


async def test_a_server_that_answers_with_rubbish_is_said_to(hostile: MakeHostile) -> None:
    with pytest.raises(ToolTimeout, match="it printed 1 lines on stdout that are no MCP messages"):
        await hostile("rubbish-answers").call("echo", timeout_seconds=1.0)


async def test_a_line_without_end_ends_the_connection(hostile: MakeHostile) -> None:
    with pytest.raises(ToolFailed, match="sent a message longer than"):
        await hostile("endless-line").call("echo")


async def test_a_result_of_ten_megabytes_is_cut(hostile: MakeHostile) -> None:
    text = await hostile().call("big", {"characters": 10_000_000})
    assert len(text) < 101_000
    assert text.endswith("[cut: the result has 10000000 characters]")


async def test_an_error_of_the_tool_is_a_result(hostile: MakeHostile) -> None:
    result = await hostile().connections.call("bad", "error", {})
    assert (result.text, result.is_error) == ("the disk is full", True)


async def test_an_error_of_the_protocol_is_a_failed_call(hostile: MakeHostile) -> None:
    server = hostile()
    with pytest.raises(ToolFailed, match="'bad' failed the call: closed on Sundays"):
        await server.call("refuse")
    with pytest.raises(ToolFailed, match="an answer that is not MCP"):
        await server.call("unserialised")
    assert await server.call("echo")
    assert len(server.pids) == 1


@pytest.mark.parametrize("value", [float("nan"), "\ud800", {1, 2}])
async def test_arguments_that_are_no_json_are_refused_before_they_are_sent(hostile: MakeHostile, value: object) -> None:
    server = hostile()
    with pytest.raises(BadToolArguments):
        await server.call("echo", {"value": value})
    assert await server.call("echo")
    assert len(server.pids) == 1


async def test_only_text_is_shown_and_the_rest_is_named(hostile: MakeHostile) -> None:
    assert (await hostile().call("image")).splitlines() == [
        "look:",
        "[image, image/png, 300 bytes, not shown]",
        "[resource manual: file:///manual.txt]",
        "hello",
        "[resource file:///b, a/b, not shown]",
    ]


async def test_hints_of_the_server_decide_how_a_tool_is_journaled(hostile: MakeHostile) -> None:
    specs = {spec.name: spec for spec in await McpTools(hostile().connections).specs()}
    assert not specs["bad.echo"].side_effect
    assert (specs["bad.meet"].side_effect, specs["bad.meet"].on_unknown) == (True, OnUnknown.retry)
    assert (specs["bad.hang"].side_effect, specs["bad.hang"].on_unknown) == (True, OnUnknown.ask)


async def test_pages_of_tools_are_joined(hostile: MakeHostile) -> None:
    tools = await hostile("paged").connections.tools("bad")
    assert [tool.name for tool in tools] == ["page-0", "page-1", "page-2"]


async def test_a_listing_without_end_is_cut(hostile: MakeHostile) -> None:
    assert len(await hostile("many-tools").connections.tools("bad")) == 1000


@pytest.mark.parametrize("mode", ["no-schema", "odd-schema"])
async def test_a_listing_that_breaks_the_protocol_makes_the_server_unavailable(hostile: MakeHostile, mode: str) -> None:
    server = hostile(mode)
    with pytest.raises(ToolFailed, match=r"not available: sent an answer that is not MCP: tools\.1\.inputSchema"):
        await server.connections.tools("bad")
    assert await McpTools(server.connections).specs() == []


async def test_a_tool_that_appears_later_is_found(hostile: MakeHostile) -> None:
    server = hostile()
    await server.call("grow")
    assert "grown" in [tool.name for tool in await server.connections.tools("bad")]


async def test_a_child_gets_its_own_environment_and_none_of_ours(
    hostile: MakeHostile, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("A_SECRET_OF_THE_WORKER", "hunter2")
    environment = json.loads(await hostile().call("environment"))
    assert environment["ASKED_FOR"] == "1"
    assert "PATH" in environment
    assert "A_SECRET_OF_THE_WORKER" not in environment


@pytest.mark.parametrize("mode", ["willing", "stubborn", "grandchild"])
async def test_closing_ends_every_process_a_server_started(hostile: MakeHostile, mode: str) -> None:
    server = hostile(mode)
    assert await server.call("echo")
    assert all(is_alive(pid) for pid in server.pids)
    await server.connections.aclose()
    await until(lambda: not any(is_alive(pid) for pid in server.pids))
    await server.connections.aclose()
    with pytest.raises(ToolFailed, match="shutting down"):
        await server.call("echo")


async def test_closing_does_not_wait_for_a_server_that_is_still_starting(hostile: MakeHostile) -> None:
    server = hostile("silent", connect_timeout_seconds=60, call_timeout_seconds=60)
    starting = asyncio.create_task(server.call("echo"))
    await until(lambda: len(server.pids) == 1)
    began = time.monotonic()
    await server.connections.aclose()
    assert time.monotonic() - began < 10
    with pytest.raises(ToolFailed):
        await starting


_ABANDONING = """
import asyncio, sys
from agentkit.mcp import McpConnections, StdioServer

async def main():
    server = StdioServer(name="bad", command=sys.executable, args=tuple(sys.argv[1:]))
    connections = McpConnections({"bad": server})
    await connections.call("bad", "echo", {})
    raise SystemExit(3)  # closes nothing

asyncio.run(main())
"""


@pytest.mark.parametrize("mode", ["willing", "stubborn", "grandchild"])
def test_a_loop_that_is_cancelled_leaves_no_process_behind(tmp_path: Path, mode: str) -> None:
    pid_file = tmp_path / "pids"
    script = Path(__file__).parent / "hostile_server.py"
    command = [sys.executable, "-W", "error", "-c", _ABANDONING, str(script), mode, str(pid_file)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (ended.returncode, ended.stderr) == (3, "")
    pids = [int(line) for line in pid_file.read_text().split()]
    assert pids
    assert not any(is_alive(pid) for pid in pids)


async def test_a_server_ends_when_our_process_is_killed(tmp_path: Path) -> None:
    pid_file = tmp_path / "pids"
    script = Path(__file__).parent / "hostile_server.py"
    lasting = _ABANDONING.replace("raise SystemExit(3)", "await asyncio.sleep(1000)")
    command = [sys.executable, "-c", lasting, str(script), "willing", str(pid_file)]
    process = await asyncio.create_subprocess_exec(*command)
    try:
        await until(lambda: pid_file.exists() and pid_file.read_text().endswith("\n"), seconds=30)
    finally:
        process.kill()
        await process.wait()
    await until(lambda: not is_alive(int(pid_file.read_text())))


async def test_an_unknown_server_lists_those_there_are(hostile: MakeHostile) -> None:
    with pytest.raises(UnknownTool, match="there is no MCP server 'worse'; configured are: bad"):
        await hostile().connections.call("worse", "echo", {})


@pytest.mark.parametrize(
    ("command", "cwd", "said"),
    [
        ("no-such-command-anywhere", None, "the command 'no-such-command-anywhere' does not exist"),
        ("/", None, "the command '/' may not be executed"),
        (sys.executable, "/no/such/place", "the working directory '/no/such/place' does not exist"),
    ],
)
async def test_a_command_that_cannot_start_is_named(command: str, cwd: str | None, said: str) -> None:
    connections = McpConnections({"bad": StdioServer(name="bad", command=command, cwd=cwd)})
    with pytest.raises(ToolFailed, match=re.escape(said)):
        await connections.call("bad", "echo", {})
    await connections.aclose()
