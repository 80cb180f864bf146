"""What a dead worker process leaves behind, such as MCP servers that do not notice it: adopted and ended."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Collection

from ops_core.telemetry import LogEvent, get_logger
from ops_core.worker.process_tree import adopt_orphans, child_processes

_log = get_logger()

#: The input of an orphan has closed; most end by themselves within this time.
_GRACE_SECONDS = 2.0
_KILL_SECONDS = 2.0
_LOOK_SECONDS = 0.05


class Orphans:
    """Makes this process the one that orphans of its children fall to. Elsewhere than on Linux it does nothing.

    Whatever is a child of this process and not among the `known` counts as an orphan, so nothing may be started
    while `end` is under way.
    """

    def __init__(self) -> None:
        self._adopts = adopt_orphans()

    async def end(self, known: Collection[int]) -> None:
        """Let orphans end by themselves, then kill them, and what falls to us by that; takes a few seconds at most."""
        if not self._adopts or await _gone(known, _GRACE_SECONDS, kill=False):
            return
        _log.warning(LogEvent.orphans_killed, pids=sorted(child_processes() - set(known)))
        await _gone(known, _KILL_SECONDS, kill=True)


async def _gone(known: Collection[int], seconds: float, *, kill: bool) -> bool:
    end = asyncio.get_running_loop().time() + seconds
    while orphans := child_processes() - set(known):
        for pid in orphans:
            _reap(pid, kill=kill)
        if asyncio.get_running_loop().time() > end:
            return False
        await asyncio.sleep(_LOOK_SECONDS)
    return True


def _reap(pid: int, *, kill: bool) -> None:
    with contextlib.suppress(ProcessLookupError, ChildProcessError):
        if kill:
            os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, os.WNOHANG)
