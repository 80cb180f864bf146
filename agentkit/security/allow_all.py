"""The security manager that allows every call."""

from __future__ import annotations

from agentkit.security.base import Allowed, BaseSecurityManager, Verdict
from agentkit.tools.base import ToolContext, ToolSpec
from agentkit.transcript import ToolCall


class AllowAll(BaseSecurityManager):
    """Allows every call of every tool the agent was given."""

    async def judge(self, call: ToolCall, spec: ToolSpec, context: ToolContext) -> Verdict:
        return Allowed()
