"""Notices that an event loop stands still, and names the step whose tool blocks it."""

from __future__ import annotations

import asyncio
import logging
import sys
import threading
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from weakref import WeakKeyDictionary

from agentkit.hooks import FinishedStep, NoHooks, RunHooks
from agentkit.journal import StepKind
from agentkit.report import RunReport

logger = logging.getLogger(__name__)

#: Looks at the loop in each stretch of `seconds`. A thread that was stopped together with the loop (a suspended
#: machine) has then missed one of them, whatever the clock says, and calls nothing a stall.
_LOOKS = 8
#: Frames of the stack that are told, the innermost ones.
_FRAMES = 30
_JOIN_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class RunningStep:
    """A step that has begun and not finished."""

    run_id: str
    key: str
    kind: StepKind
    #: Of the model or the tool.
    name: str


@dataclass(frozen=True, slots=True)
class Blocked:
    """What is known of a loop that stands still."""

    #: How long it has, at least.
    seconds: float
    #: What the loop's thread is doing, innermost call last.
    stack: str
    #: The step whose task the loop is in: it blocks the loop. None when that task is no step's.
    step: RunningStep | None
    #: All steps that have begun: when `step` is None the one to blame is among them, if it is a step at all.
    running: tuple[RunningStep, ...]

    def __str__(self) -> str:
        named = [self.step] if self.step is not None else list(self.running)
        steps = ", ".join(f"{step.kind} {step.name!r} (run {step.run_id}, step {step.key})" for step in named[:10])
        who = "in " if self.step is not None else "while these ran: "
        return f"the event loop has stood still for {self.seconds:g} s " + (
            who + steps if steps else "outside any step"
        )


class RunningSteps:
    """The steps that run on one event loop now, for whoever asks from another thread."""

    def __init__(self) -> None:
        #: By task: each call of a tool has one of its own. A step that does not finish goes with its task.
        self._steps: WeakKeyDictionary[asyncio.Task[object], RunningStep] = WeakKeyDictionary()

    def hooks(self, run_id: str, inner: RunHooks | None = None) -> RunHooks:
        """Hooks that keep the steps of one run here and tell `inner` everything."""
        return _KeepingHooks(self, run_id, inner or NoHooks())

    def all(self) -> tuple[RunningStep, ...]:
        return tuple(step for task, step in self._items() if not task.done())

    def of(self, task: asyncio.Task[object] | None) -> RunningStep | None:
        """The step that this task makes; None when it makes none."""
        return None if task is None else dict(self._items()).get(task)

    def begin(self, step: RunningStep) -> None:
        if (task := asyncio.current_task()) is not None:
            self._steps[task] = step

    def end(self) -> None:
        if (task := asyncio.current_task()) is not None:
            self._steps.pop(task, None)

    def _items(self) -> list[tuple[asyncio.Task[object], RunningStep]]:
        for _ in range(100):
            try:
                return list(self._steps.items())
            except RuntimeError:  # the loop goes on, and begins or ends a step meanwhile
                continue
        return []


class _KeepingHooks:
    def __init__(self, steps: RunningSteps, run_id: str, inner: RunHooks) -> None:
        self._steps = steps
        self._run_id = run_id
        self._inner = inner

    @property
    def wants_text(self) -> bool:
        return self._inner.wants_text

    def step_started(self, key: str, kind: StepKind, name: str) -> None:
        self._steps.begin(RunningStep(self._run_id, key, kind, name))
        self._inner.step_started(key, kind, name)

    def step_finished(self, step: FinishedStep) -> None:
        if not step.replayed:
            self._steps.end()
        self._inner.step_finished(step)

    def step_broken_off(self, key: str, error: BaseException) -> None:
        self._steps.end()
        self._inner.step_broken_off(key, error)

    def run_started(self, run_id: str) -> None:
        self._inner.run_started(run_id)

    def run_ended(self, report: RunReport | None, error: BaseException | None) -> None:
        self._inner.run_ended(report, error)

    def text_received(self, key: str, text: str) -> None:
        self._inner.text_received(key, text)

    def text_ended(self, key: str) -> None:
        self._inner.text_ended(key)


def log_blocked(blocked: Blocked) -> None:
    """Says so in the log, with the stack."""
    logger.warning("%s\n%s", blocked, blocked.stack)


class LoopWatch:
    """A thread that asks one event loop again and again whether it turns.

    `on_blocked` is called on that thread, once each time the loop has not turned for `seconds`. A tool that keeps the
    interpreter to itself (a C extension that does not let other threads run) stops this thread too: only another
    process can notice that.
    """

    def __init__(
        self,
        *,
        seconds: float = 1.0,
        on_blocked: Callable[[Blocked], None] = log_blocked,
        steps: RunningSteps | None = None,
    ) -> None:
        """
        Args:
            steps: What names the step to blame; agents tell it by `RunningSteps.hooks`.
        """
        self._seconds = seconds
        self._on_blocked = on_blocked
        self._steps = steps or RunningSteps()
        self._stopping = threading.Event()
        self._silent_seconds = 0.0
        self._thread: threading.Thread | None = None

    @property
    def silent_seconds(self) -> float:
        """For how long the loop has not turned, as far as this thread has seen."""
        return self._silent_seconds

    def start(self) -> None:
        """Watch the loop that this is called on; once."""
        loop, watched = asyncio.get_running_loop(), threading.get_ident()
        self._thread = threading.Thread(target=self._watch, args=(loop, watched), name="loop-watch", daemon=True)
        self._thread.start()

    async def aclose(self) -> None:
        """Watch no longer. Harmless when called twice."""
        self._stopping.set()
        if self._thread is not None:
            await asyncio.to_thread(self._thread.join, _JOIN_SECONDS)

    def _watch(self, loop: asyncio.AbstractEventLoop, watched: int) -> None:
        look_seconds = self._seconds / _LOOKS
        while not self._stopping.wait(look_seconds):
            turned = threading.Event()
            try:
                loop.call_soon_threadsafe(turned.set)
            except RuntimeError:
                return  # the loop is closed
            self._silent_seconds, told = 0.0, False
            while not turned.wait(look_seconds) and not self._stopping.is_set():
                self._silent_seconds += look_seconds
                if self._silent_seconds >= self._seconds and not told:
                    told = True
                    self._tell(loop, watched)
            self._silent_seconds = 0.0

    def _tell(self, loop: asyncio.AbstractEventLoop, watched: int) -> None:
        frame = sys._current_frames().get(watched)
        if frame is None or loop.is_closed():
            return
        stack = "".join(traceback.format_list(traceback.extract_stack(frame)[-_FRAMES:]))
        del frame
        step = self._steps.of(asyncio.current_task(loop))
        try:
            self._on_blocked(Blocked(self._silent_seconds, stack, step, self._steps.all()))
        except Exception:  # the driver of this thread: who only listens must not end the watch
            logger.exception("on_blocked failed")
