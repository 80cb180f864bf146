"""Each migration only adds: processes of the version before go on with the schema of the next one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, create_engine, inspect, text

from alembic import command
from ops_core.storage import migrations
from ops_core.storage.database_url import DatabaseUrl


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.services)])
def empty_url(request: pytest.FixtureRequest) -> str:
    url: str = request.getfixturevalue(f"empty_{request.param}_url")
    if DatabaseUrl.parse(url).is_sqlite:
        DatabaseUrl.parse(url).sqlite_path.parent.mkdir(parents=True, exist_ok=True)
    return url


def revisions() -> list[str]:
    """Oldest first."""
    scripts = ScriptDirectory(str(migrations._scripts()))
    return [script.revision for script in scripts.walk_revisions()][::-1]


@contextmanager
def connected(url: str) -> Iterator[Connection]:
    engine = create_engine(DatabaseUrl.parse(url).synchronous)
    try:
        with engine.begin() as connection:
            yield connection
    finally:
        engine.dispose()


def upgrade_to(url: str, revision: str) -> None:
    with connected(url) as connection:
        command.upgrade(migrations._config(connection), revision)


def shape(url: str) -> dict[str, Any]:
    """Tables, and what an older program's statements can run against."""
    with connected(url) as connection:
        return {table: _table(connection, table) for table in inspect(connection).get_table_names()}


def _table(connection: Connection, table: str) -> dict[str, Any]:
    inspector = inspect(connection)
    unique: list[Any] = [index["column_names"] for index in inspector.get_indexes(table) if index["unique"]]
    unique += [constraint["column_names"] for constraint in inspector.get_unique_constraints(table)]
    return {
        "columns": {str(column["name"]): column for column in inspector.get_columns(table)},
        "unique": sorted(map(str, unique)),
        "checks": sorted(str(check["sqltext"]) for check in inspector.get_check_constraints(table)),
        "keys": inspector.get_pk_constraint(table)["constrained_columns"],
        "references": sorted(str(key["constrained_columns"]) for key in inspector.get_foreign_keys(table)),
    }


def narrowings(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    """What a program that knows only the schema before could fail on."""
    found = [f"table {table} is gone" for table in before.keys() - after.keys()]
    for table in sorted(before.keys() & after.keys()):
        old, new = before[table], after[table]
        found += [f"{table}.{name} is gone" for name in old["columns"].keys() - new["columns"].keys()]
        for name, column in new["columns"].items():
            known = old["columns"].get(name)
            if known is None and not column["nullable"] and column["default"] is None:
                found.append(f"{table}.{name} is new and has to be given")
            if known is not None and known["nullable"] and not column["nullable"]:
                found.append(f"{table}.{name} may not be left out any more")
            if known is not None and str(known["type"]) != str(column["type"]):
                found.append(f"{table}.{name} is {column['type']} now")
        for rule in ("unique", "checks", "references"):
            found += [f"{table}: another rule, {each}" for each in new[rule] if each not in old[rule]]
        if old["keys"] != new["keys"]:
            found.append(f"{table}: another primary key")
    return found


def test_each_version_only_adds_to_the_one_before(empty_url: str) -> None:
    first, *later = revisions()
    upgrade_to(empty_url, first)
    oldest = before = shape(empty_url)
    assert "tasks" in before
    for revision in later:
        upgrade_to(empty_url, revision)
        after = shape(empty_url)
        assert narrowings(before, after) == []
        before = after
    assert before != oldest, "a look that sees no change finds nothing"


@pytest.mark.parametrize(
    ("statement", "told"),
    [
        ("DROP TABLE signals", "table signals is gone"),
        ("ALTER TABLE signals DROP COLUMN payload", "signals.payload is gone"),
        ("ALTER TABLE signals ADD COLUMN mood text NOT NULL", "signals.mood is new and has to be given"),
        ("ALTER TABLE tasks ALTER COLUMN run_at SET NOT NULL", "tasks.run_at may not be left out any more"),
        ("ALTER TABLE tasks ALTER COLUMN attempt TYPE bigint", "tasks.attempt is BIGINT now"),
        ("CREATE UNIQUE INDEX one ON signals (sent_by)", "signals: another rule, ['sent_by']"),
    ],
)
@pytest.mark.services
def test_a_migration_that_takes_something_away_would_be_found_out(
    empty_postgres_url: str, statement: str, told: str
) -> None:
    migrations.upgrade(empty_postgres_url)
    before = shape(empty_postgres_url)
    with connected(empty_postgres_url) as connection:
        connection.execute(text(statement))
    assert told in narrowings(before, shape(empty_postgres_url))
