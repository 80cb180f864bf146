"""Connections to a SQLite file: the first ones to a new file come at once."""

from __future__ import annotations

import sqlite3
import threading
from pathlib import Path

import pytest

from ops_core.storage.sqlite.file import set_up


@pytest.fixture
def busy(tmp_path: Path) -> Path:
    """A new file that is no WAL yet."""
    return tmp_path / "ops.db"


def test_a_file_that_somebody_else_is_setting_up_is_waited_for(busy: Path) -> None:
    other = sqlite3.connect(busy, isolation_level=None, check_same_thread=False)
    other.execute("BEGIN EXCLUSIVE")
    # SQLite itself does not wait.
    ours = sqlite3.connect(busy, timeout=0, isolation_level=None)
    with pytest.raises(sqlite3.OperationalError, match="locked"):
        set_up(ours, busy_seconds=0)
    letting_go = threading.Timer(0.1, lambda: other.execute("COMMIT"))
    letting_go.start()
    set_up(ours, busy_seconds=20)
    letting_go.join()
    assert ours.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    ours.close()
    other.close()
