"""A set of tools of which only those that fit a pattern are offered and can be called."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from agentkit.errors import UnknownTool
from agentkit.tools.base import BaseToolManager, ToolContext, ToolSpec
from agentkit.tools.name_patterns import NamePatterns
from agentkit.tools.wrapper import ToolWrapper
from agentkit.transcript import ToolCall, ToolResult


class AllowedTools(ToolWrapper):
    """The tools of `inner` whose name fits one of the patterns (`demo.*`, `calculator`); the others do not exist."""

    def __init__(self, inner: BaseToolManager, patterns: Iterable[str]) -> None:
        super().__init__(inner)
        self._patterns = NamePatterns(patterns)

    async def specs(self) -> Sequence[ToolSpec]:
        return tuple(spec for spec in await self._inner.specs() if self._patterns.fit(spec.name))

    async def call(self, call: ToolCall, context: ToolContext) -> ToolResult:
        if not self._patterns.fit(call.name):
            raise UnknownTool(f"There is no tool named {call.name!r}.")
        return await self._inner.call(call, context)
