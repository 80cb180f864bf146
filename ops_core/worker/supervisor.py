"""The supervisor: keeps a number of worker processes running, each on its own, and ends them all with itself."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Coroutine, Mapping, Sequence
from typing import Any

from ops_core.telemetry import LogEvent, get_logger
from ops_core.worker.orphans import Orphans

_log = get_logger()

_RESTART_SECONDS = 0.5
_LONGEST_RESTART_SECONDS = 30.0
#: A child that ran for this long before it died is started again without a longer pause.
_SETTLED_SECONDS = 30.0
_STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Supervisor:
    """Starts `processes` children with one command, starts again whichever dies, and drains all on SIGTERM or SIGINT.

    A child gets a pipe as its standard input and must end when that closes (see `end_with_parent`): so it does not
    outlive a supervisor that was killed.

    `cannot_start` has the exit statuses by which a child says that it cannot start here, and what the supervisor's own
    becomes: when the first child in a slot says so, nobody starts it again. A later one is tried again, since it did
    start here before. With `orphans`, what a dead child leaves behind is ended too.
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        processes: int,
        stop_seconds: float,
        restart_seconds: float = _RESTART_SECONDS,
        cannot_start: Mapping[int, int] | None = None,
        orphans: Orphans | None = None,
    ) -> None:
        self._command = tuple(command)
        self._processes = processes
        self._stop_seconds = stop_seconds
        self._restart_seconds = restart_seconds
        self._cannot_start = dict(cannot_start or {})
        self._orphans = orphans
        self._alive: set[int] = set()
        #: Held while a child is started, and while orphans are told from children.
        self._counting = asyncio.Lock()
        self._given_up: int | None = None
        self._stopping = asyncio.Event()
        self._killing = asyncio.Event()

    async def run(self) -> int:
        """Until a signal says stop; returns the exit status: 0 when every child ended by itself, 1 when one had to be
        killed, or what `cannot_start` says. A second signal kills at once."""
        loop = asyncio.get_running_loop()
        for number in _STOP_SIGNALS:
            loop.add_signal_handler(number, self.stop)
        try:
            ended_well = await asyncio.gather(*(self._keep(slot) for slot in range(self._processes)))
        finally:
            for number in _STOP_SIGNALS:
                loop.remove_signal_handler(number)
        if self._given_up is not None:
            return self._given_up
        return 0 if all(ended_well) else 1

    def stop(self) -> None:
        """Drain and end all children; called again, kill them."""
        if self._stopping.is_set():
            self._killing.set()
        self._stopping.set()

    async def _keep(self, slot: int) -> bool:
        """Keep one child running until we stop; False when it had to be killed."""
        deaths, first = 0, True
        while not self._stopping.is_set():
            child = await self._start(slot)
            started_at = time.monotonic()
            if child is not None:
                died = await self._first_of(child.wait(), self._stopping.wait())
                if not died:
                    return await self._end(slot, child)
                _log.error(LogEvent.child_died, slot=slot, pid=child.pid, status=child.returncode)
                await self._bury(child)
                if first and child.returncode in self._cannot_start:
                    self._given_up = self._cannot_start[child.returncode]
                    self._stopping.set()
                    return True
                first = False
            deaths = 0 if time.monotonic() - started_at > _SETTLED_SECONDS else deaths + 1
            pause = min(_LONGEST_RESTART_SECONDS, self._restart_seconds * 2 ** min(deaths - 1, 10)) if deaths else 0.0
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), pause)
        return True

    async def _start(self, slot: int) -> asyncio.subprocess.Process | None:
        try:
            async with self._counting:
                child = await asyncio.create_subprocess_exec(
                    *self._command,
                    stdin=asyncio.subprocess.PIPE,
                    # Ctrl-C on the terminal is for the supervisor, who tells the children.
                    start_new_session=True,
                )
                self._alive.add(child.pid)
        except OSError as error:
            _log.error(LogEvent.child_died, slot=slot, reason=str(error))
            return None
        _log.info(LogEvent.child_started, slot=slot, pid=child.pid)
        return child

    async def _end(self, slot: int, child: asyncio.subprocess.Process) -> bool:
        with contextlib.suppress(ProcessLookupError):
            child.terminate()
        ended = False
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._stop_seconds):
                ended = await self._first_of(child.wait(), self._killing.wait())
        if ended:
            await self._bury(child)
            return True
        _log.error(LogEvent.child_died, slot=slot, pid=child.pid, reason="did not stop in time and was killed")
        with contextlib.suppress(ProcessLookupError):
            child.kill()
        await child.wait()
        await self._bury(child)
        return False

    async def _bury(self, child: asyncio.subprocess.Process) -> None:
        async with self._counting:
            self._alive.discard(child.pid)
            if self._orphans is not None:
                await self._orphans.end(self._alive)

    async def _first_of(self, wanted: Coroutine[Any, Any, object], other: Coroutine[Any, Any, object]) -> bool:
        """Wait for either; True when `wanted` is done."""
        first, second = asyncio.ensure_future(wanted), asyncio.ensure_future(other)
        try:
            await asyncio.wait([first, second], return_when=asyncio.FIRST_COMPLETED)
            return bool(first.done())
        finally:
            for one in (first, second):
                one.cancel()


def end_with_parent(*, after_seconds: float) -> None:
    """In a child: when the pipe from the supervisor closes, drain as on SIGTERM, and end for sure after this long."""
    threading.Thread(target=_wait_for_parent, args=(after_seconds,), name="parent-watch", daemon=True).start()


def _wait_for_parent(after_seconds: float) -> None:
    while os.read(sys.stdin.fileno(), 1024):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(after_seconds)
    os._exit(1)
