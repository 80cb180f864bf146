"""The warden of one isolated run: starts it as a process of its own, watches over it, says how it ended.

It stands between a worker and the run, so that whatever the run does (floods its output, forks, stops answering,
kills its process group) is done to the warden, and nothing of the run outlives it. It imports little: it must start
fast and is not to fail itself.
"""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from ops_core.worker.process_tree import adopt_orphans, child_processes
from ops_core.worker.pulse import PulseWatch

_LOOK_SECONDS = 0.1
_READ_BYTES = 65_536
#: What is kept of the run's last words.
_KEPT_BYTES = 4096
#: What is passed on to our log; the rest is read and dropped, slowly enough to cost nobody else his processor, and fast
#: enough that who writes tens of megabytes does not stand still for it.
_PASSED_ON_BYTES = 1_000_000
_FLOOD_PAUSE_SECONDS = 0.002
#: How long a run that stands still may take to write where it stands.
_LAST_WORDS_SECONDS = 2.0
_CLEAN_UP_SECONDS = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Exit:
    """How the process of a run ended."""

    #: Exit status; None when a signal ended it.
    status: int | None
    #: Name of the signal that ended it.
    signal: str | None
    #: Its event loop stood still, and the warden ended it.
    stalled: bool
    #: The last of what it wrote, standard output and standard error together.
    output: str
    #: The most memory it had, in megabytes.
    peak_memory_mb: int

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def watch_over(command: Sequence[str], *, stall_seconds: float, start_seconds: float) -> Exit:
    """Run the command to its end, and end all that it leaves behind.

    The command gets our standard input and two more arguments: the file descriptors for its pulses (any byte, at
    least every `stall_seconds` / 4 once it has begun, at the latest after `start_seconds`) and for its reports, which
    is our standard output. SIGTERM ends the run at once, and so does the end of whoever started us.
    """
    adopt_orphans()
    return _Watch(command, stall_seconds=stall_seconds, start_seconds=start_seconds).run()


class _Watch:
    def __init__(self, command: Sequence[str], *, stall_seconds: float, start_seconds: float) -> None:
        self._output, output = os.pipe()
        self._pulse = PulseWatch(stall_seconds, _LOOK_SECONDS)
        reports = os.dup(sys.stdout.fileno())
        # Before the run, so that no signal that comes with it is missed.
        self._killed = False
        signal.signal(signal.SIGTERM, self._on_terminate)
        self._starter = os.getppid()
        self._child = subprocess.Popen(  # noqa: S603  the worker's own command
            [*command, str(self._pulse.given), str(reports)],
            stdout=output,
            stderr=output,
            pass_fds=(self._pulse.given, reports),
            start_new_session=True,
        )
        for fd in (output, reports):
            os.close(fd)
        self._pulse.hand_over()
        self._start_by = time.monotonic() + start_seconds
        self._stalled_at: float | None = None
        self._kept = b""
        self._passed_on = 0
        self._selector = selectors.DefaultSelector()
        os.set_blocking(self._output, False)
        self._selector.register(self._output, selectors.EVENT_READ)

    def run(self) -> Exit:
        # While it is not waited for, its number and that of its group are nobody else's.
        while os.waitid(os.P_PID, self._child.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
            self._look()
        self._signal_group(signal.SIGKILL)
        _, status, usage = os.wait4(self._child.pid, 0)
        _end_what_is_left()
        while self._read():
            pass
        code = os.waitstatus_to_exitcode(status)
        # Popen would wait for a process that is gone.
        self._child.returncode = code
        return Exit(
            status=code if code >= 0 else None,
            signal=_signal_name(-code) if code < 0 else None,
            stalled=self._stalled_at is not None,
            output=self._kept.decode(errors="replace"),
            peak_memory_mb=usage.ru_maxrss // 1024,
        )

    def _look(self) -> None:
        """For a moment: read what there is, and end a run that must not go on."""
        if self._selector.select(_LOOK_SECONDS) and self._read() == b"":
            self._selector.unregister(self._output)
        now = time.monotonic()
        if self._killed or os.getppid() != self._starter:
            self._kill()
        elif self._stalled_at is not None:
            if now - self._stalled_at > _LAST_WORDS_SECONDS:
                self._kill()
        elif self._is_stalled(now):
            self._stalled_at = now
            # Python's fault handler writes where each thread stands, even where no Python code runs any more.
            self._signal(signal.SIGABRT)

    def _is_stalled(self, now: float) -> bool:
        stopped = self._pulse.is_stopped(now)
        return stopped if self._pulse.has_begun else now > self._start_by

    def _read(self) -> bytes | None:
        """Some of its output; None for nothing now, empty for nothing ever again."""
        try:
            data = os.read(self._output, _READ_BYTES)
        except BlockingIOError:
            return None
        if data:
            self._keep(data)
        return data

    def _keep(self, data: bytes) -> None:
        self._kept = (self._kept + data)[-_KEPT_BYTES:]
        room = _PASSED_ON_BYTES - self._passed_on
        self._passed_on += len(data)
        with contextlib.suppress(OSError):
            if room > 0:
                os.write(sys.stderr.fileno(), data[:room])
        if room <= 0:
            time.sleep(_FLOOD_PAUSE_SECONDS)

    def _on_terminate(self, *_: object) -> None:
        self._killed = True

    def _kill(self) -> None:
        self._signal_group(signal.SIGKILL)
        self._signal(signal.SIGKILL)

    def _signal(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._child.pid, number)

    def _signal_group(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._child.pid, number)


def report(how: Exit) -> None:
    """The last line for whoever started us; nobody may be there to read it."""
    with contextlib.suppress(OSError):
        os.write(sys.stdout.fileno(), (json.dumps({"exit": how.to_json()}) + "\n").encode())


def _end_what_is_left() -> None:
    """Servers that the run has started, and whatever it has forked away from itself: all fall to us by now."""
    end = time.monotonic() + _CLEAN_UP_SECONDS
    while (left := child_processes()) and time.monotonic() < end:
        for pid in left:
            with contextlib.suppress(ProcessLookupError, ChildProcessError):
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, os.WNOHANG)
        time.sleep(_LOOK_SECONDS / 10)


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
