"""One run alone in a process, started by its warden; its settings come from the environment of its worker."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from ops_core.worker.isolated_run import LOST, IsolatedRun, confine, read_order


def main(arguments: Sequence[str]) -> int:
    """`MEMORY_MB PULSE REPORTS`: run what standard input orders; returns the exit status."""
    memory_mb, pulse, reports = map(int, arguments)
    confine(memory_bytes=memory_mb * 1024 * 1024)
    order = read_order()
    if order is None:
        return LOST
    from ops_core.bootstrap.isolated import run_isolated
    from ops_core.entrypoints.process import serve, server_settings

    settings = server_settings({})
    statuses: list[int] = []

    async def run() -> None:
        statuses.append(await run_isolated(settings, IsolatedRun(order, pulse=pulse, reports=reports)))

    serve(run())
    return statuses[0]


if __name__ == "__main__":
    status = main(sys.argv[1:])
    sys.stdout.flush()
    sys.stderr.flush()
    # Threads that a tool has left behind would keep the process from ending.
    os._exit(status)
