"""Who says whether a tool call may be made."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TypeAlias

from agentkit.tools.base import ToolContext, ToolSpec
from agentkit.transcript import ToolCall


@dataclass(frozen=True, slots=True)
class Allowed:
    """The call may be made."""


@dataclass(frozen=True, slots=True)
class Denied:
    """The call must not be made; the model is told why."""

    reason: str


Verdict: TypeAlias = Allowed | Denied


class BaseSecurityManager(ABC):
    """Judges each tool call right before it is made."""

    @abstractmethod
    async def judge(self, call: ToolCall, spec: ToolSpec, context: ToolContext) -> Verdict:
        """Whether this call, with exactly these arguments, may be made now."""
