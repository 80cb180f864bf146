"""Heartbeats on a SQLite file."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

from ops_core.errors import StoreUnavailable
from ops_core.ports import Lease, Renewal, WorkerInfo
from ops_core.storage.column_types import time_to_sqlite
from ops_core.storage.json_text import dump_json
from ops_core.storage.sqlite.file import connect_sqlite

# The bare column: SQLite 3.40 answers `RETURNING x IS NOT NULL` with 1 when x is null.
_RENEW_IF_HELD = """
UPDATE tasks SET lease_expires_at = ? WHERE id = ? AND epoch = ? AND status = 'running'
RETURNING cancel_requested_at
"""
_PUT_WORKER = """
INSERT INTO workers (worker_id, hostname, pid, version, queues, slots, busy, draining, started_at, seen_at)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (worker_id) DO UPDATE SET slots = excluded.slots, busy = excluded.busy, draining = excluded.draining,
    queues = excluded.queues, seen_at = excluded.seen_at
"""
_FORGET_WORKER = "DELETE FROM workers WHERE worker_id = ?"


class SqliteLeaseStore:
    """See `LeaseStore`."""

    def __init__(self, path: Path, *, clock: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._path = path
        self._clock = clock
        self._connection: sqlite3.Connection | None = None

    def renew(self, held: Sequence[Lease], *, worker: WorkerInfo, lease_seconds: float) -> Renewal:
        # Well under the lease, so that a busy file leaves time for another try.
        with self._transaction(busy_seconds=lease_seconds / 6) as connection:
            now = self._clock()
            expires = time_to_sqlite(now + timedelta(seconds=lease_seconds))
            found = {
                lease: connection.execute(_RENEW_IF_HELD, (expires, lease.task_id.hex, lease.epoch)).fetchall()
                for lease in held
            }
            connection.execute(_PUT_WORKER, _worker_values(worker, time_to_sqlite(now)))
        kept = frozenset(lease for lease, rows in found.items() if rows)
        return Renewal(kept, frozenset(lease for lease in kept if found[lease][0][0] is not None))

    def forget(self, worker_id: str) -> None:
        with self._transaction(busy_seconds=2.0) as connection:
            connection.execute(_FORGET_WORKER, (worker_id,))

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    @contextmanager
    def _transaction(self, *, busy_seconds: float) -> Iterator[sqlite3.Connection]:
        try:
            if self._connection is None:
                self._connection = connect_sqlite(self._path, busy_seconds=busy_seconds)
            connection = self._connection
            connection.execute(f"PRAGMA busy_timeout = {int(busy_seconds * 1000)}")
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise
        except (sqlite3.Error, OSError) as error:
            self.close()
            raise StoreUnavailable(f"SQLite: {error}") from error


def _worker_values(worker: WorkerInfo, now: str) -> tuple[object, ...]:
    queues = dump_json(list(worker.queues))
    return (
        *(worker.worker_id, worker.hostname, worker.pid, worker.version, queues),
        *(worker.slots, worker.busy, worker.draining, now, now),
    )
