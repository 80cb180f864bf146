"""Many rows as one parameter for each column: PostgreSQL array literals, several times cheaper than lists."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any
from uuid import UUID


def array_literal(values: Iterable[Any]) -> str:
    """The text of an array, to be cast where it is used: `%s::uuid[]`."""
    return "{" + ",".join(map(_element, values)) + "}"


def _element(value: Any) -> str:
    match value:
        case None:
            return "NULL"
        case str():
            return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
        case UUID():
            return value.hex
        case bool():
            return "t" if value else "f"
        case datetime():
            return value.isoformat()
        case _:
            return str(value)
