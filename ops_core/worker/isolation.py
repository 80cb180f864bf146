"""Isolation: a task that has crashed twice runs alone in a child process, so that only its own crash is its own."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from ops_core.domain.task import JsonObject, Task
from ops_core.errors import RunLost
from ops_core.ports import Ring, RunControl, RunStopReason
from ops_core.telemetry import LogEvent, get_logger
from ops_core.worker.held import HeldRun
from ops_core.worker.host import RunTask
from ops_core.worker.isolated_run import LOST, Order

_log = get_logger()

#: Crashes in a row after which a task runs alone: one may be anybody's fault, and so may two, but then it is cheap to
#: find out.
SUSPECT_CRASHES: Final = 2
#: Between two looks at what the run is to be told.
_TELL_SECONDS = 0.05
#: What a run gets to stop in, by the reason, before it is killed.
_GRACE_SECONDS = {RunStopReason.cancel: 3.0, RunStopReason.drain: 3.0, RunStopReason.lost: 0.5}
#: What the warden gets to end all that is left.
_CLEAN_UP_SECONDS = 10.0
#: Beyond its own time limits, which the run keeps itself; who does not is killed.
_LATE_SECONDS = 15.0
_LONGEST_LINE = 256_000

#: Writes that the attempt crashed, with the evidence (runner.run_task.TaskRunner.write_crash).
WriteCrash = Callable[[Task, RunControl, JsonObject], Awaitable[object]]


class IsolationFailed(Exception):
    """The child process died before it came to the task: that is not the task's doing. Its lease runs out."""


class Isolation:
    """Runs suspects in child processes, at most so many at once; other tasks run where they are."""

    def __init__(
        self,
        *,
        run_here: RunTask,
        write_crash: WriteCrash,
        announce: Callable[[Sequence[Ring]], None],
        command: Sequence[str],
        environment: Mapping[str, str],
        lease_seconds: float,
        at_once: int,
        late_seconds: float = _LATE_SECONDS,
    ) -> None:
        """`run_here` must run nothing of a task that is told to stop already, and only write why: so it is called for
        a run that was stopped before it had said how it ended. `command` starts a warden."""
        self._run_here = run_here
        self._write_crash = write_crash
        self._announce = announce
        self._command = tuple(command)
        self._environment = dict(environment)
        self._lease_seconds = lease_seconds
        self._late_seconds = late_seconds
        self._turns = asyncio.Semaphore(at_once)

    async def run(self, task: Task, control: HeldRun) -> None:
        """Run the task to the end of this claim (see `RunTask`).

        Raises:
            RunLost: the lease is over.
            IsolationFailed
        """
        if task.suspicion < SUSPECT_CRASHES:
            await self._run_among_others(task, control)
            return
        evidence = await self._evidence(task, control)
        if evidence is not None:
            _log.error(LogEvent.run_crashed, attempt=task.attempt, **{k: evidence[k] for k in ("status", "signal")})
            await self._write_crash(task, control, evidence)

    async def _run_among_others(self, task: Task, control: HeldRun) -> None:
        """A run keeps its own time limits. One that does not swallows them: its lease is given up, which is a crash."""
        bound = self._longest_seconds(task)
        loop = asyncio.get_running_loop()
        late = loop.call_later(bound, control.interrupt, RunStopReason.lost) if bound is not None else None
        try:
            await self._run_here(task, control)
        finally:
            if late is not None:
                late.cancel()

    async def _evidence(self, task: Task, control: HeldRun) -> JsonObject | None:
        """Of the run's crash; None when it has ended well, by itself or because it was told to stop."""
        try:
            async with self._turns:
                child = await self._started(self._order(task, control))
                how = await self._watched(child, task, control)
        except asyncio.CancelledError:
            # Told to stop while it waited for its turn, or was being started.
            _take_back_cancellation()
            how = _How()
        self._announce(how.rings)
        if how.has_ended:
            return None
        match control.stop_reason:
            case RunStopReason.lost:
                raise RunLost("the lease is over")
            case RunStopReason.cancel | RunStopReason.drain:
                await self._run_here(task, control)
                return None
        if how.exit is not None and how.exit.get("status") == LOST:
            raise RunLost("the isolated run found its lease over")
        if not how.has_begun or how.exit is None:
            raise IsolationFailed(f"the isolated run of task {task.id} did not come to its task: {how.exit}")
        return how.exit

    async def _started(self, order: Order) -> _Child:
        starting = asyncio.ensure_future(_Child.start(self._command, self._environment, order))
        try:
            return await asyncio.shield(starting)
        except asyncio.CancelledError:
            # Half started it would be nobody's.
            (await starting).close()
            raise

    def _order(self, task: Task, control: HeldRun) -> Order:
        return Order(
            namespace=task.namespace,
            task_id=task.id,
            epoch=control.lease.epoch,
            claimed_at=task.claimed_at,
            renewed_at=control.renewed_at,
            lease_seconds=self._lease_seconds,
        )

    async def _watched(self, child: _Child, task: Task, control: HeldRun) -> _How:
        """Whatever happens, the child is gone when this returns."""
        _log.info(LogEvent.run_isolated, pid=child.pid, suspicion=task.suspicion, attempt=task.attempt)
        telling = asyncio.create_task(_tell(child, control), name="tell-isolated-run")
        try:
            async with asyncio.timeout(self._longest_seconds(task)):
                return await child.end()
        except TimeoutError:
            return await child.killed()
        except asyncio.CancelledError:
            _take_back_cancellation()
            reason = control.stop_reason or RunStopReason.lost
            child.tell(f"interrupt {reason.value}")
            return await child.ended_within(_GRACE_SECONDS[reason])
        finally:
            telling.cancel()
            # As a last resort: not even what ends this task leaves a child behind.
            child.close()

    def _longest_seconds(self, task: Task) -> float | None:
        """After this even a run that heeds no time-out of its own is stopped."""
        bounds = [task.attempt_timeout_seconds]
        if task.deadline_at is not None and task.claimed_at is not None:
            bounds.append((task.deadline_at - task.claimed_at).total_seconds())
        given = [bound for bound in bounds if bound is not None]
        return max(0.0, min(given)) + self._late_seconds if given else None


@dataclass(slots=True)
class _How:
    """What a run has said of itself, and what its warden said of its end."""

    has_begun: bool = False
    has_ended: bool = False
    exit: dict[str, Any] | None = None
    rings: Sequence[Ring] = ()


class _Child:
    """A warden and its run, from outside."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._how = _How()
        self._reading = asyncio.create_task(self._read(), name="read-isolated-run")

    @classmethod
    async def start(cls, command: Sequence[str], environment: Mapping[str, str], order: Order) -> _Child:
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            env=environment,
            start_new_session=True,
            limit=_LONGEST_LINE,
        )
        child = cls(process)
        child.tell(order.to_line())
        return child

    @property
    def pid(self) -> int:
        return self._process.pid

    def tell(self, line: str) -> None:
        """Never waits: what is told is short, and whoever does not listen is killed in the end."""
        if self._process.stdin is not None and not self._process.stdin.is_closing():
            self._process.stdin.write(f"{line}\n".encode())

    async def end(self) -> _How:
        """Returns when the warden has ended, and all of the run with it."""
        return await asyncio.shield(self._reading)

    async def ended_within(self, seconds: float) -> _How:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                return await self.end()
        return await self.killed()

    async def killed(self) -> _How:
        """Have the warden end the run at once, and end the warden if it does not."""
        with contextlib.suppress(ProcessLookupError):
            self._process.terminate()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_CLEAN_UP_SECONDS):
                return await self.end()
        self.close()
        return await self.end()

    def close(self) -> None:
        if self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()

    async def _read(self) -> _How:
        assert self._process.stdout is not None
        while True:
            try:
                line = await self._process.stdout.readline()
            except ValueError:
                # Longer than any of ours: the run wrote where it should not.
                continue
            if not line:
                break
            self._hear(line)
        await self._process.wait()
        return self._how

    def _hear(self, line: bytes) -> None:
        try:
            said = json.loads(line)
            if "rings" in said:
                self._how.rings = (*self._how.rings, *(_ring(fields) for fields in said["rings"]))
            self._how.has_begun = self._how.has_begun or bool(said.get("began"))
            self._how.has_ended = self._how.has_ended or bool(said.get("ended"))
            self._how.exit = said.get("exit", self._how.exit)
        except (ValueError, TypeError, KeyError, AttributeError):
            _log.debug(LogEvent.run_isolated, reason="a line that nobody of ours wrote")


async def _tell(child: _Child, control: HeldRun) -> None:
    """Pass on what the host finds out: renewals of the lease, and that the run is to stop at its next step."""
    renewed_at, reason = control.renewed_at, None
    while True:
        if control.renewed_at != renewed_at:
            renewed_at = control.renewed_at
            child.tell(f"renewed {renewed_at!r}")
        if control.stop_reason not in (None, reason):
            reason = control.stop_reason
            child.tell(f"stop {reason}")
        await asyncio.sleep(_TELL_SECONDS)


def _ring(fields: dict[str, Any]) -> Ring:
    task_id = UUID(fields["task_id"]) if fields["task_id"] is not None else None
    return Ring(str(fields["queue"]), int(fields["count"]), task_id, fields["traceparent"])


def _take_back_cancellation() -> None:
    """The run was stopped as it was told; what is written now must not look cancelled to asyncio."""
    current = asyncio.current_task()
    if current is not None:
        current.uncancel()
