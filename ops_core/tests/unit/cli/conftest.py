"""A terminal for each test."""

from __future__ import annotations

import pytest

from ops_core.tests.unit.cli.terminal import Terminal


@pytest.fixture
def terminal(capsys: pytest.CaptureFixture[str]) -> Terminal:
    return Terminal(capsys)
