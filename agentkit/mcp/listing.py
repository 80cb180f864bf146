"""What tools an MCP server lists, in our own words."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

from agentkit.transcript import JsonObject

if TYPE_CHECKING:
    from mcp import Client
    from mcp.types import Tool

logger = logging.getLogger(__name__)

#: A server that lists more is not one whose tools a model could choose from.
_MAX_TOOLS = 1000
_MAX_PAGES = 100


@dataclass(frozen=True, slots=True)
class McpTool:
    """A tool as its server describes it."""

    server: str
    name: str
    description: str
    #: JSON Schema of the arguments.
    parameters: JsonObject
    #: The server says that calling it changes nothing.
    read_only: bool
    #: The server says that calling it again with the same arguments changes nothing more.
    idempotent: bool


async def list_tools(client: Client, server: str) -> tuple[McpTool, ...]:
    """The tools of the server, page by page, sorted by name so that their order never changes by itself."""
    if client.server_capabilities.tools is None:
        return ()
    tools: dict[str, McpTool] = {}
    cursor: str | None = None
    for _ in range(_MAX_PAGES):
        page = await client.list_tools(cursor=cursor)
        tools.update((tool.name, _tool(tool, server)) for tool in page.tools)
        cursor = page.next_cursor
        if cursor is None or len(tools) >= _MAX_TOOLS:
            break
    if cursor is not None or len(tools) > _MAX_TOOLS:
        logger.warning("mcp server %s lists too many tools; only the first %d are used", server, _MAX_TOOLS)
    return tuple(tools[name] for name in sorted(list(tools)[:_MAX_TOOLS]))


def _tool(tool: Tool, server: str) -> McpTool:
    hints = tool.annotations
    return McpTool(
        server=server,
        name=tool.name,
        description=tool.description or tool.title or "",
        parameters=tool.input_schema,
        read_only=bool(hints and hints.read_only_hint),
        idempotent=bool(hints and hints.idempotent_hint),
    )
