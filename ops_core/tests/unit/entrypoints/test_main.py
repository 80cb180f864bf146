"""The console script: the tree of commands, its help, and how errors of the system look."""

from __future__ import annotations

import subprocess
import sys

import pytest

from ops_core import __version__
from ops_core.entrypoints.main import run
from ops_core.tests.unit.entrypoints.conftest import Command

#: Slow to import, so `--help` must not.
HEAVY = [
    *("agentkit", "alembic", "anthropic", "dramatiq", "fastapi", "google", "grpc", "httpx2", "jsonschema", "mcp"),
    *("openai", "pika", "psycopg", "pydantic_settings", "sqlalchemy", "sqlmodel", "structlog", "uvicorn", "yaml"),
]

TREE = {
    "": "agent api config db doctor housekeeper rpc task up version worker",
    "task": "cancel events get list retry run submit wait watch",
    "agent": "check get list",
    "api": "start",
    "rpc": "start",
    "worker": "start",
    "housekeeper": "start",
    "db": "check current upgrade",
    "config": "show",
}


@pytest.mark.parametrize("arguments", [[], ["task"], ["task", "run"], ["up"], ["worker", "start"], ["doctor"]])
def test_help_imports_nothing_that_is_slow_to_import(arguments: list[str]) -> None:
    script = (
        "import sys\nfrom ops_core.entrypoints.main import run\n"
        f"code = run({[*arguments, '--help']!r})\n"
        f"print('LOADED', code, [name for name in {HEAVY!r} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.splitlines()[-1] == "LOADED 0 []"


@pytest.mark.parametrize("group", TREE)
def test_every_command_is_in_the_tree_and_has_help(command: Command, group: str) -> None:
    for name in TREE[group].split():
        told = command(*group.split(), name, "--help")
        assert (told.code, told.err) == (0, "")
        assert "Usage:" in told.out


@pytest.mark.parametrize("arguments", [["version"], ["--version"]])
def test_prints_the_version(command: Command, arguments: list[str]) -> None:
    assert command(*arguments).out == __version__ + "\n"


def test_a_wrong_setting_is_one_line_that_names_its_variable(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPS_CORE_PORT", "http")
    told = command("up")
    assert told.code == 2
    assert "\n  OPS_CORE_PORT: Input should be a valid integer" in told.err
    assert "Traceback" not in told.err


def test_client_commands_ask_the_server_that_is_named(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPS_CORE_URL", "not a url")
    told = command("task", "list")
    assert told.code == 2
    assert "OPS_CORE_URL" in told.err


def test_a_command_that_ends_well_returns_zero() -> None:
    assert run(["version"]) == 0
