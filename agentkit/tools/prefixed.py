"""A set of tools whose names begin with the name of where they come from."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from agentkit.errors import ConfigurationError, UnknownTool
from agentkit.tools.base import BaseToolManager, ToolContext, ToolSpec
from agentkit.tools.wrapper import ToolWrapper
from agentkit.transcript import ToolCall, ToolResult

#: As the name of an MCP server, which is such a prefix too; short enough to leave room for the tool's own name.
_PREFIX = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]{0,31}")


class PrefixedTools(ToolWrapper):
    """The tool `search` of `inner` is `github.search` here; without its prefix it does not exist.

    What a vendor would not take as a name (the dot, more than 64 characters) its client rewrites, and back.
    """

    def __init__(self, inner: BaseToolManager, prefix: str) -> None:
        """
        Raises:
            ConfigurationError: the prefix is no good.
        """
        super().__init__(inner)
        if not _PREFIX.fullmatch(prefix):
            raise ConfigurationError(
                f"tool prefix {prefix!r} is no good: 1 to 32 letters, digits, '_' or '-', not starting with '-'"
            )
        self._prefix = f"{prefix}."

    async def specs(self) -> Sequence[ToolSpec]:
        return tuple(replace(spec, name=self._prefix + spec.name) for spec in await self._inner.specs())

    async def call(self, call: ToolCall, context: ToolContext) -> ToolResult:
        if not call.name.startswith(self._prefix):
            raise UnknownTool(f"There is no tool named {call.name!r}.")
        own = replace(call, name=call.name.removeprefix(self._prefix))
        return replace(await self._inner.call(own, context), name=call.name)
