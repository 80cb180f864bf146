"""The servers that the systems stand on: a private PostgreSQL and RabbitMQ, as their packages set them up."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import psutil

from ops_core.tests.conftest import new_database
from ops_core.tests.postgres_cluster import PostgresCluster
from ops_core.tests.rabbitmq_node import RabbitmqNode


class Services:
    """Both servers; entered, they run."""

    def __init__(self) -> None:
        """Raises:
        PostgresMissing, RabbitmqMissing: there is nothing to start.
        """
        self._postgres = PostgresCluster()
        self._rabbitmq = RabbitmqNode(frugal=False)

    def __enter__(self) -> Services:
        self._postgres.start()
        self._rabbitmq.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._rabbitmq.close()
        self._postgres.close()

    @contextmanager
    def fresh(self) -> Iterator[tuple[str, str]]:
        """URLs of an empty database and an empty virtual host, dropped at the end."""
        with new_database(self._postgres.url, template="template1") as database:
            broker = self._rabbitmq.new_vhost()
            try:
                yield database, broker
            finally:
                self._rabbitmq.ctl("delete_vhost", broker.rpartition("/")[2])

    @property
    def roots(self) -> dict[str, psutil.Process]:
        """The first process of each."""
        return {"postgres": psutil.Process(self._postgres.pid), "rabbitmq": psutil.Process(self._rabbitmq.pid)}
