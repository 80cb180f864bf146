"""Looks whether agents can run here, without running one: their models, their MCP servers, their tools."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from agentkit.errors import ConfigurationError
from agentkit.llm.select import choose_model
from agentkit.mcp.connections import McpConnections
from agentkit.mcp.tools import McpTools
from agentkit.plugins import load_plugins
from ops_core.domain.agent import AgentDefinition
from ops_core.runner.mcp_config import load_mcp_servers


@dataclass(frozen=True, slots=True)
class McpProbe:
    """What a look at one MCP server found."""

    name: str
    ok: bool
    tools: tuple[str, ...]
    #: What is wrong when it is not ok; else empty.
    detail: str


def plugin_lines() -> list[str]:
    """What installed packages offer to agents, and what of it cannot be used: a line each."""
    plugins = load_plugins()
    usable = [f"plug-in {each.kind.value} {each.name} = {each.target} ({each.package})" for each, _ in plugins.loaded]
    broken = [f"broken plug-in {each.name} ({each.package}) is skipped: {each.reason}" for each in plugins.broken]
    return usable + broken


def check_model(definition: AgentDefinition, environment: Mapping[str, str] | None = None) -> str | None:
    """What keeps the agent's model from being asked (an unknown provider, a missing key or package); None when nothing.

    Nobody is asked and nothing is imported, so it may be called for every submission.
    """
    model = definition.model
    try:
        choose_model(model.provider, model.name, base_url=model.base_url, environ=environment)
    except ConfigurationError as error:
        return f"agent {definition.name!r}: {error}"
    return None


def shown_model(definition: AgentDefinition) -> str:
    """The model the agent asks, as `provider/name`; the default's when the definition names none."""
    model = definition.model
    try:
        chosen = choose_model(model.provider, model.name, base_url=model.base_url)
    except ConfigurationError:
        return f"{model.provider or 'default'}/{model.name or '?'}"
    return f"{chosen.provider}/{chosen.model}"


async def probe_mcp(config: Path | None, *, timeout_seconds: float = 20.0) -> Sequence[McpProbe]:
    """Start or reach each configured server, list its tools, and let go of it again.

    Raises:
        ConfigurationInvalid: the file cannot be read, or something in it is wrong.
    """
    servers = load_mcp_servers(config, os.environ)
    connections = McpConnections(servers, connect_timeout_seconds=timeout_seconds)
    try:
        return await asyncio.gather(*(_probe(connections, name, timeout_seconds) for name in sorted(servers)))
    finally:
        await connections.aclose()


async def _probe(connections: McpConnections, name: str, timeout_seconds: float) -> McpProbe:
    try:
        async with asyncio.timeout(timeout_seconds):
            specs = await McpTools(connections, [name]).specs()
    except TimeoutError:
        return McpProbe(name, False, (), f"no answer within {timeout_seconds:g} s")
    status = {each.name: each for each in connections.status()}[name]
    return McpProbe(name, status.connected, tuple(s.name for s in specs), status.last_error or "")
