"""One worker process, started by `ops-core worker start`; its settings come from the environment of its parent."""

from __future__ import annotations

import sys

import typer

from ops_core.cli.exit_codes import ExitCode
from ops_core.entrypoints.process import serve, server_settings, tell_error
from ops_core.entrypoints.worker import NOT_IN_TIME, STOP_GRACE_SECONDS
from ops_core.errors import OpsCoreError


def main() -> int:
    """Run agents until told to stop, or until the parent is gone; returns the exit status for the supervisor."""
    from ops_core import bootstrap
    from ops_core.worker.supervisor import end_with_parent

    try:
        settings = server_settings({})
        end_with_parent(after_seconds=settings.drain_seconds + STOP_GRACE_SECONDS)
        serve(bootstrap.run_worker(settings))
    except OpsCoreError as error:
        told = tell_error(error)
        return NOT_IN_TIME if told is ExitCode.failed else told
    except typer.Exit as stopped:
        return stopped.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
