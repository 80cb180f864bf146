"""The text a model is writing, in the terminal: on the line where the last piece ended, until something happens."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.text import Text

from ops_core.cli.terminal import printable

if TYPE_CHECKING:
    from rich.console import Console

    from ops_core.client.answers import TextDelta


class TextLines:
    """Shows pieces as they come. One at a time: a task writes one text at once, except beside its children."""

    def __init__(self, console: Console) -> None:
        self._console = console
        #: The step and the claim whose text the open line shows.
        self._open: tuple[str, int] | None = None

    def show(self, delta: TextDelta) -> None:
        """Go on with the line, or begin one."""
        writer = (delta.step_key, delta.epoch)
        if self._open != writer:
            self.end()
            self._open = writer
        self._console.print(Text(printable(delta.text), style="dim"), end="", soft_wrap=True)
        self._console.file.flush()

    def end(self) -> None:
        """Close the line, if one is open."""
        if self._open is not None:
            self._open = None
            self._console.print()
