"""The runs of isolation's tests, each in a real process: what a task can do to the process that it runs in."""

from __future__ import annotations

import asyncio
import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

from ops_core.domain.task import Task
from ops_core.errors import RunLost
from ops_core.ports import Ring, RunControl
from ops_core.tests.unit.worker.fakes import new_task
from ops_core.worker.isolated_run import IsolatedRun, confine, read_order

#: Names a file that a run makes when it begins.
BEGUN = "ISOLATED_RUN_BEGUN"

Body = Callable[[IsolatedRun, RunControl], Awaitable[None]]


async def ends_well(isolated: IsolatedRun, control: RunControl) -> None:
    isolated.announce([Ring("other", 2, None, "00-1-2-01")])


async def dies_of_a_null_pointer(isolated: IsolatedRun, control: RunControl) -> None:
    ctypes.string_at(0)


async def leaves(isolated: IsolatedRun, control: RunControl) -> None:
    os.write(2, b"last words\n")
    os._exit(3)


async def leaves_as_if_all_were_well(isolated: IsolatedRun, control: RunControl) -> None:
    os._exit(0)


async def says_exit(isolated: IsolatedRun, control: RunControl) -> None:
    sys.exit(7)


async def kills_itself(isolated: IsolatedRun, control: RunControl) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


async def kills_its_group(isolated: IsolatedRun, control: RunControl) -> None:
    os.killpg(0, signal.SIGKILL)


async def eats_memory(isolated: IsolatedRun, control: RunControl) -> None:
    hoard = []
    while True:
        hoard.append(bytearray(16 * 1024 * 1024))


async def eats_memory_behind_pythons_back(isolated: IsolatedRun, control: RunControl) -> None:
    libc = ctypes.CDLL(None)
    libc.malloc.restype = ctypes.c_void_p
    while True:
        ctypes.memset(libc.malloc(16 * 1024 * 1024), 1, 16 * 1024 * 1024)


async def turns_in_circles(isolated: IsolatedRun, control: RunControl) -> None:
    while True:
        pass


async def holds_the_interpreter(isolated: IsolatedRun, control: RunControl) -> None:
    # A call of C that lets no other thread run, the one that watches included.
    ctypes.PyDLL(None).sleep(3600)


async def recurses(isolated: IsolatedRun, control: RunControl) -> None:
    # Through C, each level of which takes of the stack what Python's own do not.
    sys.setrecursionlimit(10**9)

    def deeper() -> None:
        ctypes.CFUNCTYPE(None)(deeper)()

    deeper()


async def floods(isolated: IsolatedRun, control: RunControl) -> None:
    line = b"x" * 65_535 + b"\n"
    for _ in range(400):
        os.write(1, line)
    os._exit(4)


async def leaves_others_behind(isolated: IsolatedRun, control: RunControl) -> None:
    # In its group, in a group of its own, and one that has cut off whatever ties it to us.
    sleep = [sys.executable, "-c", "import time; time.sleep(3600)"]
    left = [subprocess.Popen(sleep), subprocess.Popen(sleep, start_new_session=True)]  # noqa: ASYNC220
    await asyncio.to_thread(_fork_away)
    os.write(2, f"left: {' '.join(str(one.pid) for one in left)}\n".encode())
    ctypes.string_at(0)


def _fork_away() -> None:
    if (pid := os.fork()) == 0:
        os.setsid()
        if os.fork() == 0:
            time.sleep(3600)
        os._exit(0)
    os.waitpid(pid, 0)


async def waits(isolated: IsolatedRun, control: RunControl) -> None:
    try:
        await asyncio.sleep(3600)
    except asyncio.CancelledError:
        os.write(2, f"stopped: {control.stop_reason}\n".encode())


async def waits_for_a_step_boundary(isolated: IsolatedRun, control: RunControl) -> None:
    while control.stop_reason is None:
        await asyncio.sleep(0.01)


async def heeds_nothing(isolated: IsolatedRun, control: RunControl) -> None:
    while True:
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            continue


async def finds_its_lease_over(isolated: IsolatedRun, control: RunControl) -> None:
    raise RunLost("over")


async def notes_until_its_lease_is_late(isolated: IsolatedRun, control: RunControl) -> None:
    while True:
        os.write(2, b"step\n")
        await asyncio.sleep(0.05)


def _say_begun() -> None:
    if path := os.environ.get(BEGUN):
        Path(path).touch()


async def _main(name: str, memory_mb: str, pulse: str, reports: str) -> int:
    body: Body = globals()[name]
    confine(memory_bytes=int(memory_mb) * 1024 * 1024)
    order = read_order()
    if order is None:
        return 1
    isolated = IsolatedRun(order, pulse=int(pulse), reports=int(reports))
    task = new_task()

    async def run(_: Task, control: RunControl) -> None:
        _say_begun()
        await body(isolated, control)

    return await isolated.run(replace(task, id=order.task_id, epoch=order.epoch), run)


if __name__ == "__main__":
    if sys.argv[1] == "dies_before_it_begins":
        sys.exit(9)
    os._exit(asyncio.run(_main(*sys.argv[1:])))
