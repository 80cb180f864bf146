"""The schema's versions: bring a database to the newest, and tell which one it has. Alembic does the work."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, create_engine, event, text
from sqlalchemy.exc import DBAPIError

from alembic import command
from ops_core.errors import ConfigurationInvalid, StoreUnavailable
from ops_core.storage.database_url import DatabaseUrl
from ops_core.storage.refusals import is_lasting
from ops_core.storage.schema import fits as fits
from ops_core.storage.schema import metadata
from ops_core.storage.sqlite.file import make_folder, set_up

#: Key of the advisory lock under which PostgreSQL is migrated: processes that start together take turns.
_MIGRATION_LOCK = 0x6F70735F636F7265

#: For another migration, or for whoever uses a table that is to be changed.
_LOCK_SECONDS = 60


def upgrade(url: str) -> str:
    """Bring the schema to the newest version; returns the one it has. Harmless when it is there, when several do it at
    once, and when a newer program has brought it further already.

    Raises:
        ConfigurationInvalid: the URL is wrong, or the database refuses us for good.
        StoreUnavailable: the database cannot be reached, or another process has been migrating it for too long.
    """
    with _connected(url) as connection:
        if connection.dialect.name == "postgresql":
            connection.execute(text(f"SET LOCAL lock_timeout = '{_LOCK_SECONDS}s'"))
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _MIGRATION_LOCK})
        if not fits(_revision(connection)):
            command.upgrade(_config(connection), "head")
        return _revision(connection) or ""


def current(url: str) -> str | None:
    """The version that the database has; None before the first upgrade.

    Raises:
        ConfigurationInvalid, StoreUnavailable: as in `upgrade`.
    """
    with _connected(url) as connection:
        return _revision(connection)


def newest() -> str:
    """The newest version there is."""
    return ScriptDirectory(str(_scripts())).get_current_head() or ""


def differences(url: str) -> list[Any]:
    """What the models have and the database has not, or the reverse; empty when they agree.

    Raises:
        ConfigurationInvalid, StoreUnavailable: as in `upgrade`.
    """
    with _connected(url) as connection:
        return list(compare_metadata(MigrationContext.configure(connection, opts={"compare_type": True}), metadata))


def _revision(connection: Connection) -> str | None:
    return MigrationContext.configure(connection).get_current_revision()


def _config(connection: Connection) -> Config:
    config = Config()
    config.set_main_option("script_location", str(_scripts()).replace("%", "%%"))
    config.attributes["connection"] = connection
    return config


#: How long other processes that upgrade the same SQLite file are waited for.
_BUSY_SECONDS = 30.0


def _scripts() -> Path:
    """In a wheel they lie beside this file, in a checkout at its root."""
    installed = Path(__file__).parent / "migrations"
    return installed if installed.is_dir() else Path(__file__).parents[2] / "alembic"


@contextmanager
def _connected(url: str) -> Iterator[Connection]:
    engine = _engine(DatabaseUrl.parse(url))
    try:
        with engine.begin() as connection:
            yield connection
    except (DBAPIError, OSError) as error:
        reason = f"the database cannot be reached or used: {error.__cause__ or error}"
        raise (ConfigurationInvalid if is_lasting(reason) else StoreUnavailable)(reason) from error
    finally:
        engine.dispose()


def _engine(url: DatabaseUrl) -> Engine:
    if not url.is_sqlite:
        return create_engine(url.synchronous, connect_args={"connect_timeout": 10})
    make_folder(url.sqlite_path)
    engine = create_engine(url.synchronous, connect_args={"timeout": _BUSY_SECONDS})

    @event.listens_for(engine, "connect")
    def begin_with(connection: sqlite3.Connection, _: Any) -> None:
        # The driver must not begin transactions by itself, or DDL is outside of them.
        connection.isolation_level = None
        set_up(connection, busy_seconds=_BUSY_SECONDS)

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    return engine
