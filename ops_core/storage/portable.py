"""SQLAlchemy statements on the drivers' own connections: one text serves both databases in a write transaction."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from sqlalchemy import Dialect, Executable
from sqlalchemy.sql.compiler import SQLCompiler


def compiled(
    statement: Executable, dialect: Dialect
) -> tuple[str, Mapping[str, Any], Callable[[Mapping[str, Any]], dict[str, Any]]]:
    """The text, the values, and what makes Python values of a row that comes back."""
    made: Any = statement.compile(dialect=dialect, compile_kwargs={"render_postcompile": True})  # type: ignore[attr-defined]  # every statement of Core has it
    assert isinstance(made, SQLCompiler)
    expanded = made._post_compile_expanded_state
    # Of each value of an IN apart: they have names of their own.
    processors: Any = {**made._bind_processors, **(expanded.processors if expanded is not None else {})}
    values = {
        name: processors[name](value) if name in processors else value for name, value in (made.params or {}).items()
    }
    readers = {
        entry.keyname: reader
        for entry in made._result_columns
        if (reader := entry.type._cached_result_processor(dialect, None)) is not None
    }

    def read(row: Mapping[str, Any]) -> dict[str, Any]:
        return {name: readers[name](value) if name in readers else value for name, value in row.items()}

    return str(made), values, read
