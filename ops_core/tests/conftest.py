"""Real services for the tests: a SQLite file, a private PostgreSQL, a private RabbitMQ; never the machine's own."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, settings

from ops_core.storage.migrations import upgrade
from ops_core.tests.postgres_cluster import PostgresMissing, new_server
from ops_core.tests.rabbitmq_node import RabbitmqMissing, RabbitmqNode
from ops_core.tests.rules import check_rules

# A machine that does much else at once is slow, which is no fault of what is tested.
settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")


def service_missing(reason: str) -> NoReturn:
    """Skip aloud, or fail where services are required (OPS_CORE_TEST_REQUIRE_SERVICES=1, as in CI)."""
    if os.environ.get("OPS_CORE_TEST_REQUIRE_SERVICES") == "1":
        pytest.fail(f"{reason}; services are required here", pytrace=False)
    pytest.skip(reason)


@pytest.fixture
def empty_sqlite_url(tmp_path: Path) -> str:
    """A SQLite file that is not there yet."""
    return f"sqlite:///{tmp_path / 'store' / 'ops.db'}"


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """URL of the `postgres` database of a private server that lives as long as the tests."""
    try:
        server = new_server()
    except PostgresMissing as missing:
        service_missing(str(missing))
    with server:
        yield server.get_uri()


@pytest.fixture
def empty_postgres_url(postgres_server: str) -> Iterator[str]:
    """A new database without tables."""
    with new_database(postgres_server, template="template1") as url:
        yield url


@pytest.fixture
def sqlite_url(empty_sqlite_url: str) -> str:
    """A SQLite file with the schema."""
    upgrade(empty_sqlite_url)
    return empty_sqlite_url


@pytest.fixture(scope="session")
def postgres_template(postgres_server: str) -> Iterator[str]:
    """Name of a database with the schema, to be copied: far cheaper than to migrate each."""
    with new_database(postgres_server, template="template1") as url:
        upgrade(url)
        check_rules(url)
        yield url.partition("?")[0].rpartition("/")[2]


@pytest.fixture
def postgres_url(postgres_server: str, postgres_template: str) -> Iterator[str]:
    """A new PostgreSQL database with the schema."""
    with new_database(postgres_server, template=postgres_template) as url:
        yield url


@pytest.fixture(scope="session")
def rabbitmq_node() -> Iterator[RabbitmqNode]:
    """A private RabbitMQ node; tests may stop and start it, and leave it running."""
    try:
        node = RabbitmqNode()
    except RabbitmqMissing as missing:
        service_missing(str(missing))
    try:
        node.start()
        yield node
    finally:
        node.close()


@pytest.fixture
def rabbitmq_url(rabbitmq_node: RabbitmqNode) -> str:
    """A virtual host of its own on the private node, so that tests share no queue."""
    return rabbitmq_node.new_vhost()


@contextmanager
def new_database(server: str, *, template: str) -> Iterator[str]:
    """URL of a database that exists while the block runs."""
    import psycopg

    name = f"t_{uuid4().hex}"
    head, _, query = server.partition("?")
    with psycopg.connect(server, autocommit=True) as admin:
        admin.execute(f"CREATE DATABASE {name} TEMPLATE {template}".encode())
        try:
            yield f"{head.rpartition('/')[0]}/{name}" + (f"?{query}" if query else "")
        finally:
            admin.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)".encode())
