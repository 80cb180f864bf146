"""What bounds a run, and the word for the bound that ended it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class LimitName(StrEnum):
    """The limits that can end a run."""

    steps = "steps"
    seconds = "seconds"
    tokens = "tokens"
    #: The model's answers could not be used, too often in a row.
    corrections = "corrections"
    #: The same calls with the same results, too often in a row.
    repeats = "repeats"


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Bounds on one run. Replayed steps count as they did when they were first made."""

    #: Model calls.
    steps: int = 25
    #: Active time: model calls and tool calls, as journaled. Waiting between resumes is not counted.
    seconds: float = 600.0
    #: Input and output tokens of all model calls together.
    tokens: int = 500_000
    #: Answers in a row that cannot be used (malformed, unknown tool, bad arguments).
    corrections: int = 3
    #: The same tool calls in a row, with the same arguments and the same results.
    repeats: int = 6
    #: One model call.
    llm_seconds: float = 120.0
    #: One tool call.
    tool_seconds: float = 60.0
    #: Bytes (UTF-8) of one tool result that the model sees; the rest is cut off, and says so.
    tool_result_bytes: int = 64_000
    #: Tool calls of one answer.
    calls_per_step: int = 32

    def __post_init__(self) -> None:
        for name in self.__dataclass_fields__:
            if not getattr(self, name) > 0:
                raise ValueError(f"limit {name} must be greater than 0")
