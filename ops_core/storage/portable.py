"""SQLAlchemy statements on the drivers' own connections: one text serves both databases in a write transaction."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from sqlalchemy import Dialect, Executable
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.util import LRUCache

#: To compile takes longer than to ask; statements of one shape differ in their values only, and there are few shapes.
_SHAPES: LRUCache[Any, Any] = LRUCache(500)


def compiled(
    statement: Executable, dialect: Dialect
) -> tuple[str, Mapping[str, Any], Callable[[Mapping[str, Any]], dict[str, Any]]]:
    """The text, the values, and what makes Python values of a row that comes back."""
    # As `Connection.execute` does it, whose cache is bound to its engine.
    made, own, collected, _ = statement._compile_w_cache(dialect, compiled_cache=_SHAPES, column_keys=[])
    assert isinstance(made, SQLCompiler)
    given = made.construct_params(extracted_parameters=own, escape_names=False, _collected_params=collected)
    text = made.string
    processors: dict[str, Any] = dict(made._bind_processors)
    if made.literal_execute_params or made.post_compile_params:
        # Of each value of an IN apart: they have names of their own.
        expanded = made._process_parameters_for_postcompile(given)
        text = expanded.statement
        processors.update(expanded.processors)
    values = {name: _processed(processors.get(name), value) for name, value in given.items()}
    readers = {
        entry.keyname: reader
        for entry in made._result_columns
        if (reader := entry.type._cached_result_processor(dialect, None)) is not None
    }

    def read(row: Mapping[str, Any]) -> dict[str, Any]:
        return {name: readers[name](value) if name in readers else value for name, value in row.items()}

    return text, values, read


def _processed(processor: Callable[[Any], Any] | None, value: Any) -> Any:
    return value if processor is None else processor(value)
