"""The services that the other contract tests stand on."""

from __future__ import annotations

import psycopg
import pytest

from ops_core.tests.rabbitmq_node import RabbitmqNode

pytestmark = pytest.mark.services


def test_the_private_postgres_gives_each_test_a_database_of_its_own(empty_postgres_url: str) -> None:
    with psycopg.connect(empty_postgres_url) as connection:
        row = connection.execute("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'").fetchone()
    assert row == (0,)


def test_the_private_rabbitmq_takes_messages_on_a_virtual_host_of_its_own(rabbitmq_url: str) -> None:
    import pika

    connection = pika.BlockingConnection(pika.URLParameters(rabbitmq_url))
    channel = connection.channel()
    channel.queue_declare("hello", durable=True)
    channel.basic_publish("", "hello", b"hello")
    assert channel.basic_get("hello", auto_ack=True)[2] == b"hello"
    connection.close()


def test_the_private_rabbitmq_keeps_its_virtual_hosts_over_a_restart(rabbitmq_node: RabbitmqNode) -> None:
    import pika

    url = rabbitmq_node.new_vhost()
    rabbitmq_node.stop()
    rabbitmq_node.start()
    pika.BlockingConnection(pika.URLParameters(url)).close()
