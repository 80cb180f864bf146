"""Reads that no lock and no hurry is needed for: SQLAlchemy statements, the same on both databases."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Executable, event
from sqlalchemy.exc import DBAPIError, DisconnectionError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from ops_core.errors import StoreUnavailable
from ops_core.storage.database_url import DatabaseUrl
from ops_core.storage.sqlite.file import PRAGMAS, make_folder

# A read that nobody waits for any more must not go on: it holds back the vacuum of the tables that change most. And a
# plan made while they were nearly empty must not scan them for ever after. Lists are planned for the values they are
# asked for, and go along the index of their order: collected by bitmap, a whole namespace would be sorted for one page.
_POSTGRES_SET_UP = """
SET statement_timeout = {timeout}; SET enable_seqscan = off; SET enable_bitmapscan = off; SET jit = off;
SET timezone = 'UTC'; SET plan_cache_mode = force_custom_plan
"""


class Reader:
    """A pool of connections for reading. Each statement is a transaction of its own: none holds a snapshot open."""

    def __init__(self, url: DatabaseUrl, *, pool_size: int, timeout_seconds: float) -> None:
        self._engine = (
            _sqlite_engine(url, pool_size) if url.is_sqlite else _postgres_engine(url, pool_size, timeout_seconds)
        )
        self._timeout_seconds = timeout_seconds

    async def rows(self, statement: Executable) -> Sequence[dict[str, Any]]:
        """Raises:
        StoreUnavailable: no answer in time.
        """
        with translated_reads():
            async with asyncio.timeout(self._timeout_seconds), self._engine.connect() as connection:
                return [dict(row) for row in (await connection.execute(statement)).mappings()]

    async def first(self, statement: Executable) -> dict[str, Any] | None:
        rows = await self.rows(statement)
        return rows[0] if rows else None

    async def aclose(self) -> None:
        await self._engine.dispose()


@contextmanager
def translated_reads() -> Iterator[None]:
    """The driver's and the pool's errors as ours."""
    try:
        yield
    except (DBAPIError, DisconnectionError) as error:
        raise StoreUnavailable(f"the database could not be read: {error.__cause__ or error}") from error
    except SQLAlchemyError as error:
        raise StoreUnavailable(f"the database could not be read: {error}") from error
    except TimeoutError as error:
        raise StoreUnavailable("the database did not answer in time") from error
    except OSError as error:
        raise StoreUnavailable(f"the database cannot be reached: {error}") from error


def _postgres_engine(url: DatabaseUrl, pool_size: int, timeout_seconds: float) -> AsyncEngine:
    milliseconds = max(1, int(timeout_seconds * 1000))
    engine = create_async_engine(
        url.asynchronous,
        isolation_level="AUTOCOMMIT",
        pool_size=pool_size,
        max_overflow=0,
        pool_timeout=timeout_seconds,
        pool_pre_ping=True,
        connect_args={
            "connect_timeout": max(2, int(timeout_seconds)),
            "application_name": "ops-core reader",
            "tcp_user_timeout": milliseconds,
        },
    )

    @event.listens_for(engine.sync_engine, "connect")
    def set_up(connection: Any, _: Any) -> None:
        cursor = connection.cursor()
        cursor.execute(_POSTGRES_SET_UP.format(timeout=milliseconds))
        cursor.close()

    return engine


def _sqlite_engine(url: DatabaseUrl, pool_size: int) -> AsyncEngine:
    make_folder(url.sqlite_path)
    engine = create_async_engine(url.asynchronous, isolation_level="AUTOCOMMIT", pool_size=pool_size, max_overflow=0)

    @event.listens_for(engine.sync_engine, "connect")
    def set_up(connection: Any, _: Any) -> None:
        cursor = connection.cursor()
        for pragma in (*PRAGMAS, "PRAGMA busy_timeout=5000"):
            cursor.execute(pragma)
        cursor.close()

    return engine
