"""MCP servers for agents: read their configuration, hold one connection to each, and offer their tools.

Importing this costs nothing: the MCP SDK itself is imported when the first connection opens.
"""

from agentkit.mcp.config import HttpServer, McpServer, StdioServer, load_mcp_servers, read_mcp_file
from agentkit.mcp.connections import McpConnections, McpStatus
from agentkit.mcp.tools import McpTools, mcp_proxy_tool

__all__ = [
    "HttpServer",
    "McpConnections",
    "McpServer",
    "McpStatus",
    "McpTools",
    "StdioServer",
    "load_mcp_servers",
    "mcp_proxy_tool",
    "read_mcp_file",
]
