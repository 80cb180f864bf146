"""A task that this process holds: its lease, how sure we are of it, and why it must stop."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from ops_core.domain.task import Task
from ops_core.ports import Lease, RunStopReason
from ops_core.telemetry import trace_id_of

#: A lease not renewed for this part of its length may be over by the time a write arrives.
_SURE_FOR = 2 / 3

#: An interrupted run has returned within seconds, whatever it still writes. One that has not swallows what stops it.
_DEAF_SECONDS = 30.0

#: A stronger reason replaces a weaker one.
_STRENGTH = {None: 0, RunStopReason.drain: 1, RunStopReason.cancel: 2, RunStopReason.lost: 3}


def lease_clock() -> float:
    """Seconds that pass also while this machine sleeps (a laptop, a paused VM): in the database a lease runs on."""
    if hasattr(time, "CLOCK_BOOTTIME"):
        return time.clock_gettime(time.CLOCK_BOOTTIME)
    return time.clock_gettime(time.CLOCK_MONOTONIC) if hasattr(time, "clock_gettime") else time.monotonic()


class HeldRun:
    """One claimed task and its asyncio task (ports.RunControl)."""

    def __init__(self, task: Task, *, claimed_at: float, lease_seconds: float, clock: Callable[[], float]) -> None:
        self.task = task
        self.lease = Lease(task.id, task.epoch)
        #: When the last claim or renewal that succeeded was *sent*, by `lease_clock`. Written by the heartbeat.
        self.renewed_at = claimed_at
        self._sure_for = lease_seconds * _SURE_FOR
        self._clock = clock
        self._reason: RunStopReason | None = None
        self._running: asyncio.Task[None] | None = None
        self._interrupted_at: float | None = None
        self._is_undisturbed = False

    @property
    def log_fields(self) -> dict[str, object]:
        """What each line about this run says of it."""
        task = self.task
        trace_id = trace_id_of(task.traceparent)
        return {"task_id": str(task.id), "agent": task.agent, "epoch": self.lease.epoch, "trace_id": trace_id}

    @property
    def stop_reason(self) -> RunStopReason | None:
        return RunStopReason.lost if self.is_late() else self._reason

    def is_late(self) -> bool:
        """Nothing was heard of the lease for so long that it may be over."""
        return self._clock() - self.renewed_at > self._sure_for

    def stop(self, reason: RunStopReason) -> None:
        """Have the run stop at its next step. A weaker reason than the one it has changes nothing."""
        if _STRENGTH[reason] > _STRENGTH[self._reason]:
            self._reason = reason

    def interrupt(self, reason: RunStopReason) -> bool:
        """Stop it now: cancel its asyncio task, once, so that what it writes then is left in peace; False later."""
        self.stop(reason)
        if self._running is None or self._interrupted_at is not None:
            return False
        self._interrupted_at = self._clock()
        return True if self._is_undisturbed else self._running.cancel()

    @contextmanager
    def undisturbed(self) -> Iterator[None]:
        self._is_undisturbed = True
        try:
            yield
        finally:
            self._is_undisturbed = False

    def is_deaf(self) -> bool:
        """It was interrupted so long ago that it will not stop."""
        return self._interrupted_at is not None and self._clock() - self._interrupted_at > _DEAF_SECONDS

    def begin(self) -> None:
        """Called within the asyncio task. One cancelled before its first step would never run, and write nothing."""
        self._running = asyncio.current_task()
        if self._reason in (RunStopReason.cancel, RunStopReason.lost):
            # A moment later: a task that cancels itself is cancelled where it pauses next, and that may be the very
            # write of its end.
            asyncio.get_running_loop().call_soon(self.interrupt, self._reason)


class HeldRuns:
    """What this process holds. The event loop writes, the heartbeat's thread reads.

    Keyed by lease: a task lost and claimed again may be held twice while the first run unwinds.
    """

    def __init__(self) -> None:
        self._runs: dict[Lease, HeldRun] = {}
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._runs)

    def add(self, runs: Iterable[HeldRun]) -> None:
        with self._lock:
            self._runs.update((run.lease, run) for run in runs)

    def remove(self, run: HeldRun) -> None:
        with self._lock:
            self._runs.pop(run.lease, None)

    def get(self, lease: Lease) -> HeldRun | None:
        return self._runs.get(lease)

    def all(self) -> list[HeldRun]:
        with self._lock:
            return list(self._runs.values())
