"""The security manager that allows the tools whose name fits a pattern."""

from __future__ import annotations

from collections.abc import Iterable

from agentkit.security.base import Allowed, BaseSecurityManager, Denied, Verdict
from agentkit.tools.base import ToolContext, ToolSpec
from agentkit.tools.name_patterns import NamePatterns
from agentkit.transcript import ToolCall


class AllowList(BaseSecurityManager):
    """Allows a call when its tool's name fits one of the patterns (`demo.*`, `calculator`); denies all others."""

    def __init__(self, patterns: Iterable[str]) -> None:
        self._patterns = NamePatterns(patterns)

    async def judge(self, call: ToolCall, spec: ToolSpec, context: ToolContext) -> Verdict:
        if self._patterns.fit(spec.name):
            return Allowed()
        return Denied("this agent may not use the tool")
