"""Data for people (tables) and for programs (json, jsonl, yaml); ids alone when asked to be quiet."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from enum import StrEnum
from typing import Annotated

import typer
from rich.cells import cell_len
from rich.table import Table
from rich.text import Text

from ops_core.cli.terminal import data_console, printable
from ops_core.domain.task import JsonObject, JsonValue

#: Blanks between two columns.
_GAP = 2
#: Columns of the terminal that the last one is not cut below.
_NARROWEST = 10


class OutputFormat(StrEnum):
    """How data is written."""

    table = "table"
    json = "json"
    jsonl = "jsonl"
    yaml = "yaml"


Output = Annotated[OutputFormat, typer.Option("-o", "--output", help="How to write the data.")]
Quiet = Annotated[bool, typer.Option("-q", "--quiet", help="Write ids only.")]


def write_line(text: str) -> None:
    """One line of data, as it is."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def write_value(value: JsonValue, output: OutputFormat) -> None:
    """One value in a form for programs; a list is one line an item in jsonl."""
    match output:
        case OutputFormat.jsonl:
            for item in value if isinstance(value, list) else [value]:
                write_line(json.dumps(item, ensure_ascii=False))
        case OutputFormat.yaml:
            import yaml  # 40 ms that other formats need not pay

            sys.stdout.write(yaml.safe_dump(value, allow_unicode=True, sort_keys=False))
        case OutputFormat.json | OutputFormat.table:
            write_line(json.dumps(value, ensure_ascii=False, indent=2))


def write_table(columns: Sequence[str], rows: Iterable[Sequence[str | Text]]) -> None:
    """Columns for people; the last gives way where the terminal is too narrow."""
    _print(table_of(columns, rows, width=data_console().width))


def table_of(columns: Sequence[str], rows: Iterable[Sequence[str | Text]], *, width: int) -> Table:
    """The table, not yet written."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    cells = [[cell if isinstance(cell, Text) else Text(printable(cell)) for cell in row] for row in rows]
    *first, last = columns
    left = width
    for number, column in enumerate(first):
        # Left to itself, rich takes from each column as much as the last has too much.
        fitting = max([cell_len(column), *(row[number].cell_len for row in cells)])
        table.add_column(column, no_wrap=True, width=fitting)
        left -= fitting + _GAP
    table.add_column(last, no_wrap=True, overflow="ellipsis", max_width=max(left, _NARROWEST))
    for row in cells:
        table.add_row(*row)
    return table


def write_facts(facts: JsonObject) -> None:
    """Names and values, one a line; what is not set is left out."""
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in facts.items():
        if value is None or value in ({}, []):
            continue
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        table.add_row(Text(name), Text(printable(text)))
    _print(table)


def _print(table: Table) -> None:
    console = data_console()
    if console.is_terminal:
        console.print(table)
        return
    # Tables fill their lines with blanks, which only a terminal does not mind.
    with console.capture() as captured:
        console.print(table)
    for line in captured.get().splitlines():
        write_line(line.rstrip())
