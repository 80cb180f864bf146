"""`ops-core queue …`: what queues have and want."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from ops_core.cli.context import connect
from ops_core.cli.output import Output, OutputFormat, Quiet, write_facts, write_line, write_table, write_value

if TYPE_CHECKING:
    from ops_core.client import Queue

app = typer.Typer(no_args_is_help=True, help="What queues have and want.")

Url = Annotated[str | None, typer.Option("--url", help="Server to ask (OPS_CORE_URL).", show_default=False)]
Name = Annotated[str, typer.Argument(metavar="NAME", help="Name of the queue.")]
_COLUMNS = ("QUEUE", "READY", "RUNNING", "WORKERS", "SLOTS", "FREE", "OLDEST", "WANTED")


@app.command("list")
def list_queues(
    context: typer.Context,
    limit: Annotated[int, typer.Option("-n", "--limit", min=1, max=100_000, help="At most so many.")] = 200,
    url: Url = None,
    output: Output = OutputFormat.table,
    quiet: Quiet = False,
) -> None:
    """List queues that have something ready or running, or a worker; by name."""
    with connect(context, url) as client:
        found = list(client.queues.list(limit=limit))
    if quiet:
        for queue in found:
            write_line(queue.name)
    elif output is OutputFormat.table:
        write_table(_COLUMNS, map(_row, found))
    else:
        write_value([queue.as_json() for queue in found], output)


@app.command("get")
def get_queue(context: typer.Context, name: Name, url: Url = None, output: Output = OutputFormat.table) -> None:
    """Show one queue. One that nobody has heard of has nothing in it."""
    with connect(context, url) as client:
        queue = client.queues.get(name)
    if output is OutputFormat.table:
        write_facts(queue.as_json())
    else:
        write_value(queue.as_json(), output)


def _row(queue: Queue) -> tuple[str, ...]:
    more = "+" if queue.wanted_slots_capped else ""
    oldest = "" if queue.oldest_ready_seconds is None else f"{queue.oldest_ready_seconds:.1f} s"
    counted = (queue.running, queue.workers, queue.slots, queue.free)
    return (queue.name, f"{queue.ready}{more}", *map(str, counted), oldest, f"{queue.wanted_slots}{more}")
