"""The terminal: data on stdout, talk on stderr, and no control character of a stranger on either."""

from __future__ import annotations

import sys
from typing import IO

from rich.console import Console
from rich.text import Text

#: Where no terminal says how wide it is, a program reads: never wrap.
_UNBOUNDED_COLUMNS = 2_000
#: Everything that could move the cursor, change colours or hide text; line feed and tab stay.
_CONTROL = {code: f"\\x{code:02x}" for code in (*range(0x20), *range(0x7F, 0xA0)) if chr(code) not in "\n\t"}


def data_console() -> Console:
    """For what was asked for."""
    return _console(sys.stdout)


def talk_console() -> Console:
    """For everything said on the way."""
    return _console(sys.stderr)


def say(text: str, *, style: str = "") -> None:
    """One line of talk."""
    talk_console().print(Text(printable(text), style=style), soft_wrap=True)


def printable(text: str) -> str:
    """The text with control characters spelled out: models and tools may answer anything."""
    return text.translate(_CONTROL)


def shortened(text: str, characters: int) -> str:
    """The text on one line of at most so many characters."""
    line = " ".join(printable(text).split())
    return line if len(line) <= characters else line[: characters - 1] + "…"


def _console(file: IO[str]) -> Console:
    # NO_COLOR and whether it is a terminal at all are rich's to ask.
    return Console(file=file, width=None if file.isatty() else _UNBOUNDED_COLUMNS, highlight=False, emoji=False)
