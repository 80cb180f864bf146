"""Which database a URL means, and how each library wants it written."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from ops_core.errors import ConfigurationInvalid

_POSTGRES = {"postgresql", "postgres", "postgresql+psycopg"}
_SQLITE = {"sqlite", "sqlite+aiosqlite", "sqlite+pysqlite"}


@dataclass(frozen=True, slots=True)
class DatabaseUrl:
    """A database of one of the two kinds there are."""

    url: URL

    @staticmethod
    def parse(text: str) -> DatabaseUrl:
        """Raises:
        ConfigurationInvalid: not the URL of a SQLite file or of a PostgreSQL database.
        """
        forms = "want sqlite:///path/to/file.db or postgresql://user:password@host:5432/database"
        try:
            url = make_url(text)
        except (ArgumentError, ValueError) as error:
            raise ConfigurationInvalid(f"the database URL cannot be read; {forms}") from error
        if url.drivername in _POSTGRES:
            return DatabaseUrl(url.set(drivername="postgresql+psycopg"))
        if url.drivername not in _SQLITE:
            raise ConfigurationInvalid(f"the database URL begins with {url.drivername!r}; {forms}")
        if not url.database or url.database == ":memory:":
            raise ConfigurationInvalid("SQLite needs a file that processes can share: sqlite:///path/to/file.db")
        return DatabaseUrl(url.set(drivername="sqlite+aiosqlite"))

    @property
    def is_sqlite(self) -> bool:
        return self.url.drivername.startswith("sqlite")

    @property
    def sqlite_path(self) -> Path:
        assert self.url.database is not None
        return Path(self.url.database).expanduser()

    @property
    def asynchronous(self) -> URL:
        """For SQLAlchemy's async engine."""
        return self.url.set(database=str(self.sqlite_path)) if self.is_sqlite else self.url

    @property
    def synchronous(self) -> URL:
        """For SQLAlchemy's engine."""
        return self.asynchronous.set(drivername="sqlite") if self.is_sqlite else self.url

    @property
    def libpq(self) -> str:
        """For psycopg itself."""
        return self.url.set(drivername="postgresql").render_as_string(hide_password=False)

    def __str__(self) -> str:
        """Without the password: fit for logs."""
        return self.url.set(drivername=self.url.drivername.partition("+")[0]).render_as_string(hide_password=True)
