"""A set of tools around another: what every wrapper has in common."""

from __future__ import annotations

from collections.abc import Sequence

from agentkit.tools.base import BaseToolManager, ToolContext, ToolSpec
from agentkit.transcript import ToolCall, ToolResult


class ToolWrapper(BaseToolManager):
    """The tools of `inner`, as they are. A subclass overrides what it changes, so that wrappers compose.

    Closing a wrapper closes what it is around.
    """

    def __init__(self, inner: BaseToolManager) -> None:
        self._inner = inner

    async def specs(self) -> Sequence[ToolSpec]:
        return await self._inner.specs()

    async def call(self, call: ToolCall, context: ToolContext) -> ToolResult:
        return await self._inner.call(call, context)

    async def aclose(self) -> None:
        await self._inner.aclose()
