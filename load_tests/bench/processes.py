"""Processes under measurement: started with a log each, their CPU time and memory, stopped at the end."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import psutil

_STOP_SECONDS = 15.0


class Failed(Exception):
    """A process of a system has ended, or did not do its work in time; says what it wrote last."""


class Processes:
    """Those of one run, each in a session of its own."""

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        self._folder = folder
        self._environment = dict(environment)
        self._all: list[tuple[subprocess.Popen[str], Path]] = []

    def start(self, name: str, command: Sequence[str], *, talks: bool = False) -> subprocess.Popen[str]:
        """`talks`: through its standard input and output."""
        log = self._folder / f"{name}-{len(self._all)}.log"
        with log.open("w") as out:
            process = subprocess.Popen(
                command,
                cwd=Path(__file__).with_name("systems"),
                env=self._environment,
                stdin=subprocess.PIPE if talks else subprocess.DEVNULL,
                stdout=subprocess.PIPE if talks else out,
                stderr=out,
                text=True,
                start_new_session=True,
            )
        self._all.append((process, log))
        return process

    def check(self) -> None:
        """Raises:
        Failed: one of them has ended.
        """
        for process, log in self._all:
            if process.poll() not in (None, 0):
                raise Failed(f"{log.stem} ended with {process.returncode}: {log.read_text()[-2_000:]}")

    def stop(self) -> None:
        self._end(self._all)

    def stop_one(self, pid: int) -> None:
        """It is no longer one of them: how it ends is its own business."""
        self._end([one for one in self._all if one[0].pid == pid])
        self._all = [one for one in self._all if one[0].pid != pid]

    @staticmethod
    def _end(started: Sequence[tuple[subprocess.Popen[str], Path]]) -> None:
        for process, _ in reversed(started):
            if process.poll() is None:
                process.terminate()
        ends_at = time.monotonic() + _STOP_SECONDS
        for process, _ in started:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(max(0.0, ends_at - time.monotonic()))
            # What it has left behind is in its session.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


@contextmanager
def processes(folder: Path, environment: Mapping[str, str]) -> Iterator[Processes]:
    started = Processes(folder, environment)
    try:
        yield started
    finally:
        started.stop()


def cpu_seconds(roots: Sequence[psutil.Process]) -> float:
    """CPU time of these processes and all that they have started, ended ones too."""
    total = 0.0
    for process in family(roots):
        with contextlib.suppress(psutil.NoSuchProcess):
            total += sum(process.cpu_times()[:4])
    return total


def memory_mb(roots: Sequence[psutil.Process]) -> float:
    """Resident memory of these processes and those that they have started, shared pages counted once for each."""
    total = 0
    for process in family(roots):
        with contextlib.suppress(psutil.NoSuchProcess):
            total += process.memory_info().rss
    return total / 2**20


def family(roots: Sequence[psutil.Process]) -> list[psutil.Process]:
    found: dict[int, psutil.Process] = {}
    for root in roots:
        with contextlib.suppress(psutil.NoSuchProcess):
            found |= {process.pid: process for process in (root, *root.children(recursive=True))}
    return list(found.values())
