"""Which MCP servers this process knows: the demo server that ships with agentkit, and those of the operator's file."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

from agentkit.errors import ConfigurationError
from agentkit.mcp.config import McpServer, StdioServer, read_mcp_file
from ops_core.errors import ConfigurationInvalid

#: Used by the built-in `assistant`; a server of that name in the file takes its place.
DEMO_SERVER = StdioServer(name="demo", command=sys.executable, args=("-m", "agentkit.mcp.demo_server"))


def load_mcp_servers(file: Path | None, environment: Mapping[str, str]) -> dict[str, McpServer]:
    """The servers by name.

    Raises:
        ConfigurationInvalid: the file cannot be read, or something in it is wrong; the message names it.
    """
    servers: dict[str, McpServer] = {DEMO_SERVER.name: DEMO_SERVER}
    if file is not None:
        try:
            servers |= read_mcp_file(file, environment)
        except ConfigurationError as error:
            raise ConfigurationInvalid(str(error)) from error
    return servers
