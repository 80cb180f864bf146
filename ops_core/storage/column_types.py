"""Column types that mean the same on both databases: UTC times, and JSON kept as it was written."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import DateTime, Dialect, Text, TypeDecorator
from sqlalchemy.dialects import postgresql
from sqlalchemy.types import TypeEngine

from ops_core.domain.task import JsonValue
from ops_core.storage.json_text import dump_json

_SQLITE_TIME = "%Y-%m-%d %H:%M:%S.%f"


def time_to_sqlite(at: datetime) -> str:
    """UTC text with microseconds, so that the order of texts is the order of times."""
    return at.astimezone(UTC).strftime(_SQLITE_TIME)


def time_from_sqlite(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


class UtcTime(TypeDecorator[datetime]):
    """An aware UTC datetime: timestamptz on PostgreSQL, sortable text on SQLite."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        return Text() if dialect.name == "sqlite" else DateTime(timezone=True)

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> Any:
        return time_to_sqlite(value) if value is not None and dialect.name == "sqlite" else value

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return time_from_sqlite(value) if isinstance(value, str) else value.astimezone(UTC)


class VerbatimJson(TypeDecorator[JsonValue]):
    """JSON whose text is kept: the order of keys, `1.0`, `1e22` and NUL come back as they went in, unlike in jsonb."""

    impl = Text
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        # Not sqlalchemy.JSON: on SQLite it has numeric affinity, which turns the text `1.0` into the number 1.
        return Text() if dialect.name == "sqlite" else postgresql.JSON()

    def process_bind_param(self, value: JsonValue, dialect: Dialect) -> Any:
        return dump_json(value) if value is not None and dialect.name == "sqlite" else value

    def process_result_value(self, value: Any, dialect: Dialect) -> JsonValue:
        return json.loads(value) if value is not None and dialect.name == "sqlite" else value


class SearchableJson(TypeDecorator[JsonValue]):
    """JSON that is searched: jsonb on PostgreSQL, text on SQLite."""

    impl = Text
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        return Text() if dialect.name == "sqlite" else postgresql.JSONB()

    def process_bind_param(self, value: JsonValue, dialect: Dialect) -> Any:
        return dump_json(value) if value is not None and dialect.name == "sqlite" else value

    def process_result_value(self, value: Any, dialect: Dialect) -> JsonValue:
        return json.loads(value) if value is not None and dialect.name == "sqlite" else value
