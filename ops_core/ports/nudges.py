"""What processes tell each other in passing."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol
from uuid import UUID

from ops_core.domain.text import TextDelta


class NudgeKind(StrEnum):
    """Why somebody may want to look."""

    #: The task's log has grown to `seq`.
    event = "event"
    #: A cancel was requested.
    cancel = "cancel"
    #: Something has a time sooner than a housekeeper may expect.
    due = "due"
    #: The model's text of a step has grown.
    text = "text"


@dataclass(frozen=True, slots=True)
class Nudge:
    """A hint across processes that may be lost: whoever gets it reads SQL again."""

    kind: NudgeKind
    task_id: UUID
    #: How far the log has grown; of a `due` nudge, the milliseconds until then.
    seq: int = 0
    #: Of a `text` nudge: what has grown, and by what.
    delta: TextDelta | None = None


class NudgeBus(Protocol):
    """Lossy broadcast to every process."""

    def send(self, nudges: Sequence[Nudge]) -> None:
        """Never blocks, never fails; what cannot be sent is dropped."""

    def subscribe(
        self, listener: Callable[[Nudge], None], kinds: Collection[NudgeKind] = tuple(NudgeKind)
    ) -> Callable[[], None]:
        """Call the listener (on the event loop) for each nudge of these kinds from now on; returns what ends it."""
