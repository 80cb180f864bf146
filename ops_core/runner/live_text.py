"""Sends a model's text to those who watch while it is written, and keeps what late readers need."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from agentkit.hooks import FinishedStep, NoHooks
from agentkit.journal import StepKind
from ops_core.domain.text import TextDelta
from ops_core.errors import OpsCoreError
from ops_core.ports import Lease, Nudge, NudgeBus, NudgeKind, TextStore
from ops_core.telemetry import LogEvent, get_logger

_log = get_logger()

#: Pieces that come closer together than this are sent as one.
SEND_SECONDS = 0.02
#: How often the text so far is saved, at most.
SAVE_SECONDS = 0.25
#: A piece repeats at most so many characters that were sent before.
REPEATED_CHARACTERS = 1_000
#: How long the end of a run waits for the last of its text to be deleted; what is left then, the housekeeper finds.
_CLOSE_SECONDS = 2.0


@dataclass(slots=True)
class _Step:
    pieces: list[str] = field(default_factory=list)
    #: Characters so far, and those of them that were sent.
    length: int = 0
    sent: int = 0
    unsent: list[str] = field(default_factory=list)
    unsaved: bool = False
    #: How many characters the last save held that is known to be made.
    saved: int = 0
    #: What was sent after the save before that one. The next piece repeats it, so that a reader who has just read what
    #: is saved need not wait for the next save.
    recent: str = ""

    def next_piece(self) -> str:
        """What is to be sent now; it ends where the text ends."""
        self.recent = self.recent[-REPEATED_CHARACTERS:] + "".join(self.unsent)
        self.unsent.clear()
        self.sent = self.length
        return self.recent

    def was_saved(self, length: int) -> None:
        """Readers may rely on the save before this one: this one is too fresh for those who are reading now."""
        self.recent = self.recent[max(0, self.saved - (self.sent - len(self.recent))) :]
        self.saved = length


class LiveTextHooks(NoHooks):
    """The hooks of one claim of a task that streams. Everything it tells may be lost: the step's event will say it."""

    wants_text = True

    def __init__(self, lease: Lease, *, nudges: NudgeBus, texts: TextStore) -> None:
        self._lease = lease
        self._nudges = nudges
        self._texts = texts
        self._steps: dict[str, _Step] = {}
        self._sending: asyncio.TimerHandle | None = None
        self._sent_at = float("-inf")
        self._saving: asyncio.Task[None] | None = None
        #: Steps whose saved text is to be deleted, and whether there may be any at all.
        self._finished: list[str] = []
        # An earlier claim may have left some when its process died.
        self._saved = lease.epoch > 1

    def text_received(self, key: str, text: str) -> None:
        step = self._steps.setdefault(key, _Step())
        step.pieces.append(text)
        step.unsent.append(text)
        step.length += len(text)
        step.unsaved = True
        self._send_soon()
        self._save_soon()

    def text_ended(self, key: str) -> None:
        # Before the step's event: who has that is told no more text of it.
        if self._sending is not None:
            self._sending.cancel()
            self._send()

    def step_finished(self, step: FinishedStep) -> None:
        # Of the last step there is no event before the run's end, after which all of its text is forgotten.
        if step.kind is StepKind.llm and not step.replayed and not step.is_last:
            self._steps.pop(step.key, None)
            self._finished.append(step.key)
            if self._saved:
                self._save_soon()

    async def aclose(self) -> None:
        """The run is about to end, or has. Never raises."""
        if self._sending is not None:
            self._sending.cancel()
        self._steps.clear()
        saving, self._saving = self._saving, None
        if saving is not None:
            saving.cancel()
            await asyncio.gather(saving, return_exceptions=True)
        if self._saved:
            await self._forget_all()

    async def _forget_all(self) -> None:
        try:
            async with asyncio.timeout(_CLOSE_SECONDS):
                await self._texts.forget_text(self._lease)
        except (OpsCoreError, TimeoutError) as error:
            _log.debug(LogEvent.text_not_kept, reason=str(error) or "took too long")

    def _send_soon(self) -> None:
        """At once, unless something was sent just now."""
        if self._sending is None:
            loop = asyncio.get_running_loop()
            self._sending = loop.call_at(max(loop.time(), self._sent_at + SEND_SECONDS), self._send)

    def _send(self) -> None:
        self._sending = None
        self._sent_at = asyncio.get_running_loop().time()
        nudges = []
        for key, step in self._steps.items():
            if step.unsent:
                text = step.next_piece()
                offset = step.length - len(text)
                delta = TextDelta(step_key=key, epoch=self._lease.epoch, offset=offset, text=text)
                nudges.append(Nudge(NudgeKind.text, self._lease.task_id, delta=delta))
        self._nudges.send(nudges)

    def _save_soon(self) -> None:
        if self._saving is None:
            self._saving = asyncio.create_task(self._save_until_quiet(), name="live-text")

    async def _save_until_quiet(self) -> None:
        """Saves what has grown and deletes what is finished, with a pause before each time, while there is any."""
        try:
            while self._finished or any(step.unsaved for step in self._steps.values()):
                await asyncio.sleep(SAVE_SECONDS)
                try:
                    await self._save()
                except OpsCoreError as error:
                    _log.debug(LogEvent.text_not_kept, reason=str(error))
        finally:
            if self._saving is asyncio.current_task():
                self._saving = None

    async def _save(self) -> None:
        finished, self._finished = self._finished, []
        for key in finished if self._saved else ():
            await self._texts.forget_text(self._lease, key)
        for key, step in list(self._steps.items()):
            if step.unsaved:
                step.unsaved = False
                step.pieces = ["".join(step.pieces)]
                # Before it is known to be: a write whose answer is lost may have been made.
                self._saved = True
                text = step.pieces[0]
                try:
                    await self._texts.save_text(self._lease, key, text)
                except OpsCoreError:
                    step.unsaved = True
                    raise
                step.was_saved(len(text))
