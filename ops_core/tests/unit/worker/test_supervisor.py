"""The supervisor, with children that are small scripts."""

from __future__ import annotations

import asyncio
import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ops_core.tests.unit.worker.fakes import wait_until
from ops_core.worker.supervisor import Supervisor

#: A child that notes its pid and stops when it is told to, or with its parent.
GOOD = """
import os, signal, sys, threading
from ops_core.worker.pulse import keep_giving_pulses
from ops_core.worker.supervised import StopOrder
stop = threading.Event()
signal.signal(signal.SIGTERM, lambda *_: stop.set())
keep_giving_pulses(int(sys.argv[-1]))
StopOrder().listen(end_after_seconds=5)
open(os.path.join(sys.argv[1], str(os.getpid())), "w").close()
while not stop.wait(0.05):
    pass
"""
#: A child that does not stop when it is told to.
DEAF = GOOD.replace("lambda *_: stop.set()", "signal.SIG_IGN")
#: A child that holds the interpreter in a call of C, so that none of its other threads runs.
HOLDS_THE_INTERPRETER = """
import ctypes, faulthandler
faulthandler.enable()
""" + GOOD.replace("while not stop", "def hold():\n    ctypes.PyDLL(None).sleep(3600)\nhold()\nwhile not stop")
#: A child that has never given a pulse.
NEVER_HAD_A_PULSE = GOOD.replace("keep_giving_pulses(int(sys.argv[-1]))", "")
#: A child that stops its process.
STANDS_STILL = GOOD.replace("while not stop", "os.kill(os.getpid(), signal.SIGSTOP)\nwhile not stop")
#: A child that ends at once.
WEAK = "import os, sys; open(os.path.join(sys.argv[1], str(os.getpid())), 'w').close(); sys.exit(3)"

#: The first child runs until it is killed; the second says that it cannot start, the third runs again.
SECOND_CANNOT_START = """
import os, sys
n = len(os.listdir(sys.argv[1]))
open(os.path.join(sys.argv[1], str(os.getpid())), "w").close()
if n == 1:
    sys.exit(3)
sys.stdin.read()
"""

#: What ignores that its input closes, as MCP servers may.
STAYS = """
import os, sys, time
open(os.path.join(sys.argv[1], f"left-{os.getppid()}-{os.getpid()}"), "w").close()
while True:
    time.sleep(1)
"""
#: A child that starts one, in a session of its own.
PARENT = f"""
import subprocess, sys
command = [sys.executable, "-c", {STAYS!r}, sys.argv[1]]
subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True)
{GOOD}"""

SUPERVISE = """
import asyncio, sys
from ops_core.worker.orphans import Orphans
from ops_core.worker.supervisor import Supervisor
command = [sys.executable, "-c", sys.argv[2], sys.argv[1]]
orphans = Orphans() if sys.argv[3] == "adopt" else None
supervisor = Supervisor(command, processes=2, stop_seconds=5, silence_seconds=float(sys.argv[4]), orphans=orphans)
sys.exit(asyncio.run(supervisor.run()))
"""


def command(script: str, folder: Path) -> list[str]:
    return [sys.executable, "-c", script, str(folder)]


def supervise(
    folder: Path, child: str = GOOD, *, adopt: bool = True, silence_seconds: float = math.inf
) -> subprocess.Popen[bytes]:
    """A supervisor of two children in a process of its own."""
    options = ["adopt" if adopt else "leave", str(silence_seconds)]
    return subprocess.Popen([sys.executable, "-c", SUPERVISE, str(folder), child, *options])


def pids(folder: Path) -> set[int]:
    return {int(path.name) for path in folder.iterdir() if path.name.isdigit()}


def left_by(folder: Path) -> dict[int, int]:
    """By the pid of a child, that of the process it has started."""
    return {int(path.name.split("-")[1]): int(path.name.split("-")[2]) for path in folder.glob("left-*")}


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


@pytest.mark.parametrize(
    ("hung", "said"), [(HOLDS_THE_INTERPRETER, "in hold"), (STANDS_STILL, "")], ids=["holds_the_interpreter", "stopped"]
)
async def test_a_child_without_a_pulse_is_killed_and_replaced(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], hung: str, said: str
) -> None:
    supervisor = Supervisor(command(hung, tmp_path), processes=1, stop_seconds=0.3, silence_seconds=1.5)
    running = asyncio.create_task(supervisor.run())
    await wait_until(lambda: len(pids(tmp_path)) == 1)
    (victim,) = pids(tmp_path)
    await wait_until(lambda: len(pids(tmp_path)) == 2)
    assert not is_alive(victim)
    supervisor.stop()
    await asyncio.wait_for(running, 10)
    assert said in capfd.readouterr().err


@pytest.mark.parametrize(
    ("child", "silence_seconds"),
    [(STANDS_STILL, math.inf), (NEVER_HAD_A_PULSE, 1.5), (GOOD, 1.5)],
    ids=["unwatched", "never_had_a_pulse", "well"],
)
async def test_no_other_child_is(tmp_path: Path, child: str, silence_seconds: float) -> None:
    """The control of the test above: what is killed there lives on where nobody looks, and only that is killed."""
    (tmp_path / "hung").mkdir()
    (tmp_path / "other").mkdir()
    hung = Supervisor(command(STANDS_STILL, tmp_path / "hung"), processes=1, stop_seconds=0.3, silence_seconds=1.5)
    other = Supervisor(
        command(child, tmp_path / "other"), processes=1, stop_seconds=0.3, silence_seconds=silence_seconds
    )
    running = asyncio.gather(hung.run(), other.run())
    await wait_until(lambda: len(pids(tmp_path / "other")) == 1)
    seen = len(pids(tmp_path / "hung"))
    await wait_until(lambda: len(pids(tmp_path / "hung")) == seen + 2)
    (survivor,) = pids(tmp_path / "other")
    assert is_alive(survivor)
    hung.stop()
    other.stop()
    await asyncio.wait_for(running, 10)


@pytest.mark.parametrize("together", [True, False], ids=["with_its_supervisor", "alone"])
async def test_a_child_is_killed_when_it_stood_still_alone_but_not_with_its_supervisor(
    tmp_path: Path, together: bool
) -> None:
    process = supervise(tmp_path, silence_seconds=1.5)
    try:
        await wait_until(lambda: len(pids(tmp_path)) == 2)
        victim, neighbour = sorted(pids(tmp_path))
        stopped = [victim, process.pid] if together else [victim]
        for pid in stopped:
            os.kill(pid, signal.SIGSTOP)
        # Longer than it may be silent.
        await asyncio.sleep(4.0)
        for pid in reversed(stopped):
            if is_alive(pid):
                os.kill(pid, signal.SIGCONT)
        os.kill(neighbour, signal.SIGKILL)
        # For so long the supervisor has looked at the other one again.
        await wait_until(lambda: len(pids(tmp_path)) == (3 if together else 4))
        assert is_alive(victim) is together
    finally:
        process.kill()
        process.wait()


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


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux lets a process adopt orphans")
async def test_what_a_killed_child_had_started_is_ended_and_its_neighbours_is_not(tmp_path: Path) -> None:
    process = supervise(tmp_path, PARENT)
    try:
        await wait_until(lambda: len(pids(tmp_path)) == len(left_by(tmp_path)) == 2)
        victim, neighbour = sorted(left_by(tmp_path))
        os.kill(victim, signal.SIGKILL)
        await wait_until(lambda: not is_alive(left_by(tmp_path)[victim]))
        await wait_until(lambda: len(pids(tmp_path)) == 3)
        assert is_alive(neighbour)
        assert is_alive(left_by(tmp_path)[neighbour])
        process.terminate()
        assert await asyncio.to_thread(process.wait, 15) == 0
        assert not [pid for pid in left_by(tmp_path).values() if is_alive(pid)]
    finally:
        process.kill()


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
async def test_without_adoption_it_would_stay(tmp_path: Path) -> None:
    """The control of the test above."""
    process = supervise(tmp_path, PARENT, adopt=False)
    try:
        await wait_until(lambda: len(pids(tmp_path)) == len(left_by(tmp_path)) == 2)
        victim = min(left_by(tmp_path))
        os.kill(victim, signal.SIGKILL)
        await wait_until(lambda: len(pids(tmp_path)) == 3)
        assert is_alive(left_by(tmp_path)[victim])
        process.terminate()
        await asyncio.to_thread(process.wait, 15)
    finally:
        process.kill()
        for pid in left_by(tmp_path).values():
            os.kill(pid, signal.SIGKILL)
