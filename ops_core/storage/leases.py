"""Heartbeats: renew exactly the leases held in memory, from a thread and on a connection of their own."""

from __future__ import annotations

from ops_core.ports import LeaseStore
from ops_core.storage.database_url import DatabaseUrl


def open_lease_store(url: str) -> LeaseStore:
    """Connects when it is first used, and anew whenever that is needed.

    Raises:
        ConfigurationInvalid: the URL is not one of a database we know.
    """
    parsed = DatabaseUrl.parse(url)
    if parsed.is_sqlite:
        from ops_core.storage.sqlite.leases import SqliteLeaseStore

        return SqliteLeaseStore(parsed.sqlite_path)
    from ops_core.storage.postgres.leases import PostgresLeaseStore

    return PostgresLeaseStore(parsed.libpq)
