"""What the parts can do by themselves: the floor that every system stands on; the work `limits`."""

from __future__ import annotations

import asyncio
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from uuid import uuid4

import pika
import psycopg
from trial import Bench, Figure

_SECONDS = 5.0
_BATCH = 100
_PAYLOAD = "x" * 200


def limits(bench: Bench) -> list[Figure]:
    """Commits, publishes and no-op calls a second, each by itself."""
    return [
        Figure("postgres-commit", "1/s", _postgres(bench.database_url, batch=1)),
        Figure("postgres-rows-by-100", "1/s", _postgres(bench.database_url, batch=_BATCH)),
        Figure("rabbitmq-confirmed", "1/s", _rabbitmq(bench.broker_url)),
        Figure("rabbitmq-confirmed-by-100", "1/s", asyncio.run(_rabbitmq_batches(bench.broker_url))),
        Figure("sqlite-wal-commit", "1/s", _sqlite(bench.folder / "limits.db")),
        Figure("fastapi-call", "1/s", _fastapi(bench)),
        Figure("grpc-aio-call", "1/s", _grpc(bench)),
    ]


def _rate(one: Callable[[], int]) -> float:
    """How many a second, of a function that does some and says how many."""
    done, started = 0, time.monotonic()
    while (elapsed := time.monotonic() - started) < _SECONDS:
        done += one()
    return done / elapsed


def _postgres(url: str, *, batch: int) -> float:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS limits (id uuid PRIMARY KEY, payload text)")

        def insert() -> int:
            rows = ([uuid4() for _ in range(batch)], [_PAYLOAD] * batch)
            connection.execute("INSERT INTO limits SELECT * FROM unnest(%s::uuid[], %s::text[])", rows, prepare=True)
            return batch

        return _rate(insert)


def _rabbitmq(url: str) -> float:
    connection = pika.BlockingConnection(pika.URLParameters(url))
    channel = connection.channel()
    channel.queue_declare("limits", durable=True)
    channel.confirm_delivery()

    def publish() -> int:
        channel.basic_publish("", "limits", _PAYLOAD.encode(), pika.BasicProperties(delivery_mode=2))
        return 1

    try:
        return _rate(publish)
    finally:
        connection.close()


async def _rabbitmq_batches(url: str) -> float:
    from ops_core.broker.parameters import connection_parameters
    from ops_core.broker.publisher_link import Link
    from ops_core.ports import Ring

    link = await Link.open(connection_parameters(url, connect_seconds=5))
    try:
        await link.declare("limits")
        done, started = 0, time.monotonic()
        while (elapsed := time.monotonic() - started) < _SECONDS:
            await link.publish([Ring("limits", 1, uuid4(), None)] * _BATCH)
            done += _BATCH
        return done / elapsed
    finally:
        await link.aclose()


def _sqlite(file: Path) -> float:
    connection = sqlite3.connect(file, isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("CREATE TABLE limits (id TEXT PRIMARY KEY, payload TEXT)")

    def insert() -> int:
        connection.execute("INSERT INTO limits VALUES (?, ?)", (uuid4().hex, _PAYLOAD))
        return 1

    try:
        return _rate(insert)
    finally:
        connection.close()


def _fastapi(bench: Bench) -> float:
    return _called(bench, "fastapi")


def _grpc(bench: Bench) -> float:
    return _called(bench, "grpc")


def _called(bench: Bench, kind: str) -> float:
    """64 calls in flight, of a server that does nothing, in a process of its own."""
    server = bench.processes.start("server", [sys.executable, str(Path(__file__).with_name("noop_server.py")), kind])
    command = [sys.executable, str(Path(__file__).with_name("noop_server.py")), f"call-{kind}", str(_SECONDS)]
    called = subprocess.run(
        command, env=bench.environment, capture_output=True, text=True, check=True, timeout=_SECONDS + 60
    )
    server.terminate()
    return float(called.stdout)
