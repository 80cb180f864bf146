"""Runs migrations on a connection it is given, or on the database that `-x url=...` names."""

from __future__ import annotations

from sqlalchemy import Connection, create_engine

from alembic import context
from ops_core.storage.database_url import DatabaseUrl
from ops_core.storage.schema import metadata


def run(connection: Connection) -> None:
    context.configure(
        connection=connection,
        target_metadata=metadata,
        compare_type=True,
        # SQLite cannot alter a column in place: Alembic copies the table.
        render_as_batch=connection.dialect.name == "sqlite",
    )
    with context.begin_transaction():
        context.run_migrations()


given = context.config.attributes.get("connection")
if given is not None:
    run(given)
else:
    url = context.get_x_argument(as_dictionary=True).get("url")
    if not url:
        raise SystemExit("name the database: alembic -x url=sqlite:///dev.db upgrade head")
    with create_engine(DatabaseUrl.parse(url).synchronous).begin() as connection:
        run(connection)
