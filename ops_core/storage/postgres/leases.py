"""Heartbeats on PostgreSQL."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import psycopg

from ops_core.errors import StoreUnavailable
from ops_core.ports import Lease, Renewal, WorkerInfo
from ops_core.storage.json_text import dump_json
from ops_core.storage.postgres.arrays import array_literal

# In the order of the ids, as every other statement locks them; a pair whose epoch is over is left out. Why it is put
# like this, see `statements`.
_RENEW_IF_HELD = """
WITH held AS (
    SELECT t.id FROM (SELECT * FROM unnest(%s::uuid[], %s::int[]) AS h (id, epoch) ORDER BY id) h
    CROSS JOIN LATERAL (
        SELECT id FROM tasks WHERE id = h.id AND epoch = h.epoch AND (status = 'running') IS TRUE FOR UPDATE
    ) t
)
UPDATE tasks t SET lease_expires_at = now() + make_interval(secs => %s::float8) FROM held WHERE t.id = held.id
RETURNING t.id, t.epoch, t.cancel_requested_at IS NOT NULL
"""
_PUT_WORKER = """
INSERT INTO workers (worker_id, hostname, pid, version, queues, slots, busy, draining, started_at, seen_at)
VALUES (%s, %s, %s, %s, %s::json, %s, %s, %s, now(), now())
ON CONFLICT (worker_id) DO UPDATE SET slots = excluded.slots, busy = excluded.busy, draining = excluded.draining,
    queues = excluded.queues, seen_at = excluded.seen_at
"""
_FORGET_WORKER = "DELETE FROM workers WHERE worker_id = %s"
# The time-outs end on the server what was cut off here: it would wait on, holding the rows that it has locked.
_SET_UP = """
SET plan_cache_mode = force_generic_plan; SET enable_seqscan = off; SET enable_hashjoin = off;
SET enable_mergejoin = off; SET enable_bitmapscan = off; SET jit = off; SET synchronous_commit = on;
SET statement_timeout = {timeout}; SET lock_timeout = {timeout}; SET idle_in_transaction_session_timeout = {timeout}
"""


class PostgresLeaseStore:
    """See `LeaseStore`."""

    def __init__(self, conninfo: str) -> None:
        self._conninfo = conninfo
        self._connection: psycopg.Connection | None = None

    def renew(self, held: Sequence[Lease], *, worker: WorkerInfo, lease_seconds: float) -> Renewal:
        # Well under the lease, so that a hung database leaves time for another try.
        with self._transaction(timeout_seconds=max(1.0, lease_seconds / 6)) as connection:
            ids, epochs = array_literal(lease.task_id for lease in held), array_literal(lease.epoch for lease in held)
            rows = connection.execute(_RENEW_IF_HELD, (ids, epochs, lease_seconds)).fetchall() if held else []
            connection.execute(_PUT_WORKER, _worker_values(worker))
        found = {Lease(id, epoch): cancel for id, epoch, cancel in rows}
        return Renewal(frozenset(found), frozenset(lease for lease, cancel in found.items() if cancel))

    def forget(self, worker_id: str) -> None:
        with self._transaction(timeout_seconds=2.0) as connection:
            connection.execute(_FORGET_WORKER, (worker_id,))

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    @contextmanager
    def _transaction(self, *, timeout_seconds: float) -> Iterator[psycopg.Connection]:
        try:
            connection = self._connected(timeout_seconds)
            with _cut_after(connection, timeout_seconds), connection.transaction():
                yield connection
        except psycopg.Error as error:
            self.close()
            raise StoreUnavailable(f"PostgreSQL: {error}") from error

    def _connected(self, timeout_seconds: float) -> psycopg.Connection:
        if self._connection is None:
            connection = psycopg.connect(
                self._conninfo,
                autocommit=True,
                prepare_threshold=0,
                connect_timeout=max(2, int(timeout_seconds)),
                application_name="ops-core heartbeat",
                tcp_user_timeout=int(timeout_seconds * 1000),
            )
            try:
                connection.execute(_SET_UP.format(timeout=int(timeout_seconds * 1000)).encode(), prepare=False)
            except BaseException:
                connection.close()
                raise
            self._connection = connection
        return self._connection


@contextmanager
def _cut_after(connection: psycopg.Connection, seconds: float) -> Iterator[None]:
    """A call that hangs (a frozen server, a dead network) ends with an error: its socket is shut down under it."""
    sock = socket.socket(fileno=os.dup(connection.fileno()))

    def cut() -> None:
        sock.shutdown(socket.SHUT_RDWR)

    timer = threading.Timer(seconds, cut)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        timer.join()
        sock.close()


def _worker_values(worker: WorkerInfo) -> tuple[object, ...]:
    queues = dump_json(list(worker.queues))
    return (
        *(worker.worker_id, worker.hostname, worker.pid, worker.version, queues),
        *(worker.slots, worker.busy, worker.draining),
    )
