"""Reading the `mcpServers` JSON: what is accepted, what is expanded, and how each mistake is named."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from agentkit.errors import ConfigurationError
from agentkit.mcp import HttpServer, McpServer, StdioServer, load_mcp_servers, read_mcp_file

ENVIRONMENT = {"HOME": "/home/me", "TOKEN": "t0ken", "EMPTY": ""}


def load(definition: Any, environment: dict[str, str] | None = None) -> McpServer:
    return load_mcp_servers({"mcpServers": {"files": definition}}, environment or ENVIRONMENT)["files"]


def test_a_stdio_server_is_read_with_all_its_fields() -> None:
    definition = {"command": "npx", "args": ["-y", "pkg"], "env": {"A": "1"}, "cwd": "/srv", "timeout": 30}
    assert load(definition) == StdioServer(
        name="files", command="npx", args=("-y", "pkg"), env={"A": "1"}, cwd="/srv", timeout_seconds=30.0
    )


@pytest.mark.parametrize("kind", [{"type": "http"}, {"type": "streamable-http"}, {}])
def test_a_remote_server_is_read_with_all_its_fields(kind: dict[str, str]) -> None:
    definition = {**kind, "url": "https://example.com/mcp", "headers": {"X": "1"}}
    assert load(definition) == HttpServer(name="files", url="https://example.com/mcp", headers={"X": "1"})


def test_the_servers_key_of_vs_code_is_accepted() -> None:
    document = {"servers": {"files": {"type": "stdio", "command": "npx"}}, "inputs": []}
    assert load_mcp_servers(document, {}) == {"files": StdioServer(name="files", command="npx")}


def test_other_settings_in_the_same_file_are_left_alone() -> None:
    assert load_mcp_servers({"mcpServers": {}, "globalShortcut": "F1"}, {}) == {}


def test_what_desktop_clients_add_to_a_server_is_passed_over() -> None:
    definition = {"command": "npx", "autoApprove": ["read"], "alwaysAllow": [], "description": "d", "disabled": False}
    assert load(definition) == StdioServer(name="files", command="npx")


def test_a_disabled_server_is_left_out_and_its_variables_unread() -> None:
    document = {"mcpServers": {"files": {"command": "${UNSET}", "disabled": True}}}
    assert load_mcp_servers(document, {}) == {}


@pytest.mark.parametrize(
    ("written", "expanded"),
    [
        ("${TOKEN}", "t0ken"),
        ("${env:TOKEN}", "t0ken"),
        ("Bearer ${TOKEN}!", "Bearer t0ken!"),
        ("${TOKEN}${HOME}", "t0ken/home/me"),
        ("${UNSET:-spare}", "spare"),
        ("${UNSET:-}", ""),
        ("${env:UNSET:-spare}", "spare"),
        ("${EMPTY:-spare}", "spare"),
        ("${TOKEN:-spare}", "t0ken"),
        ("[${EMPTY}]", "[]"),
        ("$TOKEN costs $5", "$TOKEN costs $5"),
    ],
)
def test_variables_are_expanded(written: str, expanded: str) -> None:
    server = load({"command": "npx", "args": [written]})
    assert isinstance(server, StdioServer)
    assert server.args == (expanded,)


def test_a_value_is_expanded_once_only() -> None:
    server = load({"command": "npx", "args": ["${A}"]}, {"A": "${B}"})
    assert isinstance(server, StdioServer)
    assert server.args == ("${B}",)


def test_every_field_of_a_stdio_server_is_expanded() -> None:
    definition = {"command": "${HOME}/run", "args": ["${HOME}"], "env": {"T": "${TOKEN}"}, "cwd": "${HOME}"}
    assert load(definition) == StdioServer(
        name="files", command="/home/me/run", args=("/home/me",), env={"T": "t0ken"}, cwd="/home/me"
    )


def test_every_field_of_a_remote_server_is_expanded() -> None:
    definition = {"url": "https://${HOST:-example.com}/mcp", "headers": {"Authorization": "Bearer ${TOKEN}"}}
    assert load(definition) == HttpServer(
        name="files", url="https://example.com/mcp", headers={"Authorization": "Bearer t0ken"}
    )


@pytest.mark.parametrize(
    ("definition", "said"),
    [
        ({"command": "${NOPE}"}, "command: variable NOPE is not set; set it, or write ${NOPE:-default}"),
        ({"command": "x", "args": ["a", "${NOPE}"]}, "args[1]: variable NOPE is not set"),
        ({"command": "x", "env": {"A": "${NOPE}"}}, "env.A: variable NOPE is not set"),
        ({"command": "x", "cwd": "${NOPE}"}, "cwd: variable NOPE is not set"),
        ({"url": "https://x/${env:NOPE}"}, "url: variable NOPE is not set"),
        ({"url": "https://x", "headers": {"A": "${NOPE}"}}, "headers.A: variable NOPE is not set"),
        ({"command": "${input:key}"}, "command: ${input:key} cannot be expanded"),
        ({"command": "${open"}, "command: ${open cannot be expanded"),
        ({}, "needs either command or url"),
        ({"args": ["x"]}, "needs either command or url"),
        ({"command": "x", "url": "https://x"}, "has both command and url"),
        ("npx", "must be an object"),
        (
            {"command": "x", "argz": []},
            "argz: is not a key of a stdio server; known: args, command, cwd, disabled, env",
        ),
        ({"command": "x", "headers": {}}, "headers: is not a key of a stdio server"),
        ({"url": "https://x", "env": {}}, "env: is not a key of an HTTP server"),
        ({"command": "x", "type": "http"}, "type: is 'http'; with command it is 'stdio'"),
        ({"url": "https://x", "type": "stdio"}, "type: is 'stdio'; with url it is 'http'"),
        ({"url": "https://x", "type": "sse"}, "type: sse is no longer a transport of MCP"),
        ({"url": "https://x", "type": ["http"]}, "type: is ['http']"),
        ({"command": ""}, "command: must be a text that is not empty"),
        ({"command": ["npx"]}, "command: must be a text"),
        ({"command": "a\0b"}, "command: must not contain a NUL"),
        ({"command": "x", "args": "-y"}, "args: must be a list of texts"),
        ({"command": "x", "args": [1]}, "args: must be a list of texts"),
        ({"command": "x", "env": {"PORT": 80}}, "env.PORT: must be a text (numbers and booleans in quotes)"),
        ({"command": "x", "env": {"A=B": "1"}}, "env: 'A=B' is not a name"),
        ({"command": "x", "env": []}, "env: must be an object of texts by name"),
        ({"url": "https://x", "headers": {"A": "a\r\nB: b"}}, "headers.A: must be printable ASCII on one line"),
        ({"url": "https://x", "headers": {"A B": "a"}}, "headers: 'A B' is not a name"),
        ({"url": "ftp://x"}, "url: must be an http:// or https:// address"),
        ({"url": "https://"}, "url: must be an http:// or https:// address"),
        ({"url": "https://x:99999/"}, "url: must be an http:// or https:// address"),
        ({"command": "x", "disabled": "yes"}, "disabled: must be true or false"),
        ({"command": "x", "timeout": 60_000}, "timeout: must be seconds, more than 0 and at most 3600, not 60000"),
        ({"command": "x", "timeout": 0}, "timeout: must be seconds"),
        ({"command": "x", "timeout": True}, "timeout: must be seconds"),
        ({"command": "x", "timeout": float("nan")}, "timeout: must be seconds"),
        ({"command": "x", "timeout": "60"}, "timeout: must be seconds"),
    ],
)
def test_a_mistake_is_named_with_its_server_and_field(definition: Any, said: str) -> None:
    with pytest.raises(ConfigurationError) as raised:
        load(definition)
    assert str(raised.value).startswith("MCP server 'files'")
    assert said in str(raised.value)


@pytest.mark.parametrize("name", ["", "a.b", "my server", "x" * 65, "größe"])
def test_a_name_that_cannot_begin_a_tools_name_is_refused(name: str) -> None:
    with pytest.raises(ConfigurationError, match="a name is 1 to 64 letters"):
        load_mcp_servers({"mcpServers": {name: {"command": "x"}}}, {})


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ({}, "has no mcpServers"),
        ({"mcpServer": {}}, "has no mcpServers"),
        ({"mcpServers": {}, "servers": {}}, "both mcpServers and servers"),
        ({"mcpServers": []}, "mcpServers must be an object"),
    ],
)
def test_a_document_without_servers_is_refused(document: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        load_mcp_servers(document, {})


def test_secrets_are_not_shown() -> None:
    stdio = StdioServer(name="a", command="npx", args=("--key=hidden-1",), env={"KEY": "hidden-2"})
    http = HttpServer(name="b", url="https://me:hidden-3@x.org/hidden-4?k=hidden-5", headers={"Auth": "hidden-6"})
    assert "hidden" not in repr([stdio, http])
    assert "KEY" in repr(stdio)
    assert "https://x.org" in repr(http)


def test_a_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / "mcp.json"
    path.write_text(json.dumps({"mcpServers": {"files": {"command": "npx"}}}), encoding="utf-8-sig")
    assert read_mcp_file(path, {}) == {"files": StdioServer(name="files", command="npx")}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b'{\n  "mcpServers": {\n    "a": }\n}', "mcp.json, line 3, column 10: Expecting value"),
        (b"", "mcp.json, line 1, column 1"),
        (b"[]", "must hold a JSON object"),
        (b"\xff\xfe", "is not UTF-8 text"),
        (b'{"mcpServers": {"a": {"command": "x"}, "a": {"command": "y"}}}', "the key 'a' is there twice"),
        (b'{"mcpServers": {"a": {"command": "${NOPE}"}}}', "mcp.json: MCP server 'a', command: variable NOPE"),
        (b" " * 1_000_001, "at most 1000000 are read"),
        (b"[" * 100_000, "mcp.json: "),
    ],
)
def test_a_mistake_in_a_file_is_named_with_the_file(tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / "mcp.json"
    path.write_bytes(content)
    with pytest.raises(ConfigurationError) as raised:
        read_mcp_file(path, {})
    assert said in str(raised.value)
    assert "mcp.json" in str(raised.value)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"cannot read .*nowhere\.json: No such file"):
        read_mcp_file(tmp_path / "nowhere.json", {})
