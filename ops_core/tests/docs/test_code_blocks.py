"""Programs and commands on the pages are run.

The comment above a block says how: `run: alone` in an empty folder, `run: with-system` beside a running `ops-core up`,
`not run: why`. A block marked `output` is what the one before it prints.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from ops_core.tests.docs.conftest import documented_environment
from ops_core.tests.docs.pages import Block, blocks, command_lines
from ops_core.tests.free_port import free_port
from ops_core.tests.journeys.system import System, until
from ops_core.tests.rabbitmq_node import RabbitmqNode

PROGRAMS = [block for block in blocks() if block.language in {"python", "bash", "sh"}]
README_BLOCKS = {block.mark: block for block in PROGRAMS if block.page.name == "README.md"}


def run_as(word: str) -> list[Block]:
    return [block for block in PROGRAMS if block.marked("run") == word]


@pytest.mark.parametrize("block", PROGRAMS, ids=lambda block: block.id)
def test_every_program_says_how_it_is_run_or_why_it_is_not(block: Block) -> None:
    how = block.marked("run")
    assert (
        how in {"alone", "with-system"}
        or block.marked("not run")
        or block.marked("file")
        or block.mark in {"environment of the processes", "processes"}
    ), f"{block.id} is marked {block.mark!r}"


@pytest.mark.parametrize("block", run_as("alone"), ids=lambda block: block.id)
def test_a_program_that_needs_nothing_runs(block: Block, tmp_path: Path) -> None:
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(("OPS_CORE_", "AGENTKIT_"))}
    run(block, block.code, folder=tmp_path, environment=inherited | documented_environment() | own_ports())


@pytest.mark.parametrize("block", run_as("with-system"), ids=lambda block: block.id)
def test_a_program_beside_a_running_system_runs(block: Block, documented_system: System) -> None:
    if "curl" in block.code and shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    code = re.sub(r"http://(?:127\.0\.0\.1|localhost):8000", documented_system.url, block.code)
    code = re.sub(r"\b(?:127\.0\.0\.1|localhost):50051", f"127.0.0.1:{documented_system.grpc_port}", code)
    environment = documented_system.environment | {"OPS_CORE_URL": documented_system.url}
    run(block, code, folder=documented_system.directory, environment=environment)


@pytest.mark.services
def test_the_processes_of_the_readme_run_a_task(
    empty_postgres_url: str, rabbitmq_node: RabbitmqNode, shown_files: Path
) -> None:
    """The commands are read from the page: they start, find each other, and do the work."""
    urls = {"database_url": empty_postgres_url, "broker_url": rabbitmq_node.new_vhost()}
    setup, starts = README_BLOCKS["environment of the processes"], README_BLOCKS["processes"]
    assert set(re.findall(r"^export OPS_CORE_(\w+)=", setup.code, re.MULTILINE)) == {name.upper() for name in urls}
    with System(shown_files, **urls) as system:
        system.environment |= documented_environment()
        for words in command_lines(setup):
            done = system.run(*words)
            assert done.returncode == 0, done.stderr
        started = [system.start(words[0], *words) for words in command_lines(starts)]
        system.wait_ready(started[0])
        with system.client() as client:
            task = client.tasks.submit("support", "What is the refund policy?")
            ended = client.tasks.wait(task.id, timeout_seconds=60)
        assert ended.status == "completed", ended.error
        until(lambda: all(process.popen.poll() is None for process in started), what="every process still runs")
        assert [process.stop() for process in reversed(started)] == [0] * len(started)


def own_ports() -> dict[str, str]:
    port, grpc_port = free_port(), free_port()
    return {
        "OPS_CORE_PORT": str(port),
        "OPS_CORE_GRPC_PORT": str(grpc_port),
        "OPS_CORE_URL": f"http://127.0.0.1:{port}",
    }


def run(block: Block, code: str, *, folder: Path, environment: Mapping[str, str]) -> None:
    program = [sys.executable, "-c", code] if block.language == "python" else ["bash", "-euo", "pipefail", "-c", code]
    process = subprocess.Popen(
        program,
        cwd=folder,
        env={**environment, "PYTHONWARNINGS": "error"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # A block may start processes of its own, which must not outlive it.
        start_new_session=True,
    )
    try:
        out, err = process.communicate(timeout=90)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        out, err = process.communicate()
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    assert process.returncode == 0, f"{block.id} ended with {process.returncode}:\n{out}\n{err}"
    if block.output is not None:
        assert out.strip() == block.output.strip()
