"""`ops-core agent check`: are the agent files right, can their models be asked, and which tools do they find?"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ops_core.cli.exit_codes import ExitCode
from ops_core.cli.output import Output, OutputFormat, write_table, write_value
from ops_core.cli.terminal import say
from ops_core.domain.task import JsonObject
from ops_core.errors import ConfigurationInvalid

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ops_core.domain.agent import AgentDefinition
    from ops_core.runner.probe import McpProbe


def check(
    directory: Annotated[
        Path | None,
        typer.Argument(metavar="DIR", help="Folder of agent files (OPS_CORE_AGENTS_DIR).", show_default=False),
    ] = None,
    output: Output = OutputFormat.table,
) -> None:
    """Check agent files without a server; errors name file, line and field."""
    from ops_core.bootstrap import find_mcp_config
    from ops_core.runner.probe import probe_mcp
    from ops_core.settings import Settings, export_dotenv, load_settings
    from ops_core.wire.agent_file import load_agent_files

    settings = load_settings(Settings, {"agents_dir": directory})
    export_dotenv()
    if not settings.agents_dir.is_dir():
        raise ConfigurationInvalid(f"there is no folder {settings.agents_dir}: name it, or set OPS_CORE_AGENTS_DIR")
    definitions = load_agent_files(settings.agents_dir)
    wanted = {server for definition in definitions for server in definition.mcp_servers}
    probes = {probe.name: probe for probe in asyncio.run(probe_mcp(find_mcp_config(settings)))} if wanted else {}
    reports = [_report(definition, probes) for definition in definitions]
    if output is OutputFormat.table:
        _write(reports)
    else:
        write_value(reports, output)
    if not definitions:
        say(f"{settings.agents_dir} holds no agent files (*.yaml)", style="yellow")
    if any(report["problems"] for report in reports):
        raise typer.Exit(ExitCode.failed)


def _report(definition: AgentDefinition, probes: Mapping[str, McpProbe]) -> JsonObject:
    from ops_core.runner.probe import check_model, shown_model

    problem = check_model(definition)
    problems = [problem] if problem else []
    found = list(definition.tools)
    for server in definition.mcp_servers:
        probe = probes.get(server)
        if probe is None:
            problems.append(f"the MCP server {server!r} is not configured")
        elif not probe.ok:
            problems.append(f"the MCP server {server!r} cannot be used: {probe.detail}")
        else:
            found += probe.tools
    return {"name": definition.name, "model": shown_model(definition), "tools": found, "problems": problems}


def _write(reports: list[JsonObject]) -> None:
    write_table(
        ("AGENT", "MODEL", "TOOLS"),
        [(report["name"], report["model"], ", ".join(report["tools"]) or "none") for report in reports],
    )
    for report in reports:
        for problem in report["problems"]:
            say(f"error: {report['name']}: {problem}", style="red")
