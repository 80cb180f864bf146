from __future__ import annotations

import io

from rich.console import Console
from rich.text import Text

from ops_core.cli.output import table_of


def shown(width: int, *rows: tuple[str | Text, ...]) -> list[str]:
    console = Console(file=io.StringIO(), width=width)
    with console.capture() as captured:
        console.print(table_of(("CHECK", "", "FOUND"), rows, width=width))
    return [line.rstrip() for line in captured.get().splitlines()]


def test_only_the_last_column_gives_way_on_a_narrow_terminal() -> None:
    _, first, second = shown(40, ("settings", Text("ok"), "x" * 100), ("datenbank-überprüfung", Text("fail"), "y"))
    assert first == "settings               ok    " + "x" * 10 + "…"
    assert second == "datenbank-überprüfung  fail  y"


def test_nothing_is_cut_where_there_is_room() -> None:
    assert "x" * 100 in shown(200, ("settings", "ok", "x" * 100))[1]
