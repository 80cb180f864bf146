"""The supervisor, with children that are small scripts."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ops_core.tests.unit.worker.fakes import wait_until
from ops_core.worker.supervisor import Supervisor

#: A child that notes its pid and stops on SIGTERM, or with its parent.
GOOD = """
import os, signal, sys, threading
from ops_core.worker.supervisor import end_with_parent
stop = threading.Event()
signal.signal(signal.SIGTERM, lambda *_: stop.set())
end_with_parent(after_seconds=5)
open(os.path.join(sys.argv[1], str(os.getpid())), "w").close()
while not stop.wait(0.05):
    pass
"""
#: A child that does not stop on SIGTERM.
DEAF = GOOD.replace("lambda *_: stop.set()", "signal.SIG_IGN")
#: A child that ends at once.
WEAK = "import os, sys; open(os.path.join(sys.argv[1], str(os.getpid())), 'w').close(); sys.exit(3)"

#: The first child runs until it is killed; the second says that it cannot start, the third runs again.
SECOND_CANNOT_START = """
import os, sys, time
n = len(os.listdir(sys.argv[1]))
open(os.path.join(sys.argv[1], str(os.getpid())), "w").close()
if n == 1:
    sys.exit(3)
time.sleep(60)
"""

SUPERVISE = """
import asyncio, sys
from ops_core.worker.supervisor import Supervisor
command = [sys.executable, "-c", sys.argv[2], sys.argv[1]]
sys.exit(asyncio.run(Supervisor(command, processes=2, stop_seconds=5).run()))
"""


def command(script: str, folder: Path) -> list[str]:
    return [sys.executable, "-c", script, str(folder)]


def supervise(folder: Path) -> subprocess.Popen[bytes]:
    """A supervisor of two good children in a process of its own."""
    return subprocess.Popen([sys.executable, "-c", SUPERVISE, str(folder), GOOD])


def pids(folder: Path) -> set[int]:
    return {int(path.name) for path in folder.iterdir()}


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    # One whose end nobody has asked for yet is dead too.
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"


async def test_a_child_that_dies_is_started_again_alone(tmp_path: Path) -> None:
    supervisor = Supervisor(command(GOOD, tmp_path), processes=2, stop_seconds=5, restart_seconds=0.01)
    running = asyncio.create_task(supervisor.run())
    await wait_until(lambda: len(pids(tmp_path)) == 2)
    victim, neighbour = sorted(pids(tmp_path))
    os.kill(victim, signal.SIGKILL)
    await wait_until(lambda: len(pids(tmp_path)) == 3)
    assert is_alive(neighbour)
    supervisor.stop()
    assert await asyncio.wait_for(running, 10) == 0
    assert not any(is_alive(pid) for pid in pids(tmp_path))


async def test_a_child_that_dies_again_and_again_is_started_ever_more_rarely(tmp_path: Path) -> None:
    supervisor = Supervisor(command(WEAK, tmp_path), processes=1, stop_seconds=5, restart_seconds=0.2)
    started_at = time.monotonic()
    running = asyncio.create_task(supervisor.run())
    await wait_until(lambda: len(pids(tmp_path)) == 4)
    assert time.monotonic() - started_at > 0.2 + 0.4 + 0.8
    supervisor.stop()
    assert await asyncio.wait_for(running, 10) == 0


async def test_a_command_that_does_not_exist_is_tried_again_until_we_stop(tmp_path: Path) -> None:
    supervisor = Supervisor([str(tmp_path / "nothing")], processes=1, stop_seconds=5, restart_seconds=0.01)
    running = asyncio.create_task(supervisor.run())
    await asyncio.sleep(0)
    supervisor.stop()
    assert await asyncio.wait_for(running, 10) == 0


async def test_when_the_first_child_cannot_start_the_supervisor_gives_up_with_its_word(tmp_path: Path) -> None:
    supervisor = Supervisor(command(WEAK, tmp_path), processes=1, stop_seconds=5, cannot_start={3: 2})
    assert await asyncio.wait_for(supervisor.run(), 10) == 2
    assert len(pids(tmp_path)) == 1


async def test_a_later_child_that_cannot_start_is_started_again(tmp_path: Path) -> None:
    supervisor = Supervisor(
        command(SECOND_CANNOT_START, tmp_path),
        processes=1,
        stop_seconds=5,
        restart_seconds=0.01,
        cannot_start={3: 2},
    )
    running = asyncio.create_task(supervisor.run())
    await wait_until(lambda: len(pids(tmp_path)) == 1)
    os.kill(pids(tmp_path).pop(), signal.SIGKILL)
    await wait_until(lambda: len(pids(tmp_path)) == 3)
    supervisor.stop()
    assert await asyncio.wait_for(running, 10) == 0


async def test_a_child_that_does_not_stop_is_killed(tmp_path: Path) -> None:
    supervisor = Supervisor(command(DEAF, tmp_path), processes=1, stop_seconds=0.3)
    running = asyncio.create_task(supervisor.run())
    await wait_until(lambda: len(pids(tmp_path)) == 1)
    supervisor.stop()
    assert await asyncio.wait_for(running, 5) == 1
    assert not any(is_alive(pid) for pid in pids(tmp_path))


async def test_a_second_signal_kills_at_once(tmp_path: Path) -> None:
    supervisor = Supervisor(command(DEAF, tmp_path), processes=1, stop_seconds=60)
    running = asyncio.create_task(supervisor.run())
    await wait_until(lambda: len(pids(tmp_path)) == 1)
    supervisor.stop()
    supervisor.stop()
    assert await asyncio.wait_for(running, 5) == 1


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_drains_all_children(tmp_path: Path, number: signal.Signals) -> None:
    process = supervise(tmp_path)
    try:
        await wait_until(lambda: len(pids(tmp_path)) == 2)
        process.send_signal(number)
        assert await asyncio.to_thread(process.wait, 10) == 0
    finally:
        process.kill()
    assert not any(is_alive(pid) for pid in pids(tmp_path))


async def test_no_child_outlives_a_supervisor_that_was_killed(tmp_path: Path) -> None:
    process = supervise(tmp_path)
    await wait_until(lambda: len(pids(tmp_path)) == 2)
    process.kill()
    process.wait()
    await wait_until(lambda: not any(is_alive(pid) for pid in pids(tmp_path)))
