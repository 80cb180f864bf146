"""The supervisor: keeps a number of worker processes running, each on its own, and ends them all with itself."""

from __future__ import annotations

import asyncio
import contextlib
import math
import signal
import time
from collections.abc import Coroutine, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ops_core.telemetry import LogEvent, get_logger
from ops_core.worker.orphans import Orphans
from ops_core.worker.pulse import PulseWatch

_log = get_logger()

_RESTART_SECONDS = 0.5
_LONGEST_RESTART_SECONDS = 30.0
#: A child that ran for this long before it died is started again without a longer pause.
_SETTLED_SECONDS = 30.0
_STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)
#: Between two looks at a child's pulse.
_LOOK_SECONDS = 0.25
#: How long a child that stands still may take to write where it stands.
_LAST_WORDS_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class _Child:
    slot: int
    process: asyncio.subprocess.Process
    pulse: PulseWatch

    @property
    def log_fields(self) -> dict[str, Any]:
        return {"slot": self.slot, "pid": self.process.pid}


class Supervisor:
    """Starts `processes` children with one command, starts again whichever dies, and drains all on SIGTERM or SIGINT.

    A child gets a pipe as its standard input and must end when that closes: so it is told to, and does not outlive a
    supervisor that was killed. It gets one more argument: the file descriptor for its pulses. Once it has given one, a
    child without any for `silence_seconds` is killed: that must be longer than what it holds stays its own. (See
    `supervised` and `pulse` for the child's side.)

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
        silence_seconds: float = math.inf,
        restart_seconds: float = _RESTART_SECONDS,
        cannot_start: Mapping[int, int] | None = None,
        orphans: Orphans | None = None,
    ) -> None:
        self._command = tuple(command)
        self._processes = processes
        self._stop_seconds = stop_seconds
        self._silence_seconds = silence_seconds
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
                died = await self._first_of(self._until_dead(child), self._stopping.wait())
                if not died:
                    return await self._end(child)
                status = child.process.returncode
                _log.error(LogEvent.child_died, **child.log_fields, status=status)
                await self._bury(child)
                if first and status in self._cannot_start:
                    self._given_up = self._cannot_start[status]
                    self._stopping.set()
                    return True
                first = False
            deaths = 0 if time.monotonic() - started_at > _SETTLED_SECONDS else deaths + 1
            pause = min(_LONGEST_RESTART_SECONDS, self._restart_seconds * 2 ** min(deaths - 1, 10)) if deaths else 0.0
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), pause)
        return True

    async def _start(self, slot: int) -> _Child | None:
        pulse = PulseWatch(self._silence_seconds, _LOOK_SECONDS)
        try:
            async with self._counting:
                process = await asyncio.create_subprocess_exec(
                    *self._command,
                    str(pulse.given),
                    stdin=asyncio.subprocess.PIPE,
                    pass_fds=(pulse.given,),
                    # Ctrl-C on the terminal is for the supervisor, who tells the children.
                    start_new_session=True,
                )
                self._alive.add(process.pid)
        except OSError as error:
            pulse.close()
            _log.error(LogEvent.child_died, slot=slot, reason=str(error))
            return None
        pulse.hand_over()
        child = _Child(slot, process, pulse)
        _log.info(LogEvent.child_started, **child.log_fields)
        return child

    async def _until_dead(self, child: _Child) -> None:
        """Wait for its end, and bring it about when its pulse stops: others have its tasks by then, and it would hold
        memory and connections for ever."""
        while not (child.pulse.is_stopped(time.monotonic()) and child.pulse.has_begun):
            if await self._ends_within(_LOOK_SECONDS, child):
                return
        _log.error(LogEvent.child_stalled, **child.log_fields, seconds=self._silence_seconds)
        with contextlib.suppress(ProcessLookupError):
            # Python's fault handler writes where each thread stands, even where no Python code runs any more.
            child.process.send_signal(signal.SIGABRT)
        if not await self._ends_within(_LAST_WORDS_SECONDS, child):
            await self._kill(child)

    async def _ends_within(self, seconds: float, child: _Child) -> bool:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await child.process.wait()
        return child.process.returncode is not None

    async def _end(self, child: _Child) -> bool:
        assert child.process.stdin is not None
        # It is no SIGTERM: a child could not tell that from one that its own tools send it.
        child.process.stdin.close()
        ended = False
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._stop_seconds):
                ended = await self._first_of(child.process.wait(), self._killing.wait())
        if ended:
            await self._bury(child)
            return True
        _log.error(LogEvent.child_died, **child.log_fields, reason="did not stop in time and was killed")
        await self._kill(child)
        await self._bury(child)
        return False

    async def _kill(self, child: _Child) -> None:
        with contextlib.suppress(ProcessLookupError):
            child.process.kill()
        await child.process.wait()

    async def _bury(self, child: _Child) -> None:
        child.pulse.close()
        async with self._counting:
            self._alive.discard(child.process.pid)
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
