"""Commands run in a folder and an environment of their own."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from ops_core.entrypoints.main import run
from ops_core.tests.unit.cli.terminal import Told

Command = Callable[..., Told]


@pytest.fixture(autouse=True)
def own_place(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """An empty folder, and no variable that a setting or a model reads."""
    monkeypatch.chdir(tmp_path)
    for name in list(os.environ):
        if name.startswith(("OPS_CORE_", "AGENTKIT_")) or name.endswith("_API_KEY"):
            monkeypatch.delenv(name)
    for name in ("DATABASE_URL", "AMQP_URL", "CLOUDAMQP_URL", "PORT"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str]) -> Command:
    """Runs one command line to its end."""

    def type_in(*arguments: str) -> Told:
        code = run(arguments)
        captured = capsys.readouterr()
        return Told(code, captured.out, captured.err)

    return type_in
