"""The security manager that has a person asked before tools whose name fits a pattern are called."""

from __future__ import annotations

import json
from collections.abc import Iterable

from agentkit.errors import BadToolArguments
from agentkit.security.allow_all import AllowAll
from agentkit.security.base import Allowed, BaseSecurityManager, NeedsApproval, Verdict
from agentkit.tools.base import ToolContext, ToolSpec
from agentkit.tools.name_patterns import NamePatterns
from agentkit.transcript import JsonObject, ToolCall

#: Characters of the arguments in the message; the whole arguments are shown beside it.
_ARGUMENTS_LENGTH = 500


class AskFirst(BaseSecurityManager):
    """What `inner` allows, a person must approve too when the tool fits one of the patterns (`files.*`, `pay`).

    A security manager, not a wrapper of tools: a call is judged before it is journaled as begun, so that also a tool
    with a side effect can be asked about, and a person can change its arguments, reject it or answer in its place.
    A name is the one that the model calls the tool by, with the prefixes of the wrappers around it. A call through the
    proxy for MCP tools is asked about by the name of the tool that it reaches as well.
    """

    def __init__(
        self,
        patterns: Iterable[str],
        *,
        inner: BaseSecurityManager | None = None,
        message: str = "",
        terms: JsonObject | None = None,
    ) -> None:
        """
        Args:
            inner: Judges first. Its denial is final, and its own request for approval stands. None allows all.
            message: Told to the person; empty names the call.
            terms: Who decides, how long it may take: as `NeedsApproval.terms`.
        """
        self._patterns = NamePatterns(patterns)
        self._inner = inner or AllowAll()
        self._message = message
        self._terms = dict(terms or {})

    async def judge(self, call: ToolCall, spec: ToolSpec, context: ToolContext) -> Verdict:
        verdict = await self._inner.judge(call, spec, context)
        if not isinstance(verdict, Allowed):
            return verdict
        for tool, arguments in _calls_made(spec.name, call.arguments):
            if self._patterns.fit(tool):
                default = f"Call the tool {tool!r} with {_shown(arguments)}."
                return NeedsApproval(self._message or default, dict(self._terms))
        return verdict


def _calls_made(tool: str, arguments: JsonObject) -> list[tuple[str, JsonObject]]:
    """The call, and before it the one that it has the proxy make: no pattern is got around by another way."""
    from agentkit.mcp.tools import MCP_PROXY_TOOL, proxied_call

    # Also a proxy behind a prefix.
    if tool.rpartition(".")[2] != MCP_PROXY_TOOL:
        return [(tool, arguments)]
    try:
        server, reached, inner = proxied_call(arguments)
    except BadToolArguments:
        return [(tool, arguments)]
    return [(f"{server}.{reached}", inner), (tool, arguments)]


def _shown(arguments: JsonObject) -> str:
    text = json.dumps(arguments, ensure_ascii=False)
    text = "".join(char if char.isprintable() else " " for char in text)
    return text if len(text) <= _ARGUMENTS_LENGTH else f"{text[: _ARGUMENTS_LENGTH - 1]}…"
