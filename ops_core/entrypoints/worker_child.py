"""One worker process, started by `ops-core worker start`; its settings come from the environment of its parent."""

from __future__ import annotations

import faulthandler
import sys
from collections.abc import Sequence

import typer

from ops_core.cli.exit_codes import ExitCode
from ops_core.entrypoints.process import serve, server_settings, tell_error
from ops_core.entrypoints.worker import NOT_IN_TIME, STOP_GRACE_SECONDS
from ops_core.errors import OpsCoreError


def main(arguments: Sequence[str] = ()) -> int:
    """`[PULSE]`: run agents until told to stop, or until the parent is gone; returns the exit status for it.

    With a pulse the parent is a supervisor: it alone says when to stop. Without, a signal does.
    """
    from ops_core.bootstrap.worker import run_worker
    from ops_core.worker.pulse import keep_giving_pulses
    from ops_core.worker.supervised import StopOrder

    # Where each thread stands, also when it is a signal that ends the process.
    faulthandler.enable()
    if arguments:
        keep_giving_pulses(int(arguments[0]))
    order = StopOrder()
    try:
        settings = server_settings({})
        order.listen(end_after_seconds=settings.drain_seconds + STOP_GRACE_SECONDS)
        serve(run_worker(settings, stop_only_if=order.has_come if arguments else None))
    except OpsCoreError as error:
        told = tell_error(error)
        return NOT_IN_TIME if told is ExitCode.failed else told
    except typer.Exit as stopped:
        return stopped.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
