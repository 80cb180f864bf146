"""`ops-core worker start`: processes that run agents."""

from __future__ import annotations

from typing import Annotated

import typer

from ops_core.entrypoints.process import Concurrency, serve, server_settings


def start(
    concurrency: Concurrency = None,
    queue: Annotated[
        list[str] | None,
        typer.Option(
            "--queue", help="Queue to take tasks from (OPS_CORE_QUEUES); may be repeated.", show_default=False
        ),
    ] = None,
) -> None:
    """Run agents until told to stop."""
    from ops_core import bootstrap

    serve(
        bootstrap.run_worker(server_settings({"concurrency": concurrency, "queues": tuple(queue) if queue else None}))
    )
