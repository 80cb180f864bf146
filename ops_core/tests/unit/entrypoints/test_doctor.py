"""`doctor` says of each thing whether it is well, and what to do when it is not."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ops_core.tests.unit.entrypoints.conftest import Command


@pytest.fixture(autouse=True)
def no_demo_server(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ports that nobody else on this machine is likely to use."""
    monkeypatch.setenv("OPS_CORE_PORT", "0")
    monkeypatch.setenv("OPS_CORE_GRPC_PORT", "0")


def findings(command: Command) -> tuple[int, dict[str, list[tuple[str, str]]]]:
    told = command("doctor", "-o", "json")
    found: dict[str, list[tuple[str, str]]] = {}
    for one in json.loads(told.out):
        found.setdefault(one["check"], []).append((one["state"], one["detail"]))
        assert one["state"] == "ok" or one["advice"]
    return told.code, found


def test_a_fresh_folder_is_well(command: Command) -> None:
    code, found = findings(command)
    assert code == 0
    assert list(found) == ["python", "settings", "database", "broker", "agents", "model", "mcp", "ports"]
    assert {state for each in found.values() for state, _ in each} == {"ok"}
    assert found["mcp"][0][1].startswith("demo lists ")


def test_looking_makes_no_database(command: Command) -> None:
    findings(command)
    assert not Path(".ops-core").exists()


def test_everything_that_is_wrong_is_found_at_once(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("agents").mkdir()
    Path("agents/a.yaml").write_text("model: {provider: anthropic, name: claude}\nmcp_servers: [broken]\n")
    Path("agents/mcp.json").write_text('{"mcpServers": {"broken": {"command": "no-such-command-here"}}}')
    monkeypatch.setenv("OPS_CORE_HOST", "0.0.0.0")
    monkeypatch.setenv("OPS_CORE_DATABASE_URL", "sqlite:////dev/null/ops.db")
    monkeypatch.setenv("OPS_CORE_BROKER_URL", "amqp://user:hunter2@127.0.0.1:1/")
    code, found = findings(command)
    failed = {check: detail for check, each in found.items() for state, detail in each if state == "fail"}
    assert code == 1
    assert set(failed) == {"settings", "database", "broker", "model", "mcp"}
    assert "ANTHROPIC_API_KEY" in failed["model"]
    assert "broken" in failed["mcp"]
    assert "hunter2" not in str(found)


def test_a_database_without_schema_fails(command: Command) -> None:
    Path(".ops-core").mkdir()
    Path(".ops-core/ops.db").touch()
    _, found = findings(command)
    assert found["database"][0][0] == "fail"
    command("db", "upgrade")
    _, found = findings(command)
    assert found["database"][0][0] == "ok"


def test_settings_that_are_wrong_end_it(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPS_CORE_PORT", "http")
    code, found = findings(command)
    assert code == 1
    assert list(found) == ["python", "settings"]


def test_the_table_tells_what_to_try(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPS_CORE_PROT", "1")
    told = command("doctor")
    assert told.code == 0
    assert "warn: settings: OPS_CORE_PROT is set and no setting reads it\ntry: check its spelling" in told.err
