"""Databases that refuse us: said at once and in one line where waiting does not help, survived where it may."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import psycopg
import pytest

from ops_core.errors import ConfigurationInvalid, OpsCoreError
from ops_core.storage import migrations
from ops_core.storage.database_url import DatabaseUrl
from ops_core.storage.schema import SCHEMA_REVISION, fits
from ops_core.storage.store import open_store
from ops_core.tests.contract.store_cases import new_task


async def refusals(url: str) -> list[OpsCoreError]:
    """What the start of a process and `db upgrade` say, each within two seconds."""
    told: list[OpsCoreError] = []
    async with asyncio.timeout(4):
        for attempt in (open_store(url, start_timeout_seconds=60), asyncio.to_thread(migrations.upgrade, url)):
            try:
                await attempt
            except OpsCoreError as error:
                told.append(error)
    return told


@contextmanager
def password_wanted(url: str) -> Iterator[str]:
    """A role that must say its password; its name."""
    role = f"r{os.urandom(6).hex()}"
    with psycopg.connect(url, autocommit=True) as admin:
        row = admin.execute("SHOW hba_file").fetchone()
        assert row is not None
        hba = Path(row[0])
        before = hba.read_text()
        admin.execute(f"CREATE ROLE {role} LOGIN PASSWORD 'right'".encode())
        hba.write_text(f"local all {role} scram-sha-256\n{before}")
        admin.execute("SELECT pg_reload_conf()")
        try:
            yield role
        finally:
            hba.write_text(before)
            admin.execute("SELECT pg_reload_conf()")


@pytest.mark.services
async def test_a_wrong_password_is_said_at_once(postgres_url: str) -> None:
    with password_wanted(postgres_url) as role:
        told = await refusals(postgres_url.replace("postgres:@", f"{role}:wrong@"))
    assert [type(error) for error in told] == [ConfigurationInvalid] * 2
    assert all("password authentication failed" in error.detail for error in told)
    assert not any("wrong" in error.detail for error in told)


@pytest.mark.services
@pytest.mark.parametrize(
    ("given", "wrong", "reason"),
    [("/t_", "/no_", 'database "no_.*" does not exist'), ("postgres:@", "nobody@", 'role "nobody" does not exist')],
)
async def test_a_database_or_role_that_is_not_there_is_said_at_once(
    postgres_url: str, given: str, wrong: str, reason: str
) -> None:
    told = await refusals(postgres_url.replace(given, wrong))
    assert [type(error) for error in told] == [ConfigurationInvalid] * 2
    for error in told:
        with pytest.raises(ConfigurationInvalid, match=reason):
            raise error


@pytest.mark.services
async def test_a_role_that_may_not_make_tables_is_told_so_at_once(empty_postgres_url: str) -> None:
    role = f"r{os.urandom(6).hex()}"
    with psycopg.connect(empty_postgres_url, autocommit=True) as admin:
        admin.execute(f"CREATE ROLE {role} LOGIN".encode())
    with pytest.raises(ConfigurationInvalid, match="permission denied for schema public"):
        migrations.upgrade(empty_postgres_url.replace("postgres:@", f"{role}@"))


async def test_a_file_that_is_no_database_is_said_at_once_and_left_alone(tmp_path: Path) -> None:
    file = tmp_path / "notes.db"
    file.write_text("not a database at all\n" * 100)
    told = await refusals(f"sqlite:///{file}")
    assert [type(error) for error in told] == [ConfigurationInvalid] * 2
    assert all("file is not a database" in error.detail for error in told)
    assert file.read_text() == "not a database at all\n" * 100


async def test_a_folder_that_cannot_be_made_is_said_at_once(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("")
    told = await refusals(f"sqlite:///{tmp_path}/taken/ops.db")
    assert [type(error) for error in told] == [ConfigurationInvalid] * 2
    assert all("cannot be made" in error.detail for error in told)


_FILL_THE_DISK = """
import asyncio, os, resource, signal, sys
from ops_core.errors import StoreUnavailable
from ops_core.storage.store import open_store
from ops_core.tests.contract.store_cases import new_task

async def main():
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    _, most = resource.getrlimit(resource.RLIMIT_FSIZE)
    store = await open_store(sys.argv[1], give_up_seconds=0.5)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, most))
    kept, refused = [], []
    while len(refused) < 3:
        new = new_task(input={"text": "x" * 15_000})
        try:
            kept.append((await store.add_task(new)).task.id.hex)
        except StoreUnavailable as error:
            refused.append(error.detail)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
    kept.append((await store.add_task(new_task())).task.id.hex)
    await store.aclose()
    print(refused[0])
    print(" ".join(kept))

asyncio.run(main())
"""


async def test_a_full_disk_refuses_writes_and_loses_nothing_that_was_accepted(sqlite_url: str) -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", _FILL_THE_DISK, sqlite_url), stdout=asyncio.subprocess.PIPE
    )
    async with asyncio.timeout(60):
        out, _ = await process.communicate()
    *_, refused, kept = out.decode().splitlines()
    assert "SQLite" in refused
    with closing(sqlite3.connect(DatabaseUrl.parse(sqlite_url).sqlite_path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        found = {row[0] for row in connection.execute("SELECT id FROM tasks")}
        assert connection.execute("SELECT count(*) FROM task_events").fetchone() == (len(found),)
    assert found == set(kept.split())


async def test_the_schema_of_a_newer_version_is_worked_on_and_left_alone(store_url: str) -> None:
    """Old and new processes run side by side while a new version is rolled out."""
    newer = f"{int(SCHEMA_REVISION) + 1:04}"
    assert not fits(None)
    assert not fits("0000")
    parsed = DatabaseUrl.parse(store_url)
    statement = f"UPDATE alembic_version SET version_num = '{newer}'"
    if parsed.is_sqlite:
        with closing(sqlite3.connect(parsed.sqlite_path, isolation_level=None)) as connection:
            connection.execute(statement)
    else:
        with psycopg.connect(store_url, autocommit=True) as admin:
            admin.execute(statement.encode())
    assert migrations.upgrade(store_url) == newer
    store = await open_store(store_url)
    assert (await store.store_health()).migrated
    assert (await store.add_task(new_task())).ring is not None
    await store.aclose()
