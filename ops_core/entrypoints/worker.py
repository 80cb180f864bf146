"""`ops-core worker start`: the parent that keeps worker processes running; each of them is `worker_child`."""

from __future__ import annotations

import asyncio
import os
import sys
from typing import TYPE_CHECKING, Annotated, Final

import typer

from ops_core.cli.exit_codes import ExitCode
from ops_core.entrypoints.process import Concurrency, server_settings

if TYPE_CHECKING:
    from ops_core.settings import Settings

#: What a child exits with when what it needs (the database) was not there in time: EX_TEMPFAIL of sysexits.h.
NOT_IN_TIME: Final = 75
#: What a child may take to end after its agents had their time to reach a step boundary.
STOP_GRACE_SECONDS: Final = 15.0


def start(
    concurrency: Concurrency = None,
    processes: Annotated[
        int | None, typer.Option(help="Worker processes (OPS_CORE_PROCESSES).", show_default=False)
    ] = None,
    queue: Annotated[
        list[str] | None,
        typer.Option(
            "--queue", help="Queue to take tasks from (OPS_CORE_QUEUES); may be repeated.", show_default=False
        ),
    ] = None,
) -> None:
    """Run agents until told to stop; a process that dies is started again, the others go on."""
    from ops_core.settings import export_flags
    from ops_core.worker.orphans import Orphans
    from ops_core.worker.supervisor import Supervisor

    flags = {"concurrency": concurrency, "processes": processes, "queues": tuple(queue) if queue else None}
    settings = server_settings(flags)
    _check_before_any_child_does(settings)
    export_flags(flags)
    supervisor = Supervisor(
        [sys.executable, "-m", "ops_core.entrypoints.worker_child"],
        processes=settings.processes,
        stop_seconds=settings.drain_seconds + STOP_GRACE_SECONDS,
        # Its leases are over by then, with time to spare; and whoever lets a loop stand still lets a process.
        silence_seconds=settings.lease_seconds + settings.loop_stall_seconds,
        cannot_start={ExitCode.usage: ExitCode.usage, NOT_IN_TIME: ExitCode.failed},
        orphans=Orphans(),
    )
    raise typer.Exit(asyncio.run(supervisor.run()))


def _check_before_any_child_does(settings: Settings) -> None:
    """A child that cannot start would be started again and again.

    Raises:
        ConfigurationInvalid
    """
    from ops_core.bootstrap.runner import find_mcp_config
    from ops_core.runner.mcp_config import load_mcp_servers
    from ops_core.settings import require_shared_queue

    require_shared_queue(settings)
    load_mcp_servers(find_mcp_config(settings), os.environ)
