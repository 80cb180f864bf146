"""Several sets of tools as one."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from agentkit.errors import ConfigurationError, UnknownTool
from agentkit.tools.base import BaseToolManager, ToolContext, ToolSpec
from agentkit.transcript import ToolCall, ToolResult


class CombinedTools(BaseToolManager):
    """The tools of all these sets, in their order. A name belongs to one set only."""

    def __init__(self, *managers: BaseToolManager) -> None:
        self._managers = managers

    async def specs(self) -> Sequence[ToolSpec]:
        """The tools of every set.

        Raises:
            ConfigurationError: two sets have a tool of the same name.
        """
        return tuple(spec for _, specs in await self._by_manager() for spec in specs)

    async def call(self, call: ToolCall, context: ToolContext) -> ToolResult:
        for manager, specs in await self._by_manager():
            if any(spec.name == call.name for spec in specs):
                return await manager.call(call, context)
        raise UnknownTool(f"There is no tool named {call.name!r}.")

    async def aclose(self) -> None:
        await asyncio.gather(*(manager.aclose() for manager in self._managers))

    async def _by_manager(self) -> list[tuple[BaseToolManager, Sequence[ToolSpec]]]:
        found = await asyncio.gather(*(manager.specs() for manager in self._managers))
        owners: dict[str, BaseToolManager] = {}
        for manager, specs in zip(self._managers, found, strict=True):
            for spec in specs:
                other = owners.setdefault(spec.name, manager)
                if other is not manager:
                    raise ConfigurationError(
                        f"{type(other).__name__} and {type(manager).__name__} both have a tool named {spec.name!r}; "
                        "rename one, or leave one out with AllowedTools"
                    )
        return list(zip(self._managers, found, strict=True))
