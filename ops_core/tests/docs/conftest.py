"""A running system for the documentation's commands: `ops-core up`, with every file that the pages show."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ops_core.tests.docs.pages import blocks
from ops_core.tests.journeys.system import System

#: Of no page: an agent whose model takes a second for each answer.
SLOW = "{name: slow, model: {provider: demo, name: 'demo:slow'}, tools: [calculator], mcp_servers: [demo]}"


@pytest.fixture(scope="session")
def shown_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with every file that the pages show (`<!-- file: path -->`)."""
    folder = tmp_path_factory.mktemp("docs")
    shown: dict[str, str] = {}
    for block in blocks():
        if name := block.marked("file"):
            assert shown.setdefault(name, block.code) == block.code, f"{block.id} shows another {name}"
    for name, text in shown.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return folder


@pytest.fixture(scope="session")
def documented_system(shown_files: Path) -> Iterator[System]:
    """The system as the pages describe it, on free ports."""
    with System(shown_files) as system:
        system.environment |= documented_environment()
        (shown_files / "agents/slow.yaml").write_text(SLOW, encoding="utf-8")
        process = system.start("up", "up")
        system.wait_ready(process)
        yield system
        process.stop()


def documented_environment() -> dict[str, str]:
    """What the pages take to be set: the console script on the path, and the variables of their MCP servers."""
    scripts = Path(sys.executable).parent
    return {"PATH": f"{scripts}{os.pathsep}{os.environ['PATH']}", "TICKETS_TOKEN": "not-a-real-one", "NO_COLOR": "1"}
