"""What is true of each row, checked by PostgreSQL as well, which does not check it where it is used."""

from __future__ import annotations

import psycopg

from ops_core.storage.schema import EVENT_RULES, TASK_RULES


def check_rules(postgres_url: str) -> None:
    """From now on a write that breaks a rule is refused."""
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        for table, rules in (("tasks", TASK_RULES), ("task_events", EVENT_RULES)):
            for name, rule in rules.items():
                connection.execute(f"ALTER TABLE {table} ADD CONSTRAINT {name} CHECK ({rule})".encode())
