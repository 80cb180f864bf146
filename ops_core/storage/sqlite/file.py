"""Connections to a SQLite file, each set up the same way."""

from __future__ import annotations

import sqlite3
import time
from pathlib import Path

from ops_core.errors import ConfigurationInvalid

#: WAL lets readers go on while one writes; FULL syncs each commit, so that what was answered survives a power cut.
#: The limit is for what a burst has left of the log: after a checkpoint the file is cut back to it.
PRAGMAS = (
    "PRAGMA journal_mode=WAL",
    "PRAGMA synchronous=FULL",
    "PRAGMA foreign_keys=ON",
    "PRAGMA journal_size_limit=67108864",
)


#: Between two tries to set up a connection.
_AGAIN_SECONDS = 0.01


def set_up(connection: sqlite3.Connection, *, busy_seconds: float) -> None:
    """What every connection begins with. The first ones to a new file switch it to WAL, and of two that do so at once
    SQLite refuses one as busy without waiting at all, whatever time-out it was given: it is tried again for so long.

    Raises:
        sqlite3.Error: the file stays busy, or is no database.
    """
    give_up_at = time.monotonic() + busy_seconds
    for pragma in PRAGMAS:
        while True:
            try:
                connection.execute(pragma)
                break
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > give_up_at:
                    raise
            time.sleep(_AGAIN_SECONDS)


def make_folder(path: Path) -> None:
    """The folder of the file, which SQLite makes but for its folder.

    Raises:
        ConfigurationInvalid: it cannot be made.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigurationInvalid(f"the folder of the SQLite file {path} cannot be made: {error.strerror}") from error


def connect_sqlite(path: Path, *, busy_seconds: float) -> sqlite3.Connection:
    """A connection that begins transactions only when told to, and waits that long for other writers.

    Raises:
        sqlite3.Error: the file cannot be opened, or is no database.
    """
    connection = sqlite3.connect(path, timeout=busy_seconds, isolation_level=None, check_same_thread=False)
    try:
        set_up(connection, busy_seconds=busy_seconds)
    except sqlite3.Error:
        connection.close()
        raise
    connection.row_factory = sqlite3.Row
    return connection
