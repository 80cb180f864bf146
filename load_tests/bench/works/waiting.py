"""A backlog of tasks that each wait for 2 s, as agents wait for their models, worked off by one worker process."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from typing import Self

import driver
import psutil
from processes import memory_mb
from trial import Bench, Figure, Progress

_WAIT_SECONDS = 2.0
#: For `Work.environment`: each task waits, and the worker process has room for all of them.
ENVIRONMENT = {"BENCH_WAIT_MS": f"{1000 * _WAIT_SECONDS:.0f}", "BENCH_CONCURRENCY": "{tasks}"}

_SETTLE_SECONDS = 2.0
#: Between two looks at how far the backlog is, and at the memory.
_LOOK_SECONDS, _MEMORY_LOOK_SECONDS = 0.05, 0.2


def waiting(bench: Bench) -> list[Figure]:
    """Seconds from the first start to the last durable end, and how much more memory that takes the worker process."""
    bench.start("servers")
    with bench.client(warm_up=1, in_flight=16) as client:
        idle = _idle_memory(bench)
        client.go()
        client.said(bench.processes)
    with bench.progress() as progress:
        bench.start("one_worker")
        with _Peak(bench.groups["one_worker"]) as peak:
            ended = progress.until(1 + bench.tasks, longest_look_seconds=_LOOK_SECONDS)
        seconds = _makespan(bench, progress, ended)
    return [
        Figure("makespan", "s", seconds),
        Figure("makespan-ratio", "× the wait", seconds / _WAIT_SECONDS),
        Figure("memory", "MB", peak.mb - idle),
        Figure("memory-idle", "MB", idle),
    ]


def _idle_memory(bench: Bench) -> float:
    """Of a worker process that has run one task: what tasks take is then apart from what the first of them loads."""
    bench.start("one_worker")
    with bench.progress() as progress:
        progress.until(1)
    time.sleep(_SETTLE_SECONDS)
    idle = memory_mb(bench.groups["one_worker"])
    bench.stop("one_worker")
    driver.forget_start(bench.folder)
    return idle


def _makespan(bench: Bench, progress: Progress, ended: float) -> float:
    if bench.about["makespan"] is not None:
        return progress.number(bench.about["makespan"])
    return ended - driver.first_start(bench.folder)


class _Peak:
    """The most memory that these processes had together while it was entered, in `mb`."""

    def __init__(self, roots: Sequence[psutil.Process]) -> None:
        self.mb = 0.0
        self._roots = roots
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._over.wait(_MEMORY_LOOK_SECONDS):
            self.mb = max(self.mb, memory_mb(self._roots))
