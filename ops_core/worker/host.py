"""The host: holds up to N agents at once on one event loop; claims them, runs them, stops them, hands them over."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Awaitable, Callable, Collection, Sequence

from ops_core import __version__
from ops_core.domain.task import Task
from ops_core.errors import RunLost, StoreUnavailable
from ops_core.ports import (
    Lease,
    LeaseStore,
    Nudge,
    NudgeBus,
    NudgeKind,
    Renewal,
    Ring,
    RunStopReason,
    RunStore,
    WorkerInfo,
)
from ops_core.services.relay import Relay
from ops_core.telemetry import LogEvent, get_logger, log_fields
from ops_core.worker.heartbeat import Heartbeat
from ops_core.worker.held import HeldRun, HeldRuns, lease_clock
from ops_core.worker.slots import Slots

_log = get_logger()

#: What a process wants to be told of that runs tasks.
HEARS = (NudgeKind.cancel,)
#: Other writers lock rows too: a claim that came up short finds the rest a moment later.
_SECOND_TRY_SECONDS = 0.005
#: While the database cannot be reached no ticket is taken; doubled at each failure.
_PAUSE_SECONDS = 0.5
_LONGEST_PAUSE_SECONDS = 10.0
#: How long runs that are abandoned get to return.
_ABANDON_SECONDS = 1.0
#: A lease that is gone may be one whose run has just written its end; such a run gets this long to return.
_UNWIND_SECONDS = 0.1

#: Runs one claimed task to the end of this claim and writes how it ended (runner.run_task.TaskRunner.run).
RunTask = Callable[[Task, HeldRun], Awaitable[object]]


class NotTaking(Exception):
    """The host drains: another worker should have this ticket."""


class AgentHost:
    """One for each worker process. All methods belong to the loop that called `start`."""

    def __init__(
        self,
        *,
        run_store: RunStore,
        lease_store_factory: Callable[[], LeaseStore],
        run_task: RunTask,
        relay: Relay,
        slots: Slots,
        worker_id: str,
        queues: Sequence[str],
        lease_seconds: float,
        drain_seconds: float,
        loop_stall_seconds: float,
        hand_over_seconds: float = 5.0,
        claim_timeout_seconds: float = 10.0,
        nudges: NudgeBus | None = None,
        clock: Callable[[], float] = lease_clock,
        end_process: Callable[[int], object] = os._exit,
    ) -> None:
        self.slots = slots
        self.queues = tuple(queues)
        self._run_store = run_store
        self._run_task = run_task
        self._relay = relay
        self._worker_id = worker_id
        self._lease_seconds = lease_seconds
        self._drain_seconds = drain_seconds
        self._hand_over_seconds = hand_over_seconds
        # A claim answered later than this would be late the moment it is held.
        self._claim_timeout = min(claim_timeout_seconds, lease_seconds / 2)
        self._nudges = nudges
        self._clock = clock
        self._held = HeldRuns()
        self._runs: set[asyncio.Task[None]] = set()
        self._pulse_seconds = min(1.0, lease_seconds / 12, loop_stall_seconds / 8)
        self._pulse: asyncio.Task[None] | None = None
        self._unsubscribe: Callable[[], None] | None = None
        self._failed_claims = 0
        self._closing = False
        self._draining = False
        self._heartbeat = Heartbeat(
            lease_store_factory=lease_store_factory,
            held=self._held,
            worker_info=self._worker_info,
            on_renewed=self._on_renewed,
            lease_seconds=lease_seconds,
            loop_stall_seconds=loop_stall_seconds,
            clock=clock,
            end_process=end_process,
        )

    @property
    def held(self) -> int:
        """How many tasks this process holds."""
        return len(self._held)

    async def start(self) -> None:
        """Begin to renew and to watch."""
        self._heartbeat.start(asyncio.get_running_loop())
        self._pulse = asyncio.create_task(self._watch(), name="host-pulse")
        if self._nudges is not None:
            self._unsubscribe = self._nudges.subscribe(self._on_nudge, HEARS)

    async def take(self, ticket: Ring, places: int) -> None:
        """Claim what the ticket stands for, as far as there are slots, and ring again for the rest; returns as soon as
        that is committed. The ticket was let in with these `places` of our slots; each becomes a task's or is released.

        Raises:
            StoreUnavailable: nothing was claimed; give the ticket back. No other enters until a pause is over.
            NotTaking: this worker takes no more; give the ticket back.
        """
        if self._closing:
            self.slots.release(places)
            raise NotTaking
        slots = places + self.slots.take_up_to(ticket.count - places)
        started = 0
        try:
            started += self._begin(await self._claim(ticket.queue, slots))
            if started < slots and not self._closing:
                await asyncio.sleep(_SECOND_TRY_SECONDS)
                started += self._begin(await self._claim(ticket.queue, slots - started))
        except StoreUnavailable:
            # What the first try found is ours and runs; the housekeeper rings for the rest.
            if not started:
                raise
        finally:
            if started < slots:
                self.slots.release(slots - started)
        _log.debug(LogEvent.ticket_taken, queue=ticket.queue, count=ticket.count, claimed=started)
        if ticket.count > slots:
            self._relay.announce([Ring(ticket.queue, ticket.count - slots, ticket.task_id, ticket.traceparent)])

    def stop_taking(self) -> None:
        """Let no more tickets in."""
        self._closing = True
        self.slots.close()

    async def drain(self) -> None:
        """Let no more tickets in, let runs reach a step boundary for `drain_seconds`, then stop the rest.

        Returns within `drain_seconds` + `hand_over_seconds`; a run that has not stopped by then loses its lease.
        """
        self.stop_taking()
        self._draining = True
        _log.info(LogEvent.worker_draining, held=self.held)
        for run in self._held.all():
            run.stop(RunStopReason.drain)
        await self._wait_for_runs(self._drain_seconds)
        for run in self._held.all():
            run.interrupt(RunStopReason.drain)
        await self._wait_for_runs(self._hand_over_seconds)
        _log.info(LogEvent.worker_drained, left=self.held)

    async def aclose(self) -> None:
        """Stop renewing and watching; what is still held is abandoned (drain first)."""
        self.stop_taking()
        if self._unsubscribe is not None:
            self._unsubscribe()
        for run in self._held.all():
            run.interrupt(RunStopReason.lost)
        await self._wait_for_runs(_ABANDON_SECONDS)
        await self._heartbeat.aclose()
        if self._pulse is not None:
            self._pulse.cancel()
            await asyncio.gather(self._pulse, return_exceptions=True)

    async def _claim(self, queue: str, limit: int) -> list[HeldRun]:
        claimed_at = self._clock()
        try:
            async with asyncio.timeout(self._claim_timeout):
                tasks = await self._run_store.claim(
                    queue, limit=limit, worker_id=self._worker_id, lease_seconds=self._lease_seconds
                )
        except TimeoutError as error:
            self._pause_taking()
            raise StoreUnavailable(f"the claim took longer than {self._claim_timeout:g} s") from error
        except Exception:
            self._pause_taking()
            raise
        self._failed_claims = 0
        return [
            HeldRun(task, claimed_at=claimed_at, lease_seconds=self._lease_seconds, clock=self._clock) for task in tasks
        ]

    def _pause_taking(self) -> None:
        """Other workers may reach the database; their chance is better than one more try of ours."""
        if self.slots.paused:
            return
        seconds = min(_LONGEST_PAUSE_SECONDS, _PAUSE_SECONDS * 2 ** min(self._failed_claims, 10))
        self._failed_claims += 1
        self.slots.pause()
        asyncio.get_running_loop().call_later(seconds, self.slots.resume)

    def _begin(self, runs: Sequence[HeldRun]) -> int:
        self._held.add(runs)
        for run in runs:
            if self._draining:
                run.stop(RunStopReason.drain)
            running = asyncio.create_task(self._run(run), name=f"task-{run.task.id}")
            self._runs.add(running)
            running.add_done_callback(self._runs.discard)
        return len(runs)

    async def _run(self, run: HeldRun) -> None:
        run.begin()
        with log_fields(**run.log_fields):
            try:
                await self._run_task(run.task, run)
            except RunLost as lost:
                _log.warning(LogEvent.run_lost, reason=lost.detail)
            except asyncio.CancelledError:
                _log.warning(LogEvent.run_lost, reason="stopped before it could write")
            except Exception:  # noqa: BLE001 - the outermost frame of a run: a fault in one task must not touch its neighbours
                # It has not said how it ended, so its lease runs out and another worker takes it.
                _log.exception(LogEvent.run_failed)
            finally:
                self._held.remove(run)
                self.slots.release()

    async def _wait_for_runs(self, seconds: float) -> None:
        if self._runs:
            await asyncio.wait(set(self._runs), timeout=seconds)

    async def _watch(self) -> None:
        """Tells the heartbeat that the loop is alive, and stops runs whose lease may be over."""
        while True:
            self._heartbeat.pulse()
            for run in self._held.all():
                if run.is_late() and run.interrupt(RunStopReason.lost):
                    _log.warning(LogEvent.lease_late, **run.log_fields)
                if run.is_deaf():
                    self._give_up(run)
            await asyncio.sleep(self._pulse_seconds)

    def _give_up(self, run: HeldRun) -> None:
        """Of a run that swallows what stops it: its lease runs out, and its task is canceled or goes on elsewhere. It
        keeps its slot, since it still runs."""
        _log.error(LogEvent.run_deaf, **run.log_fields, reason=run.stop_reason)
        run.stop(RunStopReason.lost)
        self._held.remove(run)

    def _on_renewed(self, asked: Collection[Lease], renewal: Renewal) -> None:
        for lease in asked:
            run = self._held.get(lease)
            if run is None:
                continue
            if lease not in renewal.kept:
                run.stop(RunStopReason.lost)
                asyncio.get_running_loop().call_later(_UNWIND_SECONDS, run.interrupt, RunStopReason.lost)
            elif lease in renewal.cancel:
                run.interrupt(RunStopReason.cancel)

    def _on_nudge(self, nudge: Nudge) -> None:
        # A nudge is a hint: the heartbeat asks the database, and stops the run if it says so too.
        if nudge.kind is NudgeKind.cancel:
            for run in self._held.all():
                if run.task.id == nudge.task_id:
                    self._heartbeat.hurry(run)

    def _worker_info(self) -> WorkerInfo:
        return WorkerInfo(
            worker_id=self._worker_id,
            hostname=socket.gethostname(),
            pid=os.getpid(),
            version=__version__,
            queues=self.queues,
            slots=self.slots.total,
            busy=self.held,
            draining=self._draining,
        )
