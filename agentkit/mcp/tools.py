"""MCP servers as tools of an agent: each discovered tool as `server.tool`, or one proxy tool that reaches them all."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

from agentkit.errors import BadToolArguments, ConfigurationError, ToolFailed, ToolTimeout, UnknownTool
from agentkit.mcp.connections import McpConnections
from agentkit.mcp.listing import McpTool
from agentkit.tools.base import BaseToolManager, OnUnknown, ToolContext, ToolSpec
from agentkit.transcript import JsonObject, ToolCall, ToolResult

#: Names listed in the answer to a call of an unknown tool.
_MOST_NAMES_LISTED = 50

MCP_PROXY_TOOL = "mcp_proxy_tool"


class McpTools(BaseToolManager):
    """The tools of some MCP servers, or of all: `server.tool`, servers in the order given, tools by name.

    What a server says of a tool decides how it is journaled: a read-only tool has no side effect; an idempotent one
    is called again when the outcome of a call is unknown; for any other a human decides. Arguments are validated by
    the server, which alone knows the dialect of its schemas; what it says of them is the error of the call.
    """

    def __init__(self, connections: McpConnections, servers: Sequence[str] | None = None) -> None:
        """
        Raises:
            ConfigurationError: a server is not configured.
        """
        for server in servers or ():
            if server not in connections.server_names:
                known = ", ".join(connections.server_names) or "none"
                raise ConfigurationError(
                    f"MCP server {server!r} is not configured, or disabled; configured are: {known}"
                )
        self._connections = connections
        self._servers = tuple(servers) if servers is not None else connections.server_names

    async def specs(self) -> Sequence[ToolSpec]:
        # A server that is down is not awaited twice: its failure is remembered while it is backed off.
        found = await asyncio.gather(*(self._tools_or_none(server) for server in self._servers))
        return [_spec(tool) for tools in found for tool in tools]

    async def call(self, call: ToolCall, context: ToolContext) -> ToolResult:
        server, tool = self._server_and_tool(call.name)
        return await _call(self._connections, call, context, server, tool, call.arguments)

    async def _tools_or_none(self, server: str) -> Sequence[McpTool]:
        try:
            return await self._connections.tools(server)
        except (ToolFailed, ToolTimeout, UnknownTool):
            return ()  # the connections have logged it, once per outage

    def _server_and_tool(self, name: str) -> tuple[str, str]:
        server, dot, tool = name.partition(".")
        if not dot or server not in self._servers:
            raise UnknownTool(f"there is no tool {name[:200]!r}; tools are named server.tool")
        return server, tool


class McpProxyTool(BaseToolManager):
    """One tool that calls any tool of any configured server. It can do anything, so it counts as a side effect."""

    def __init__(self, connections: McpConnections) -> None:
        self._connections = connections

    async def specs(self) -> Sequence[ToolSpec]:
        return [
            ToolSpec(
                name=MCP_PROXY_TOOL,
                description=(
                    "Call a tool of an MCP server by name. "
                    f"Servers: {', '.join(self._connections.server_names) or 'none'}. "
                    "A call of a tool that does not exist answers with the server's tools."
                ),
                parameters={
                    "type": "object",
                    "properties": {
                        "server": {"type": "string", "description": "Name of the server"},
                        "tool": {"type": "string", "description": "Name of the tool on that server"},
                        "arguments": {"type": "object", "description": "Arguments of the tool", "default": {}},
                    },
                    "required": ["server", "tool"],
                    "additionalProperties": False,
                },
                side_effect=True,
                on_unknown=OnUnknown.ask,
            )
        ]

    async def call(self, call: ToolCall, context: ToolContext) -> ToolResult:
        if call.name != MCP_PROXY_TOOL:
            raise UnknownTool(f"there is no tool {call.name[:200]!r}")
        server, tool, arguments = proxied_call(call.arguments)
        return await _call(self._connections, call, context, server, tool, arguments)


def mcp_proxy_tool(connections: McpConnections) -> BaseToolManager:
    """The tool `mcp_proxy_tool(server, tool, arguments)`, which lets an agent reach any configured server by name."""
    return McpProxyTool(connections)


def proxied_call(given: JsonObject) -> tuple[str, str, JsonObject]:
    """Server, tool and arguments of the call that these arguments make `mcp_proxy_tool` make.

    Raises:
        BadToolArguments: they make it call nothing.
    """
    server, tool, arguments = given.get("server"), given.get("tool"), given.get("arguments", {})
    if not isinstance(server, str) or not isinstance(tool, str) or not isinstance(arguments, dict):
        raise BadToolArguments("server and tool must be texts, arguments an object")
    if unknown := sorted(given.keys() - {"server", "tool", "arguments"}):
        raise BadToolArguments(f"unknown argument {unknown[0]!r}; there are server, tool and arguments")
    return server, tool, arguments


async def _call(
    connections: McpConnections, call: ToolCall, context: ToolContext, server: str, tool: str, arguments: JsonObject
) -> ToolResult:
    """The tool's answer.

    Raises:
        UnknownTool: no such server or tool; lists those there are.
        ToolFailed: the server is not available, or the tool reports an error: then with the tool's own words.
    """
    deadline = time.monotonic() + context.timeout_seconds
    try:
        async with asyncio.timeout(context.timeout_seconds):
            known = [each.name for each in await connections.tools(server)]
    except TimeoutError:
        raise ToolTimeout(f"the MCP server {server!r} was not ready within {context.timeout_seconds:g} s") from None
    if tool not in known:
        listed = ", ".join(known[:_MOST_NAMES_LISTED]) or "none"
        raise UnknownTool(f"the MCP server {server!r} has no tool {tool[:200]!r}; its tools are: {listed}")
    result = await connections.call(
        server,
        tool,
        arguments,
        timeout_seconds=max(deadline - time.monotonic(), 0.0),
        idempotency_key=context.idempotency_key,
    )
    if result.is_error:
        raise ToolFailed(result.text or f"the tool {tool!r} reports an error and does not say which")
    return ToolResult(call_id=call.id, name=call.name, content=result.text)


def _spec(tool: McpTool) -> ToolSpec:
    return ToolSpec(
        name=f"{tool.server}.{tool.name}",
        description=tool.description,
        parameters=tool.parameters,
        side_effect=not tool.read_only,
        on_unknown=OnUnknown.retry if tool.idempotent else OnUnknown.ask,
    )
