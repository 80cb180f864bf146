"""Write transactions on a SQLite file: one connection in one thread, whole transactions at a time."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

from ops_core.errors import StoreUnavailable
from ops_core.storage.sqlite.file import connect_sqlite
from ops_core.storage.sqlite.statements import SqliteTransaction
from ops_core.storage.writes import Transaction, TryAgain, WriteRefused

T = TypeVar("T")


class SqliteBackend:
    """The one writer of this process; other processes take turns with it through the file's lock."""

    def __init__(
        self, path: Path, *, busy_seconds: float = 5.0, clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        self._path = path
        #: SQLite has no clock of its own: this machine's is the database's.
        self._clock = clock
        self._busy_seconds = busy_seconds
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="sqlite-writer")
        self._connection: sqlite3.Connection | None = None

    async def transact(self, work: Callable[[Transaction], Awaitable[T]]) -> T:
        # Not cancelled with its caller: a thread cannot be, and its outcome must not be guessed.
        give_up_at = time.monotonic() + self._busy_seconds
        running = asyncio.get_running_loop().run_in_executor(self._thread, self._transact, work, give_up_at)
        return await asyncio.shield(running)

    async def autocommit(self, work: Callable[[Transaction], Awaitable[T]]) -> T:
        return await self.transact(work)

    async def aclose(self) -> None:
        await asyncio.get_running_loop().run_in_executor(self._thread, self._close)
        self._thread.shutdown(wait=False)

    def _transact(self, work: Callable[[Transaction], Awaitable[T]], give_up_at: float) -> T:
        if time.monotonic() > give_up_at:
            # Behind others that each waited for the file: what waits longer is told so together.
            raise TryAgain("another process holds the SQLite file")
        with self._translated():
            connection = self._connected()
            # IMMEDIATE takes the write lock at once: a transaction that reads first and then wants it can be refused.
            connection.execute("BEGIN IMMEDIATE")
            try:
                outcome = _completed(work(SqliteTransaction(connection, self._clock())))
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise
            return outcome

    def _connected(self) -> sqlite3.Connection:
        if self._connection is None:
            self._connection = connect_sqlite(self._path, busy_seconds=self._busy_seconds)
        return self._connection

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.IntegrityError, sqlite3.DataError, sqlite3.ProgrammingError, OverflowError) as error:
            raise WriteRefused(str(error)) from error
        except (sqlite3.Error, OSError) as error:
            if getattr(error, "sqlite_errorname", "").startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
                raise TryAgain(f"another process holds the SQLite file: {error}") from error
            # Full, read-only, damaged, gone: whatever it was, the next try opens the file anew.
            self._close()
            raise StoreUnavailable(f"SQLite: {error}") from error

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def _completed(work: Awaitable[T]) -> T:
    """The result of a coroutine that never really waits: on SQLite each statement is over when its call returns."""
    steps: Any = work.__await__()
    try:
        next(steps)
    except StopIteration as stop:
        result: T = stop.value
        return result
    raise RuntimeError("a SQLite transaction waited for something other than SQLite")
