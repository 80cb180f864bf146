"""The run's end of isolation: what it makes of a lease that it was given long ago."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from contextlib import suppress

import pytest

from ops_core.domain.task import Task
from ops_core.ports import RunControl, RunStopReason
from ops_core.tests.unit.worker.fakes import new_task
from ops_core.worker import isolated_run
from ops_core.worker.held import lease_clock
from ops_core.worker.isolated_run import LOST, IsolatedRun, Order

LEASE_SECONDS = 1.0


class Pipe:
    """What a worker says to its run. It stays open: its end would end this process."""

    def __init__(self) -> None:
        self.taken, self._given = os.pipe()

    def say(self, line: str) -> None:
        os.write(self._given, f"{line}\n".encode())


@pytest.fixture
def pipe(monkeypatch: pytest.MonkeyPatch) -> Pipe:
    pipe = Pipe()
    monkeypatch.setattr(isolated_run, "_STDIN", pipe.taken)
    return pipe


@pytest.fixture
def nowhere() -> Iterator[int]:
    fd = os.open(os.devnull, os.O_WRONLY)
    yield fd
    with suppress(OSError):
        os.close(fd)


def isolated(task: Task, nowhere: int) -> IsolatedRun:
    """Of a process whose start has taken far longer than the lease."""
    order = Order(
        namespace=task.namespace,
        task_id=task.id,
        epoch=task.epoch,
        claimed_at=None,
        renewed_at=lease_clock() - 10 * LEASE_SECONDS,
        lease_seconds=LEASE_SECONDS,
    )
    return IsolatedRun(order, pulse=nowhere, reports=nowhere)


async def test_a_start_that_took_longer_than_the_lease_is_no_loss_when_it_was_renewed(pipe: Pipe, nowhere: int) -> None:
    task, seen = new_task(), list[RunStopReason | None]()

    async def run_task(task: Task, control: RunControl) -> None:
        seen.append(control.stop_reason)

    # It is heard of only after the run has begun to look.
    asyncio.get_running_loop().call_later(0.1, lambda: pipe.say(f"renewed {lease_clock()!r}"))
    assert await isolated(task, nowhere).run(task, run_task) == 0
    assert seen == [None]


async def test_a_run_whose_lease_nobody_has_renewed_does_not_begin(pipe: Pipe, nowhere: int) -> None:
    task = new_task()

    async def run_task(task: Task, control: RunControl) -> None:
        raise AssertionError("it must not run")

    assert await isolated(task, nowhere).run(task, run_task) == LOST
