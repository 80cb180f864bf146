"""Who says whether a tool call may be made."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import TypeAlias

from agentkit.tools.base import ToolContext, ToolSpec
from agentkit.transcript import JsonObject, ToolCall


@dataclass(frozen=True, slots=True)
class Allowed:
    """The call may be made."""


@dataclass(frozen=True, slots=True)
class Denied:
    """The call must not be made; the model is told why."""

    reason: str


@dataclass(frozen=True, slots=True)
class NeedsApproval:
    """The call may be made once somebody has said so."""

    #: Why, and what the call will do: for whoever decides.
    message: str
    #: Who may decide, how many must, how long it may take: added to the request, which is opaque to agentkit.
    terms: JsonObject = field(default_factory=dict)


Verdict: TypeAlias = Allowed | Denied | NeedsApproval


class BaseSecurityManager(ABC):
    """Judges each tool call right before it is made."""

    @abstractmethod
    async def judge(self, call: ToolCall, spec: ToolSpec, context: ToolContext) -> Verdict:
        """Whether this call, with exactly these arguments, may be made now.

        Asked again when a run is resumed, and once more for arguments that an approver has changed: for these
        `NeedsApproval` on the same terms is met already, on others it asks once more, and `Denied` still denies.
        Whatever it raises, and a verdict that is none, denies the call.
        """
