"""What the fault rows rely on of the processes that they start."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from ops_core.tests.faults.nursery import Forked, Nursery
from ops_core.tests.journeys.system import STOP_SECONDS, until

pytestmark = [pytest.mark.services, pytest.mark.timeout(120)]

_LAST_PID = Path("/proc/sys/kernel/ns_last_pid")
#: Somebody else may take the number first.
_TRIES = 200


@pytest.fixture(scope="module")
def nursery() -> Iterator[Nursery]:
    made = Nursery({})
    yield made
    made.close()


def begin(nursery: Nursery, folder: Path, *, alterations: str = "-") -> Forked:
    """A process that has enough to do; with an alteration that there is none of, it ends with status 1."""
    environment = {"PYTHONPATH": str(folder), "PATH": os.environ["PATH"]}
    line = ["fill", "1000000", f"sqlite:///{folder}/ops.db"]
    return Forked(nursery, "one", alterations=alterations, command=line, environment=environment, directory=folder)


def begin_as(pid: int, nursery: Nursery, folder: Path) -> Forked | None:
    """A living process with this number; None where nobody may choose."""
    for _ in range(_TRIES):
        try:
            _LAST_PID.write_text(str(pid - 1))
        except OSError:
            return None
        begun = begin(nursery, folder)
        if begun.pid == pid:
            return begun
        begun.kill()
    return None


def test_a_process_with_the_number_of_one_that_has_ended_has_not_ended_for_that(
    nursery: Nursery, tmp_path: Path
) -> None:
    ended = begin(nursery, tmp_path, alterations="none:such")
    assert ended.popen.wait(STOP_SECONDS) == 1
    alive = begin_as(ended.pid, nursery, tmp_path)
    if alive is None:
        pytest.skip("only root chooses the number of the next process, and only on Linux")
    try:
        assert alive.popen.poll() is None
        ended.kill()
        assert alive.popen.poll() is None, "the one that had ended was killed once more"
    finally:
        alive.kill()


def test_a_process_that_crashes_in_c_says_so(nursery: Nursery, tmp_path: Path) -> None:
    begun = begin(nursery, tmp_path)
    until(lambda: (tmp_path / "ops.db").exists(), what="it is past its start")
    os.kill(begun.pid, signal.SIGSEGV)
    assert begun.popen.wait(STOP_SECONDS) == -signal.SIGSEGV
    assert "Segmentation fault" in begun.output()
