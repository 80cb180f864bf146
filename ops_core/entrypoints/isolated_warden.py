"""The process that watches over one isolated run; a worker starts it, and it starts `isolated_run`."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from ops_core.worker.warden import report, watch_over


def main(arguments: Sequence[str]) -> int:
    """`STALL_SECONDS START_SECONDS COMMAND…`: run the command to its end, and say on standard output how that was."""
    stall_seconds, start_seconds, *command = arguments
    report(watch_over(command, stall_seconds=float(stall_seconds), start_seconds=float(start_seconds)))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
