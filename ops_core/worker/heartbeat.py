"""The heartbeat: a thread of its own that renews what this process holds, and ends the process when its loop stalls."""

from __future__ import annotations

import asyncio
import contextlib
import faulthandler
import os
import sys
import threading
import time
from collections.abc import Callable, Collection
from queue import Empty, SimpleQueue

from ops_core.errors import StoreUnavailable
from ops_core.ports import Lease, LeaseStore, Renewal, WorkerInfo
from ops_core.telemetry import LogEvent, get_logger
from ops_core.worker.held import HeldRun, HeldRuns, lease_clock
from ops_core.worker.stall_watch import StallWatch

_log = get_logger()

#: Exit status of a process whose event loop stood still.
STALLED_EXIT_STATUS = 70
#: However the log hangs, a stalled process is gone after this.
_LAST_WORDS_SECONDS = 5.0
_JOIN_SECONDS = 5.0
#: Between two renewals that a nudge asked for.
_HURRY_SECONDS = 0.02


class Heartbeat:
    """Renews exactly the leases held in memory, every third of a lease; on a failed renewal it tries sooner.

    `on_renewed` is called on the event loop with what was asked for and what was found.
    """

    def __init__(
        self,
        *,
        lease_store_factory: Callable[[], LeaseStore],
        held: HeldRuns,
        worker_info: Callable[[], WorkerInfo],
        on_renewed: Callable[[Collection[Lease], Renewal], None],
        lease_seconds: float,
        loop_stall_seconds: float,
        clock: Callable[[], float] = lease_clock,
        end_process: Callable[[int], object] = os._exit,
    ) -> None:
        self._lease_store_factory = lease_store_factory
        self._held = held
        self._worker_info = worker_info
        self._on_renewed = on_renewed
        self._lease_seconds = lease_seconds
        self._stall_seconds = loop_stall_seconds
        self._check_seconds = min(1.0, lease_seconds / 12, loop_stall_seconds / 8)
        self._clock = clock
        self._end_process = end_process
        self._wake = threading.Event()
        self._stopping = False
        self._hurried: SimpleQueue[HeldRun] = SimpleQueue()
        self._pulses = 0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._store: LeaseStore | None = None
        self._failing = False

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Begin; from now on `pulse` must be called on this loop."""
        self._loop = loop
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)
        self._thread.start()

    def pulse(self) -> None:
        """The event loop is alive."""
        self._pulses += 1

    def hurry(self, run: HeldRun) -> None:
        """Renew its lease now: something may have happened to its task. The others are in no hurry, and many."""
        self._hurried.put(run)
        self._wake.set()

    async def aclose(self) -> None:
        """Stop renewing; returns when the thread has ended, or after a while."""
        self._stopping = True
        self._wake.set()
        if self._thread is not None:
            await asyncio.to_thread(self._thread.join, _JOIN_SECONDS)

    def _run(self) -> None:
        next_beat = self._clock()
        stall = StallWatch(self._stall_seconds, self._check_seconds)
        while not self._stopping:
            now = self._clock()
            if stall.is_stalled(now, self._pulses):
                self._end_stalled_process()
                return
            hurried = self._take_hurried()
            if now >= next_beat:
                beaten = self._beat(self._held.all())
                next_beat = now + self._lease_seconds / (3 if beaten else 12)
                self._pause(_HURRY_SECONDS)
            elif hurried:
                if not self._beat(hurried):
                    next_beat = min(next_beat, now + self._lease_seconds / 12)
                self._pause(_HURRY_SECONDS)
            else:
                self._wake.wait(min(self._check_seconds, max(0.0, next_beat - now)))
                self._wake.clear()
        self._say_goodbye()

    def _pause(self, seconds: float) -> None:
        if not self._stopping:
            time.sleep(seconds)

    def _take_hurried(self) -> list[HeldRun]:
        taken: list[HeldRun] = []
        with contextlib.suppress(Empty):
            while True:
                taken.append(self._hurried.get_nowait())
        return taken

    def _beat(self, held: Collection[HeldRun]) -> bool:
        """One renewal of these; False when nothing is known of their leases."""
        runs = {run.lease: run for run in held}
        sent_at = self._clock()
        try:
            if self._store is None:
                self._store = self._lease_store_factory()
            renewal = self._store.renew(tuple(runs), worker=self._worker_info(), lease_seconds=self._lease_seconds)
        except StoreUnavailable as error:
            self._log_failing(error.detail)
            return False
        except Exception as error:  # noqa: BLE001 - the driver of the loop: without it every task of this process would be lost
            self._log_failing(f"{type(error).__name__}: {error}")
            return False
        self._failing = False
        for lease in renewal.kept:
            if lease in runs:
                runs[lease].renewed_at = sent_at
        self._tell_loop(runs.keys(), renewal)
        return True

    def _tell_loop(self, asked: Collection[Lease], renewal: Renewal) -> None:
        if self._loop is None or (len(renewal.kept) == len(asked) and not renewal.cancel):
            return
        try:
            self._loop.call_soon_threadsafe(self._on_renewed, asked, renewal)
        except RuntimeError:
            # The loop is closed: the process is about to end.
            self._stopping = True

    def _log_failing(self, reason: str) -> None:
        if not self._failing:
            _log.warning(LogEvent.lease_renewal_failed, reason=reason, held=len(self._held))
        self._failing = True

    def _end_stalled_process(self) -> None:
        """Others may have our tasks: a loop that stands still cannot stop itself when its leases are over."""
        last_resort = threading.Timer(_LAST_WORDS_SECONDS, self._end_process, [STALLED_EXIT_STATUS])
        last_resort.daemon = True
        last_resort.start()
        faulthandler.dump_traceback(file=sys.stderr, all_threads=True)
        culprit = asyncio.current_task(self._loop) if self._loop is not None else None
        _log.critical(
            LogEvent.loop_stalled,
            seconds=self._stall_seconds,
            running=culprit.get_name() if culprit is not None else None,
            held=[str(run.task.id) for run in self._held.all()[:100]],
        )
        last_resort.cancel()
        self._end_process(STALLED_EXIT_STATUS)

    def _say_goodbye(self) -> None:
        if self._store is None:
            return
        try:
            self._store.forget(self._worker_info().worker_id)
        except Exception as error:  # noqa: BLE001 - nothing depends on it: the list of workers forgets us by and by
            _log.debug(LogEvent.lease_renewal_failed, reason=str(error))
        finally:
            self._store.close()
