"""`ops-core agent …`: the agents a server knows."""

from __future__ import annotations

from typing import Annotated

import typer

from ops_core.cli.context import connect
from ops_core.cli.output import Output, OutputFormat, Quiet, write_facts, write_line, write_table, write_value
from ops_core.cli.terminal import shortened

Url = Annotated[str | None, typer.Option("--url", help="Server to ask (OPS_CORE_URL).", show_default=False)]


def list_agents(
    context: typer.Context, url: Url = None, output: Output = OutputFormat.table, quiet: Quiet = False
) -> None:
    """List agents."""
    with connect(context, url) as client:
        agents = client.agents.list()
    if quiet:
        for agent in agents:
            write_line(agent.name)
    elif output is OutputFormat.table:
        write_table(("NAME", "DESCRIPTION"), [(agent.name, shortened(agent.description, 100)) for agent in agents])
    else:
        write_value([agent.as_json() for agent in agents], output)


def get(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="AGENT", help="Name of the agent.")],
    url: Url = None,
    output: Output = OutputFormat.table,
    quiet: Quiet = False,
) -> None:
    """Show one agent, with the schema of its input."""
    with connect(context, url) as client:
        agent = client.agents.get(name)
    if quiet:
        write_line(agent.name)
    elif output is OutputFormat.table:
        write_facts(agent.as_json())
    else:
        write_value(agent.as_json(), output)
