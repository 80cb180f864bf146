"""What the outside may watch of a run while it runs."""

from __future__ import annotations

from typing import Protocol

from agentkit.journal import StepKind


class RunHooks(Protocol):
    """Called by the loop, on its event loop. A hook must be quick and must not raise."""

    @property
    def wants_text(self) -> bool:
        """Whether models are asked to say their answers piece by piece, for `text_received`."""

    def step_started(self, key: str, kind: StepKind, name: str) -> None:
        """A step is about to be executed. `name` is the model's or the tool's. Not called for a replayed step."""

    def step_finished(
        self,
        key: str,
        kind: StepKind,
        name: str,
        *,
        seconds: float,
        replayed: bool,
        is_error: bool,
        is_last: bool = False,
    ) -> None:
        """A step has its result, which is journaled; that of the step that ends the run (`is_last`) may be written only
        with the run's end. `seconds` is what it took when it was executed."""

    def text_received(self, key: str, text: str) -> None:
        """A piece of the text that the model is writing at this step. Never for a replayed step, and none of it is
        final until the step has finished: after an error the step begins anew."""

    def text_ended(self, key: str) -> None:
        """The model has said all of this step, which is not journaled yet: what is held back should be told now."""


class NoHooks:
    """Nobody watches."""

    wants_text = False

    def step_started(self, key: str, kind: StepKind, name: str) -> None:
        return

    def step_finished(
        self,
        key: str,
        kind: StepKind,
        name: str,
        *,
        seconds: float,
        replayed: bool,
        is_error: bool,
        is_last: bool = False,
    ) -> None:
        return

    def text_received(self, key: str, text: str) -> None:
        return

    def text_ended(self, key: str) -> None:
        return
