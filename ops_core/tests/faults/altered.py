"""A process of the product with something altered, as the nursery starts it.

Alterations are separated by commas, `-` for none: `without:<remedy>` takes a remedy away, `with:<fault>` puts a fault
into it. The command is one of `ops-core`'s, or of `sqlite_claimer`'s. A worker runs without its supervisor, as the
child that does the work, so that what is altered is altered in it.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from ops_core.tests.faults import sqlite_claimer
from ops_core.tests.faults.injected import FAULTS
from ops_core.tests.faults.without import REMEDIES


def main(alterations: str, command: Sequence[str]) -> int:
    """Alter this process, then be what the command says."""
    for alteration in alterations.split(","):
        kind, _, name = alteration.partition(":")
        match kind:
            case "without":
                REMEDIES[name]()
            case "with":
                FAULTS[name]()
            case "-":
                pass
            case _:
                raise SystemExit(f"no such alteration: {alteration}")
    if list(command) == ["worker", "start"]:
        return _worker()
    if command[0] in ("fill", "claim"):
        return sqlite_claimer.main(command)
    from ops_core.entrypoints.main import run

    return run(command)


def _worker() -> int:
    from ops_core.entrypoints import worker_child

    # A child ends when the pipe from its supervisor closes: this one keeps the other end itself.
    reading, _writing = os.pipe()
    os.dup2(reading, sys.stdin.fileno())
    return worker_child.main()
