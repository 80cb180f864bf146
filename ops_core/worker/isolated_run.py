"""The side of the run in an isolated process: takes its order from a pipe, and says on others how it fares."""

from __future__ import annotations

import asyncio
import contextlib
import faulthandler
import json
import os
import resource
import sys
import threading
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from ops_core.domain.task import Task
from ops_core.errors import RunLost
from ops_core.ports import Ring, RunControl, RunStopReason
from ops_core.telemetry import LogEvent, get_logger, log_fields
from ops_core.worker.held import HeldRun, lease_clock
from ops_core.worker.process_tree import die_with_parent
from ops_core.worker.pulse import PULSE_SECONDS, give_pulse

_log = get_logger()

#: What the process exits with when its lease was over, or its worker gone: not the run's fault.
LOST: Final = 64
_STDIN: Final = 0
#: Between two looks whether the lease was renewed.
_HEARD_SECONDS = 0.01
#: A run whose lease is over has this long to return.
_UNWIND_SECONDS = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What a run in a process of its own is given to begin with."""

    namespace: str
    task_id: UUID
    epoch: int
    claimed_at: datetime | None
    #: When the lease was surely ours, by `lease_clock`, which is one for all processes of a machine.
    renewed_at: float
    lease_seconds: float

    def to_line(self) -> str:
        claimed_at = self.claimed_at.isoformat() if self.claimed_at is not None else None
        fields: dict[str, Any] = {"task_id": str(self.task_id), "claimed_at": claimed_at}
        for name in ("namespace", "epoch", "renewed_at", "lease_seconds"):
            fields[name] = getattr(self, name)
        return json.dumps(fields)

    @staticmethod
    def from_line(line: str) -> Order:
        fields = json.loads(line)
        at = fields.pop("claimed_at")
        task_id = UUID(fields.pop("task_id"))
        return Order(task_id=task_id, claimed_at=datetime.fromisoformat(at) if at else None, **fields)


def confine(*, memory_bytes: int) -> None:
    """Bound this process before it does anything: its memory, and its life by that of its warden."""
    die_with_parent()
    # Where each thread stands, also when it is a signal that ends the process.
    faulthandler.enable()
    # Address space is reserved by the gigabyte and hardly used: what counts on Linux is what can be written.
    limit = resource.RLIMIT_DATA if sys.platform == "linux" else resource.RLIMIT_AS
    _, most = resource.getrlimit(limit)
    bound = memory_bytes if most == resource.RLIM_INFINITY else min(memory_bytes, most)
    resource.setrlimit(limit, (bound, bound))
    # A dump of a gigabyte for each crash is nobody's wish.
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


class IsolatedRun:
    """Speaks with the worker for one run. `pulse` and `reports` are the file descriptors that the warden gave."""

    def __init__(self, order: Order, *, pulse: int, reports: int) -> None:
        self.order = order
        self._pulse = pulse
        self._reports = reports

    def announce(self, rings: Sequence[Ring]) -> None:
        """Have the worker ring: it has the broker, and the queue that lives in its process."""
        if rings:
            self._report(rings=[_plain(ring) for ring in rings])

    async def run(self, task: Task, run_task: Callable[[Task, RunControl], Awaitable[object]]) -> int:
        """Run the task as this order says, under the worker's lease; returns the exit status."""
        if task.epoch != self.order.epoch:
            return LOST
        task = replace(task, claimed_at=self.order.claimed_at)
        held = HeldRun(
            task, claimed_at=self.order.renewed_at, lease_seconds=self.order.lease_seconds, clock=lease_clock
        )
        loop = asyncio.get_running_loop()
        threading.Thread(target=_listen, args=(held, loop), name="worker-pipe", daemon=True).start()
        if not await self._is_renewed(held):
            return LOST
        watching = asyncio.create_task(self._watch(held), name="pulse")
        self._report(began=True)
        running = asyncio.create_task(self._run(held, run_task), name=f"task-{task.id}")
        await asyncio.wait([running])
        watching.cancel()
        if running.cancelled() or isinstance(running.exception(), RunLost):
            return LOST
        running.result()
        self._report(ended=True)
        return 0

    async def _is_renewed(self, held: HeldRun) -> bool:
        """To come here may have taken longer than the lease: whether it was renewed meanwhile is still in the pipe."""
        for _ in range(int(self.order.lease_seconds / _HEARD_SECONDS)):
            if not held.is_late():
                return True
            await asyncio.sleep(_HEARD_SECONDS)
        return False

    async def _run(self, held: HeldRun, run_task: Callable[[Task, RunControl], Awaitable[object]]) -> None:
        held.begin()
        with log_fields(**held.log_fields):
            await run_task(held.task, held)

    async def _watch(self, held: HeldRun) -> None:
        """Show that the loop is alive, and stop when the lease may be over: its worker may be stopped, or gone."""
        while True:
            give_pulse(self._pulse)
            if held.is_late() and held.interrupt(RunStopReason.lost):
                _log.warning(LogEvent.lease_late, **held.log_fields)
                asyncio.get_running_loop().call_later(_UNWIND_SECONDS, os._exit, LOST)
            await asyncio.sleep(PULSE_SECONDS)

    def _report(self, **said: Any) -> None:
        with contextlib.suppress(OSError):
            os.write(self._reports, (json.dumps(said) + "\n").encode())


def read_order() -> Order | None:
    """The first line of standard input; None when the worker is gone already."""
    line = b""
    # Byte by byte, and without a buffer: what follows is `_listen`'s, and a buffer that a thread waits in cannot be
    # closed when the process ends.
    while not line.endswith(b"\n"):
        byte = os.read(_STDIN, 1)
        if not byte:
            return None
        line += byte
    return Order.from_line(line.decode())


def _plain(ring: Ring) -> dict[str, Any]:
    task_id = str(ring.task_id) if ring.task_id is not None else None
    return {"queue": ring.queue, "count": ring.count, "task_id": task_id, "traceparent": ring.traceparent}


def _listen(held: HeldRun, loop: asyncio.AbstractEventLoop) -> None:
    """In a thread, so that it hears also while the loop is busy: what the worker says, and that it is gone."""
    heard = b""
    while data := os.read(_STDIN, 4096):
        *lines, heard = (heard + data).split(b"\n")
        for line in lines:
            _hear(line.decode(), held, loop)
    os._exit(LOST)


def _hear(line: str, held: HeldRun, loop: asyncio.AbstractEventLoop) -> None:
    word, _, value = line.partition(" ")
    match word:
        case "renewed":
            held.renewed_at = float(value)
        case "stop":
            loop.call_soon_threadsafe(held.stop, RunStopReason(value))
        case "interrupt" if value == RunStopReason.lost:
            # Somebody else may run this task by now: not one step more.
            os._exit(LOST)
        case "interrupt":
            loop.call_soon_threadsafe(held.interrupt, RunStopReason(value))
