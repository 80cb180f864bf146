"""Tools by which a model gives the conversation to another agent."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from agentkit.errors import UnknownTool
from agentkit.tools.base import BaseToolManager, ToolContext, ToolSpec
from agentkit.transcript import ToolCall, ToolResult

PREFIX = "hand_off."


class HandOffs(BaseToolManager):
    """A tool `hand_off.<name>` for each of these agents. The call itself does nothing: the loop reads its name."""

    def __init__(self, names: Iterable[str]) -> None:
        self._names = tuple(names)

    async def specs(self) -> Sequence[ToolSpec]:
        nothing = {"type": "object", "properties": {}, "additionalProperties": False}
        return tuple(
            ToolSpec(PREFIX + name, f"Let the agent {name} take over; it answers in your place.", nothing, False)
            for name in self._names
        )

    async def call(self, call: ToolCall, context: ToolContext) -> ToolResult:
        name = call.name.removeprefix(PREFIX)
        if name not in self._names or not call.name.startswith(PREFIX):
            raise UnknownTool(f"There is no tool named {call.name!r}.")
        return ToolResult(call.id, call.name, f"The agent {name} takes over.")
