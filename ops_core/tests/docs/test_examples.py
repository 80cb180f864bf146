"""Every example runs, and does what it says."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from ops_core.tests.docs.conftest import documented_environment
from ops_core.tests.docs.pages import EXAMPLES, ROOT, blocks_of
from ops_core.tests.journeys.system import System, until

#: Beginnings of the last line that each program prints.
ALONE = {
    "standalone_agent.py": "Finished(answer='17 * 23 = 391'",
    "tools_from_functions.py": "refunds made: 1, with the key refund-42:2/tool/1",
    "agentkit_approval.py": "Finished(answer='The refund is on its way.', output=None)",
    "mcp_agent.py": "Finished(answer='The handbook (widget-prices) says: Widget Pro: 49.00 EUR. So 49.00 * 3 = 147.'",
}
BESIDE = {"rest_submit_and_wait.py": "17 * 23 = 391", "grpc_watch.py": "17 * 23 = 391"}


def test_every_example_has_a_test_and_a_line_in_the_list() -> None:
    there = {path.name for path in EXAMPLES.iterdir() if path.name != "README.md" and not path.name.startswith("__")}
    assert there == {*ALONE, *BESIDE, "own_agent", "plugin", "approvals"}
    listed = (EXAMPLES / "README.md").read_text(encoding="utf-8")
    assert [name for name in there if name not in listed] == []


@pytest.mark.parametrize(("name", "last_line"), ALONE.items())
def test_an_example_runs_alone(name: str, last_line: str, tmp_path: Path) -> None:
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(("OPS_CORE_", "AGENTKIT_"))}
    assert last_line_of(name, folder=tmp_path, environment=inherited).startswith(last_line)


@pytest.mark.parametrize(("name", "last_line"), BESIDE.items())
def test_an_example_runs_beside_a_system(name: str, last_line: str, documented_system: System, tmp_path: Path) -> None:
    addresses = {
        "OPS_CORE_URL": documented_system.url,
        "GRPC_ADDRESS": f"127.0.0.1:{documented_system.grpc_port}",
    }
    assert last_line_of(name, folder=tmp_path, environment=documented_system.environment | addresses) == last_line


def test_a_refused_submit_is_told_in_one_line(documented_system: System, tmp_path: Path) -> None:
    environment = documented_system.environment | {"OPS_CORE_URL": documented_system.url}
    done = run("rest_submit_and_wait.py", " ", folder=tmp_path, environment=environment)
    assert done.returncode == 1
    assert done.stderr.startswith("invalid_input: `goal` must not be empty")


def test_the_own_agent_answers_from_its_own_server(tmp_path: Path) -> None:
    shutil.copytree(EXAMPLES / "own_agent", tmp_path, dirs_exist_ok=True)
    with System(tmp_path) as system:
        system.environment |= {**documented_environment(), "PYTHON": sys.executable}
        checked = system.run("agent", "check", "-o", "json")
        assert checked.returncode == 0, checked.stderr
        assert "handbook.read" in checked.stdout
        process = system.start("up", "up")
        system.wait_ready(process)
        answered = system.run("task", "run", "shopkeeper", "How much do 3 Widget Pro cost?")
        assert answered.stdout.strip().endswith("So 49.00 * 3 = 147."), answered.stderr
        refused = system.run("task", "run", "shopkeeper", "x" * 600)
        assert refused.returncode == 2
        assert process.stop() == 0


# It starts two servers and seven commands, each a Python of its own.
@pytest.mark.timeout(300)
def test_the_commands_of_the_approvals_example_walk_through_one(tmp_path: Path) -> None:
    """As its page shows them, with the server stopped and started in between."""
    example = EXAMPLES / "approvals"
    shutil.copytree(example, tmp_path, dirs_exist_ok=True)
    _, asks, decides = blocks_of(example / "README.md")
    with System(tmp_path) as system:
        system.environment |= {**documented_environment(), "PYTHON": sys.executable, "OPS_CORE_URL": system.url}
        for block in (asks, decides):
            process = system.start("up", "up")
            system.wait_ready(process)
            if block is asks:
                run_commands(block.code, system)
                until(lambda: asks_somebody(system), what="the agent asks")
            else:
                told = run_commands(block.code, system)
            assert process.stop() == 0
    made = [json.loads(line) for line in (tmp_path / "refunds.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [(each["amount"], each["customer"]) for each in made] == [(40, "Ada"), (60, "Ada")]
    assert "60" in told


def asks_somebody(system: System) -> bool:
    with system.client() as client:
        return any(client.approvals.list())


def run_commands(code: str, system: System) -> str:
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", code],
        cwd=system.directory,
        env=system.environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_tools_of_the_plugin_are_found_by_their_entry_point(tmp_path: Path) -> None:
    """As `pip install` would leave it behind: the module, and its metadata with the entry point."""
    shutil.copy(EXAMPLES / "plugin/acme_tools.py", tmp_path)
    metadata = tmp_path / "acme_tools-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: acme-tools\nVersion: 1.0\n", encoding="utf-8")
    (metadata / "entry_points.txt").write_text(f"[agentkit.tools]\n{entry_point()}\n", encoding="utf-8")
    program = (
        "import asyncio\n"
        "from ops_core.runner.tool_catalog import load_tool_catalog\n"
        "catalog = load_tool_catalog()\n"
        "assert not catalog.broken, catalog.broken\n"
        "print({'reserve', 'stock'} <= {spec.name for spec in asyncio.run(catalog.specs())})\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), str(ROOT)])},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "True\n"


def entry_point() -> str:
    text = (EXAMPLES / "plugin/pyproject.toml").read_text(encoding="utf-8")
    line: str = text.partition('[project.entry-points."agentkit.tools"]\n')[2].splitlines()[0]
    return line.replace('"', "")


def last_line_of(name: str, *, folder: Path, environment: Mapping[str, str]) -> str:
    done = run(name, folder=folder, environment=environment)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip().splitlines()[-1]


def run(name: str, *arguments: str, folder: Path, environment: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(EXAMPLES / name), *arguments],
        cwd=folder,
        env={**environment, "PYTHONWARNINGS": "error"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
