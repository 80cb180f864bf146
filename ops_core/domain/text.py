"""The text that a model is writing: told in pieces while it grows, outside of the task's numbered log."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace

#: Pieces of one step that came before their turn; more are dropped, and read again as part of the whole.
_MAX_EARLY = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class TextDelta:
    """A piece of the text of one step. Never final: the step's result is an event, and holds the whole text."""

    step_key: str
    #: The claim of the task that writes it (its fencing number). A higher one writes the step's text anew.
    epoch: int
    #: How many characters (Unicode code points) of the text come before this piece; 0 begins it.
    offset: int
    text: str

    @property
    def end(self) -> int:
        """How much of the text there is with this piece."""
        return self.offset + len(self.text)

    def after(self, offset: int) -> TextDelta:
        """What of it comes after so many characters of the whole text."""
        return replace(self, offset=offset, text=self.text[offset - self.offset :])


@dataclass(slots=True)
class _Step:
    #: How much of its text was given.
    known: int = 0
    #: What cannot be given before what is missing, by offset.
    early: dict[int, TextDelta] = field(default_factory=dict)


class LiveText:
    """Puts pieces that may be lost, doubled or come in any order into the order in which they can be told.

    It keeps how far the text of each step was given, not the text.
    """

    def __init__(self) -> None:
        self._epoch = 0
        self._steps: dict[str, _Step] = {}
        self._finished: set[str] = set()

    @property
    def has_gap(self) -> bool:
        """Something is missing before a piece that is here: the text so far has to be read."""
        return any(step.early for step in self._steps.values())

    def lacks(self, piece: TextDelta) -> bool:
        """Whether it has still to be given the piece, or the end of it."""
        if piece.epoch < self._epoch or piece.step_key in self._finished:
            return False
        step = self._steps.get(piece.step_key)
        return piece.epoch > self._epoch or step is None or piece.end > step.known

    def add(self, pieces: Iterable[TextDelta]) -> Iterator[TextDelta]:
        """What can be told now, each character once for each epoch; a piece from the start may be the text so far."""
        for piece in pieces:
            if not self.lacks(piece):
                continue
            if piece.epoch > self._epoch:
                self._epoch = piece.epoch
                self._steps.clear()
            yield from self._fitting(self._steps.setdefault(piece.step_key, _Step()), piece)

    def finish(self, step_key: str) -> None:
        """The step has its result: nothing more is told of its text."""
        self._finished.add(step_key)
        self._steps.pop(step_key, None)

    def begin_anew(self) -> None:
        """Another round: steps may run again under the same keys."""
        self._finished.clear()
        self._steps.clear()

    def _fitting(self, step: _Step, piece: TextDelta) -> Iterator[TextDelta]:
        if piece.offset > step.known:
            if len(step.early) < _MAX_EARLY:
                step.early[piece.offset] = piece
            return
        if piece.end > step.known:
            yield piece.after(step.known)
            step.known = piece.end
        for offset in sorted(step.early):
            if offset > step.known:
                return
            early = step.early.pop(offset)
            if early.end > step.known:
                yield early.after(step.known)
                step.known = early.end
