"""A set of tools of which only those that fit a pattern are offered and can be called."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase

from agentkit.errors import UnknownTool
from agentkit.tools.base import BaseToolManager, ToolContext, ToolSpec
from agentkit.transcript import ToolCall, ToolResult


class AllowedTools(BaseToolManager):
    """The tools of `inner` whose name fits one of the patterns (`demo.*`, `calculator`); the others do not exist."""

    def __init__(self, inner: BaseToolManager, patterns: Iterable[str]) -> None:
        self._inner = inner
        self._patterns = (patterns,) if isinstance(patterns, str) else tuple(patterns)

    async def specs(self) -> Sequence[ToolSpec]:
        return tuple(spec for spec in await self._inner.specs() if self._allows(spec.name))

    async def call(self, call: ToolCall, context: ToolContext) -> ToolResult:
        if not self._allows(call.name):
            raise UnknownTool(f"There is no tool named {call.name!r}.")
        return await self._inner.call(call, context)

    async def aclose(self) -> None:
        await self._inner.aclose()

    def _allows(self, name: str) -> bool:
        return any(fnmatchcase(name, pattern) for pattern in self._patterns)
