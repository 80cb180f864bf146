"""A tool call as a step of the run, before it is made."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from agentkit.journal import Recalled, StepIntent, StepResult, fingerprint
from agentkit.tools.base import ToolSpec
from agentkit.transcript import ToolCall


@dataclass(frozen=True, slots=True)
class ToolStep:
    """One call of one answer, as the model made it, and what the journal knows of it."""

    key: str
    call: ToolCall
    #: The tools offered, by name.
    specs: Mapping[str, ToolSpec]
    known: Recalled

    @property
    def spec(self) -> ToolSpec | None:
        return self.specs.get(self.call.name)

    @property
    def fingerprint(self) -> str:
        return fingerprint(self.call.name, self.call.arguments)

    @property
    def result(self) -> StepResult | None:
        """What came of it: such a call is not made again."""
        return self.known if isinstance(self.known, StepResult) else None

    @property
    def intent(self) -> StepIntent | None:
        """That it was begun before, by a process that died."""
        return self.known if isinstance(self.known, StepIntent) else None
