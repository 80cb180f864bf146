"""A set of tools made of Python functions."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from agentkit.errors import ConfigurationError, ToolTimeout, UnknownTool
from agentkit.tools.base import BaseToolManager, OnUnknown, ToolContext, ToolSpec
from agentkit.tools.function import FunctionTool
from agentkit.tools.threads import DaemonThreads
from agentkit.transcript import ToolCall, ToolResult

#: What models accept as a name; the dot separates an MCP server from its tool.
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}")


class ToolRegistry(BaseToolManager):
    """Typed functions, plain or decorated with `@tool`, by name and in the order they were added."""

    def __init__(self, tools: Iterable[Callable[..., Any]] = (), *, threads: int = 64) -> None:
        """
        Args:
            threads: Synchronous functions that may run at the same time.

        Raises:
            ConfigurationError: as `add`.
        """
        self._tools: dict[str, FunctionTool[..., Any]] = {}
        self._threads = DaemonThreads(limit=threads)
        for each in tools:
            self.add(each)

    def add(
        self,
        function: Callable[..., Any],
        *,
        name: str | None = None,
        description: str | None = None,
        side_effect: bool = True,
        on_unknown: OnUnknown = OnUnknown.ask,
    ) -> None:
        """Add a tool. The options are for plain functions; a decorated one has said its own.

        Raises:
            ConfigurationError: the name is taken or no good, or a type hint has no JSON Schema.
        """
        if not isinstance(function, FunctionTool):
            function = FunctionTool(
                function, name=name, description=description, side_effect=side_effect, on_unknown=on_unknown
            )
        name = function.spec.name
        if not _NAME.fullmatch(name):
            raise ConfigurationError(
                f"tool name {name!r} is no good: 1 to 64 letters, digits, '_', '-' or '.', not starting with '-' or '.'"
            )
        if name in self._tools:
            raise ConfigurationError(f"there are two tools named {name!r}; give one another name")
        self._tools[name] = function

    async def specs(self) -> Sequence[ToolSpec]:
        return tuple(each.spec for each in self._tools.values())

    async def call(self, call: ToolCall, context: ToolContext) -> ToolResult:
        if (found := self._tools.get(call.name)) is None:
            raise UnknownTool(f"There is no tool named {call.name!r}.")
        try:
            async with asyncio.timeout(context.timeout_seconds) as limit:
                content = await found.call(call.arguments, context, self._threads)
        except TimeoutError as error:
            if not limit.expired():
                raise
            # Functions that never return keep their threads: say so, or every later call looks merely slow.
            why = ", and all threads for synchronous tools are taken" if self._threads.are_all_taken else ""
            raise ToolTimeout(
                f"The tool {call.name!r} did not finish within {context.timeout_seconds:g} s{why}."
            ) from error
        return ToolResult(call.id, call.name, content)
