"""What a dead worker process leaves behind, such as MCP servers that do not notice it: adopted and ended."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import signal
import sys
from collections.abc import Collection
from pathlib import Path

from ops_core.telemetry import LogEvent, get_logger

_log = get_logger()

#: Of Linux' <sys/prctl.h>.
_PR_SET_CHILD_SUBREAPER = 36
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
        self._adopts = sys.platform == "linux" and _adopt()

    async def end(self, known: Collection[int]) -> None:
        """Let orphans end by themselves, then kill them, and what falls to us by that; takes a few seconds at most."""
        if not self._adopts or await _gone(known, _GRACE_SECONDS, kill=False):
            return
        _log.warning(LogEvent.orphans_killed, pids=sorted(_children() - set(known)))
        await _gone(known, _KILL_SECONDS, kill=True)


def _adopt() -> bool:
    return bool(ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0)


async def _gone(known: Collection[int], seconds: float, *, kill: bool) -> bool:
    end = asyncio.get_running_loop().time() + seconds
    while orphans := _children() - set(known):
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


def _children() -> set[int]:
    """The process ids of our children, by /proc."""
    found: set[int] = set()
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            # The name, in brackets, may hold anything.
            parent = int(stat.read_text().rpartition(")")[2].split()[1])
        except (OSError, ValueError, IndexError):
            continue
        if parent == os.getpid():
            found.add(int(stat.parent.name))
    return found
