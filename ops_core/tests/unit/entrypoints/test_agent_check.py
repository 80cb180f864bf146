"""`agent check` names file, line and field of each mistake, and lists the tools that are found."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ops_core.tests.unit.entrypoints.conftest import Command

GOOD = "name: helper\ntools: [calculator, 'conv*']\n"


def write(name: str, text: str) -> None:
    Path("agents").mkdir(exist_ok=True)
    Path("agents", name).write_text(text)


def test_a_good_file_is_shown_with_its_model_and_tools(command: Command) -> None:
    write("helper.yaml", GOOD)
    told = command("agent", "check", "-o", "json")
    assert told.code == 0
    assert json.loads(told.out) == [
        {"name": "helper", "model": "demo/demo", "tools": ["calculator", "convert_units"], "problems": []}
    ]
    assert "helper" in command("agent", "check", "agents").out


def test_mistakes_are_named_with_file_line_and_field(command: Command) -> None:
    write("helper.yaml", "name: helper\nplaner: react\nlimits:\n  steps: 0\n")
    told = command("agent", "check")
    assert told.code == 2
    assert "agents/helper.yaml:2: planer: " in told.err
    assert "agents/helper.yaml:4: limits.steps: " in told.err


def test_what_is_missing_to_run_an_agent_is_told(command: Command) -> None:
    write("helper.yaml", GOOD + "model: {provider: openai, name: gpt-5}\n")
    write("other.yaml", "name: other\ntools: [calculater]\nmcp_servers: [nowhere]\n")
    told = command("agent", "check")
    assert told.code == 1
    assert "OPENAI_API_KEY" in told.err
    assert "'nowhere' is not configured" in told.err
    assert "no tool is named 'calculater'" in told.err


def test_a_folder_that_is_not_there_is_told(command: Command) -> None:
    told = command("agent", "check", "nowhere")
    assert told.code == 2
    assert "nowhere" in told.err


def test_agents_and_tools_that_rules_name_must_be_there(command: Command) -> None:
    write("helper.yaml", "agents: [writer, nobody]\n")
    write("writer.yaml", "tools: [calculator]\napprovals: [{tool: refund}]\n")
    told = command("agent", "check")
    assert told.code == 1
    assert "there is no agent 'nobody' to call; there are assistant, helper, writer" in " ".join(told.err.split())
    assert "approvals.0 is about the tool 'refund', which the agent does not have" in " ".join(told.err.split())


def test_other_agents_are_tools_that_rules_can_name(command: Command) -> None:
    write("helper.yaml", "agents: [assistant]\napprovals: [{tool: agent.*}]\n")
    told = command("agent", "check", "-o", "json")
    assert told.code == 0
    assert json.loads(told.out)[0]["tools"] == ["agent.assistant"]


def test_what_installed_packages_offer_is_listed_and_what_is_broken_is_said(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed = tmp_path / "site" / "acme-1.2.dist-info"
    installed.mkdir(parents=True)
    (installed / "METADATA").write_text("Metadata-Version: 2.1\nName: acme\nVersion: 1.2\n")
    (installed / "entry_points.txt").write_text(
        "[agentkit.tools]\ngood = acme_good:look\nbad = acme_bad:look\n[agentkit.llms]\nmodel = acme_good:look\n"
    )
    (tmp_path / "site" / "acme_good.py").write_text("def look(at: str) -> str:\n    return at\n")
    (tmp_path / "site" / "acme_bad.py").write_text("raise SystemExit('no')\n")
    monkeypatch.syspath_prepend(tmp_path / "site")
    write("helper.yaml", "name: helper\ntools: [look]\n")

    told = command("agent", "check")

    said = " ".join(told.err.split())
    assert told.code == 0
    assert "plug-in agentkit.tools good = acme_good:look (acme 1.2)" in said
    assert "plug-in agentkit.llms model" in said
    assert "broken plug-in bad (acme 1.2) is skipped: SystemExit: no" in said
