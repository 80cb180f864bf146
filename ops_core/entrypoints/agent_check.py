"""`ops-core agent check`: are the agent files right, can their models be asked, and which tools do they find?"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from ops_core.cli.exit_codes import ExitCode
from ops_core.cli.output import Output, OutputFormat, write_table, write_value
from ops_core.cli.terminal import say
from ops_core.domain.task import JsonObject
from ops_core.errors import ConfigurationInvalid

if TYPE_CHECKING:
    from ops_core.domain.agent import AgentDefinition
    from ops_core.runner.probe import McpProbe

#: The tool that reaches any configured server; it is made for each agent, and so is in no catalog.
MCP_PROXY: Final = "mcp_proxy_tool"


def check(
    directory: Annotated[
        Path | None,
        typer.Argument(metavar="DIR", help="Folder of agent files (OPS_CORE_AGENTS_DIR).", show_default=False),
    ] = None,
    output: Output = OutputFormat.table,
) -> None:
    """Check agent files without a server; errors name file, line and field."""
    from ops_core.bootstrap.runner import find_mcp_config
    from ops_core.runner.probe import plugin_lines
    from ops_core.settings import Settings, export_dotenv, load_settings
    from ops_core.wire.agent_file import load_agent_files

    settings = load_settings(Settings, {"agents_dir": directory})
    export_dotenv()
    if not settings.agents_dir.is_dir():
        raise ConfigurationInvalid(f"there is no folder {settings.agents_dir}: name it, or set OPS_CORE_AGENTS_DIR")
    definitions = load_agent_files(settings.agents_dir)
    reports = asyncio.run(_reports(definitions, find_mcp_config(settings)))
    if output is OutputFormat.table:
        _write(reports)
    else:
        write_value(reports, output)
    for line in plugin_lines():
        say(line)
    if not definitions:
        say(f"{settings.agents_dir} holds no agent files (*.yaml)", style="yellow")
    if any(report["problems"] for report in reports):
        raise typer.Exit(ExitCode.failed)


async def _reports(definitions: Sequence[AgentDefinition], mcp_config: Path | None) -> list[JsonObject]:
    from ops_core.runner.catalog import BUILTIN_AGENTS
    from ops_core.runner.probe import probe_mcp
    from ops_core.runner.tool_catalog import load_tool_catalog
    from ops_core.wire.agent_file import load_agent_files

    wanted = any(definition.mcp_servers or MCP_PROXY in definition.tools for definition in definitions)
    probes = {probe.name: probe for probe in await probe_mcp(mcp_config)} if wanted else {}
    offered = [spec.name for spec in await load_tool_catalog().specs()]
    known = {each.name for each in (*definitions, *load_agent_files(BUILTIN_AGENTS))}
    return [_report(definition, offered, probes, known) for definition in definitions]


def _report(
    definition: AgentDefinition, offered: Sequence[str], probes: Mapping[str, McpProbe], known: Collection[str]
) -> JsonObject:
    from ops_core.runner.agent_tools import PREFIX
    from ops_core.runner.probe import check_model, shown_model

    problem = check_model(definition)
    problems = [problem] if problem else []
    found: list[str] = []
    for pattern in definition.tools:
        fitting = [pattern] if pattern == MCP_PROXY else [name for name in offered if fnmatchcase(name, pattern)]
        found += fitting
        if not fitting:
            problems.append(f"no tool is named {pattern!r}; there are {', '.join([*offered, MCP_PROXY])}")
    for server in definition.mcp_servers:
        probe = probes.get(server)
        if probe is None:
            problems.append(f"the MCP server {server!r} is not configured; there are {', '.join(probes)}")
        elif not probe.ok:
            problems.append(f"the MCP server {server!r} cannot be used: {probe.detail}")
        else:
            found += probe.tools
    for agent in definition.agents:
        if agent in known:
            found.append(PREFIX + agent)
        else:
            problems.append(f"there is no agent {agent!r} to call; there are {', '.join(sorted(known))}")
    if not problems:
        # A tool that could not be looked for may be the one that a rule is about.
        reached = [tool for probe in probes.values() for tool in probe.tools] if MCP_PROXY in definition.tools else []
        problems += _rules_about_nothing(definition, [*found, *reached])
    tools = list(dict.fromkeys(found))
    return {"name": definition.name, "model": shown_model(definition), "tools": tools, "problems": problems}


def _rules_about_nothing(definition: AgentDefinition, tools: Sequence[str]) -> list[str]:
    """A rule about a tool that the agent does not have guards nothing, which is not what its author means."""
    there = ", ".join(tools) or "none"
    return [
        f"approvals.{index} is about the tool {rule.tool!r}, which the agent does not have; it has {there}"
        for index, rule in enumerate(definition.approvals)
        if rule.tool is not None and not any(fnmatchcase(name, rule.tool) for name in tools)
    ]


def _write(reports: list[JsonObject]) -> None:
    write_table(
        ("AGENT", "MODEL", "TOOLS"),
        [(report["name"], report["model"], ", ".join(report["tools"]) or "none") for report in reports],
    )
    for report in reports:
        for problem in report["problems"]:
            say(f"error: {report['name']}: {problem}", style="red")
