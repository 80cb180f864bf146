"""The schema's migrations on both databases."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import psycopg
import pytest
from sqlalchemy import create_engine, update
from sqlalchemy.exc import IntegrityError

from ops_core.errors import ConfigurationInvalid, StoreUnavailable
from ops_core.storage import migrations
from ops_core.storage.database_url import DatabaseUrl
from ops_core.storage.schema import SCHEMA_REVISION, metadata, tasks
from ops_core.storage.store import Store, open_store
from ops_core.tests.contract.store_cases import new_task

#: Whatever a table is made of: columns, constraints, indexes, storage parameters.
_POSTGRES_CATALOG = """
SELECT 'column', table_name, column_name, data_type || is_nullable || coalesce(column_default, '')
    FROM information_schema.columns WHERE table_schema = 'public'
UNION ALL SELECT 'constraint', conrelid::regclass::text, conname, pg_get_constraintdef(oid)
    FROM pg_constraint WHERE connamespace = 'public'::regnamespace
UNION ALL SELECT 'index', tablename, indexname, indexdef FROM pg_indexes WHERE schemaname = 'public'
UNION ALL SELECT 'options', relname, '', coalesce(array_to_string(reloptions, ','), '')
    FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace
"""


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.services)])
def empty_url(request: pytest.FixtureRequest) -> str:
    url: str = request.getfixturevalue(f"empty_{request.param}_url")
    return url


@pytest.fixture
def second_empty_postgres_url(postgres_server: str) -> Iterator[str]:
    from ops_core.tests.conftest import new_database

    with new_database(postgres_server, template="template1") as url:
        yield url


def create_from_models(url: str) -> None:
    parsed = DatabaseUrl.parse(url)
    if parsed.is_sqlite:
        parsed.sqlite_path.parent.mkdir(parents=True, exist_ok=True)
    engine = create_engine(parsed.synchronous)
    metadata.create_all(engine)
    engine.dispose()


def sqlite_catalog(url: str) -> set[Any]:
    with closing(sqlite3.connect(DatabaseUrl.parse(url).sqlite_path)) as connection:
        objects = connection.execute(
            "SELECT type, name, sql FROM sqlite_master WHERE name NOT LIKE '%alembic%'"
        ).fetchall()
        found: set[Any] = set()
        for kind, name, sql in objects:
            # A column that was added later stands behind the constraints in a table's text, so columns are asked for.
            parts = (part.strip(" ,") for part in (sql or "").replace('"', "").replace("\t", " ").split("\n"))
            found.add((kind, name, tuple(sorted(p for p in parts if kind != "table" or p.startswith("CONSTRAINT")))))
            columns = connection.execute(
                "SELECT name, type, [notnull], dflt_value, pk FROM pragma_table_xinfo(?)", (name,)
            )
            found.update(("column", name, *column) for column in columns if kind == "table")
    return found


def postgres_catalog(url: str) -> set[Any]:
    with psycopg.connect(url) as connection:
        return {row for row in connection.execute(_POSTGRES_CATALOG) if "alembic" not in str(row)}


def test_upgrading_makes_the_newest_schema_and_may_be_repeated(empty_url: str) -> None:
    assert migrations.current(empty_url) is None
    assert migrations.upgrade(empty_url) == SCHEMA_REVISION == migrations.newest()
    assert migrations.upgrade(empty_url) == migrations.current(empty_url) == SCHEMA_REVISION


def test_migrations_and_models_make_the_same_schema_on_sqlite(empty_sqlite_url: str) -> None:
    migrations.upgrade(empty_sqlite_url)
    by_models = empty_sqlite_url.replace("ops.db", "models.db")
    create_from_models(by_models)
    assert sqlite_catalog(empty_sqlite_url) == sqlite_catalog(by_models)


@pytest.mark.services
def test_migrations_and_models_make_the_same_schema_on_postgres(
    empty_postgres_url: str, second_empty_postgres_url: str
) -> None:
    migrations.upgrade(empty_postgres_url)
    create_from_models(second_empty_postgres_url)
    assert postgres_catalog(empty_postgres_url) == postgres_catalog(second_empty_postgres_url)
    assert migrations.differences(empty_postgres_url) == []


@pytest.mark.services
def test_a_column_that_only_the_database_has_is_told(empty_postgres_url: str) -> None:
    migrations.upgrade(empty_postgres_url)
    with psycopg.connect(empty_postgres_url, autocommit=True) as connection:
        connection.execute("ALTER TABLE tasks ADD COLUMN stray int")
    assert "stray" in str(migrations.differences(empty_postgres_url))


async def test_processes_that_upgrade_together_take_turns(empty_url: str) -> None:
    revisions = await asyncio.gather(*(asyncio.to_thread(migrations.upgrade, empty_url) for _ in range(4)))
    assert set(revisions) == {SCHEMA_REVISION}


async def test_a_store_without_schema_is_reachable_but_not_migrated(empty_url: str) -> None:
    store = await open_store(empty_url, start_timeout_seconds=5)
    health = await store.store_health()
    await store.aclose()
    assert (health.reachable, health.migrated) == (True, False)
    assert "ops-core db upgrade" in health.detail


async def test_the_tests_run_where_a_row_that_breaks_a_rule_is_refused(store: Store, store_url: str) -> None:
    """PostgreSQL does not check them where it is used, so what writes there has to be held to them here."""
    task = (await store.add_task(new_task())).task
    engine = create_engine(DatabaseUrl.parse(store_url).synchronous)
    with pytest.raises(IntegrityError, match="queued_is_rung"), engine.begin() as connection:
        connection.execute(update(tasks).where(tasks.c.id == task.id).values(rung_at=None))
    engine.dispose()


@pytest.mark.parametrize(
    ("url", "kind"),
    [
        ("sqlite:///a.db", "sqlite"),
        ("postgres://u:p@h/d", "postgresql"),
        ("postgresql://u@h:5433/d", "postgresql"),
        ("postgresql+psycopg://u@h/d?host=/run", "postgresql"),
    ],
)
def test_each_way_to_write_a_url_is_understood(url: str, kind: str) -> None:
    parsed = DatabaseUrl.parse(url)
    assert parsed.is_sqlite == (kind == "sqlite")
    assert ":p@" not in str(parsed)


@pytest.mark.parametrize("url", ["", "nonsense", "mysql://h/d", "sqlite://", "sqlite:///:memory:"])
def test_a_url_of_no_database_we_know_is_refused(url: str) -> None:
    with pytest.raises(ConfigurationInvalid, match="sqlite:///path"):
        DatabaseUrl.parse(url)


async def test_a_database_that_never_answers_is_given_up_with_the_reason() -> None:
    with pytest.raises(StoreUnavailable, match=r"no answer from postgresql://u:\*\*\*@127.0.0.1:1/d within 0.5 s"):
        await open_store("postgresql://u:secret@127.0.0.1:1/d", start_timeout_seconds=0.5)
