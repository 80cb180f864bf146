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
        #: As of the last time the sets were asked; kept so that a call goes straight to its tool.
        self._owners: dict[str, BaseToolManager] = {}

    async def specs(self) -> Sequence[ToolSpec]:
        """The tools of every set.

        Raises:
            ConfigurationError: two sets have a tool of the same name.
        """
        found = await asyncio.gather(*(manager.specs() for manager in self._managers))
        owners: dict[str, BaseToolManager] = {}
        for manager, specs in zip(self._managers, found, strict=True):
            for spec in specs:
                _claim(owners, spec.name, manager)
        self._owners = owners
        return tuple(spec for specs in found for spec in specs)

    async def call(self, call: ToolCall, context: ToolContext) -> ToolResult:
        if call.name not in self._owners:
            await self.specs()
        if (owner := self._owners.get(call.name)) is None:
            raise UnknownTool(f"There is no tool named {call.name!r}.")
        return await owner.call(call, context)

    async def aclose(self) -> None:
        await asyncio.gather(*(manager.aclose() for manager in self._managers))


def _claim(owners: dict[str, BaseToolManager], name: str, manager: BaseToolManager) -> None:
    other = owners.setdefault(name, manager)
    if other is not manager:
        raise ConfigurationError(
            f"{type(other).__name__} and {type(manager).__name__} both have a tool named {name!r}; "
            "rename one, or leave one out with AllowedTools"
        )
