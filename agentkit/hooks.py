"""What the outside may watch of a run while it runs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from agentkit.journal import StepKind

if TYPE_CHECKING:
    from agentkit.llm.base import LlmResponse
    from agentkit.report import RunReport


@dataclass(frozen=True, slots=True, kw_only=True)
class FinishedStep:
    """A step that has its result, which is journaled."""

    key: str
    kind: StepKind
    #: The model that answered, or the tool.
    name: str
    #: What it took when it was executed.
    seconds: float
    #: It was executed before, and not again.
    replayed: bool
    is_error: bool
    #: It ends the run: its result may be written only with the run's end.
    is_last: bool = False
    #: Of a model.
    response: LlmResponse | None = None


class RunHooks(Protocol):
    """Called by the loop, on its event loop. A hook must be quick and must not raise. `NoHooks` is a base for them."""

    @property
    def wants_text(self) -> bool:
        """Whether models are asked to say their answers piece by piece, for `text_received`."""

    def run_started(self, run_id: str) -> None:
        """A run begins, or goes on: on the task that it runs on."""

    def run_ended(self, report: RunReport | None, error: BaseException | None) -> None:
        """It is over, with a report or with an error; a run that waits ends with `RunSuspended`. On the same task."""

    def step_started(self, key: str, kind: StepKind, name: str) -> None:
        """A step is about to be executed, on this task. `name` is the model's or the tool's. Not called for a replayed
        step."""

    def step_finished(self, step: FinishedStep) -> None:
        """A step has its result. On the task that it was started on, if it was executed."""

    def step_broken_off(self, key: str, error: BaseException) -> None:
        """A step that was started has no result: the error says why. One that waits ends with `RunSuspended`. On the
        task that it was started on."""

    def text_received(self, key: str, text: str) -> None:
        """A piece of the text that the model is writing at this step. Never for a replayed step, and none of it is
        final until the step has finished: after an error the step begins anew."""

    def text_ended(self, key: str) -> None:
        """The model has said all of this step, which is not journaled yet: what is held back should be told now."""


class NoHooks:
    """Nobody watches. A base for hooks that care for some of it."""

    wants_text = False

    def run_started(self, run_id: str) -> None:
        return

    def run_ended(self, report: RunReport | None, error: BaseException | None) -> None:
        return

    def step_started(self, key: str, kind: StepKind, name: str) -> None:
        return

    def step_finished(self, step: FinishedStep) -> None:
        return

    def step_broken_off(self, key: str, error: BaseException) -> None:
        return

    def text_received(self, key: str, text: str) -> None:
        return

    def text_ended(self, key: str) -> None:
        return
