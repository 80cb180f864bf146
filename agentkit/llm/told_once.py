"""Tells a reader the text of an answer that is begun anew: nothing twice, and nothing that does not follow."""

from __future__ import annotations

from collections.abc import Callable


class ToldOnce:
    """What one reader has been told, over all tries of one call.

    A try that begins as the one before it is held back until it says more, and goes on from there. One that says
    something else is not told at all: the reader is left with the beginning it has, and the answer that is returned is
    what counts. Most tries fail before they have said anything; then the next one is told as if it were the first.
    """

    def __init__(self, on_text: Callable[[str], None]) -> None:
        self._on_text = on_text
        self._told = ""
        #: How much of that this try has said again.
        self._repeated = 0
        self._goes_on = True
        self._pieces: list[str] = []

    def next_try(self) -> None:
        """What comes now begins the answer anew."""
        self._told += "".join(self._pieces)
        self._pieces.clear()
        self._repeated = 0
        self._goes_on = True

    def tell(self, text: str) -> None:
        """A piece of what this try says."""
        if not self._goes_on:
            return
        if self._repeated < len(self._told):
            text = self._beyond(text)
        if text:
            self._pieces.append(text)
            self._on_text(text)

    def _beyond(self, text: str) -> str:
        """The part of the piece that goes beyond what has been told."""
        again = text[: len(self._told) - self._repeated]
        if not self._told.startswith(again, self._repeated):
            self._goes_on = False
            return ""
        self._repeated += len(again)
        return text[len(again) :]
