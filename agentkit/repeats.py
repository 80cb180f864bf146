"""Notices a model that goes round in circles: the same calls with the same results, again and again."""

from __future__ import annotations

from collections.abc import Sequence

from agentkit.journal import fingerprint
from agentkit.transcript import ToolCall, ToolResult

#: From so many times on the model is told.
_TOLD_FROM = 3


class Repeats:
    """The tool calls of one run, compared with those before them."""

    def __init__(self) -> None:
        self._last = ""
        #: How often the last calls were made in a row, with the same results.
        self.in_a_row = 0
        #: The tools of the last calls.
        self.tools = ""

    def add(self, calls: Sequence[ToolCall], results: Sequence[ToolResult]) -> None:
        """Calls were made, and this came of them. Their ids do not matter."""
        made = fingerprint(
            [[call.name, call.arguments] for call in calls], [[each.content, each.is_error] for each in results]
        )
        self.in_a_row = self.in_a_row + 1 if made == self._last else 1
        self._last = made
        self.tools = ", ".join(dict.fromkeys(repr(call.name) for call in calls))

    def forget(self) -> None:
        """Something else came between."""
        self._last, self.in_a_row = "", 0

    @property
    def note(self) -> str:
        """What to tell the model; empty while there is nothing to tell."""
        if self.in_a_row < _TOLD_FROM:
            return ""
        return (
            f"You have called {self.tools} {self.in_a_row} times in a row with the same arguments and the same result. "
            "It will not change. Do something else, or give your answer with what you know."
        )
