"""What is measured of any system: accepting, working off a backlog, both at once, and how long one task takes."""

from __future__ import annotations

import json
import queue
import sqlite3
import statistics
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import driver
import psutil
import psycopg
from processes import Failed, Processes, cpu_seconds, memory_mb

#: How long anything may take that is not finished.
PATIENCE_SECONDS = 900.0
_WARM_UP = 300
_LATENCY_RATE = 20.0
#: Between two looks at how far it is.
_SHORTEST_LOOK_SECONDS, _LONGEST_LOOK_SECONDS = 0.02, 1.0
#: Of a backlog, what is done before the clock starts: workers start one after the other.
_HEAD_SHARE = 0.05
#: Between two looks for the end of one task.
_LATENCY_LOOK_SECONDS = 0.0005


@dataclass(frozen=True)
class Figure:
    """One number of one run."""

    metric: str
    unit: str
    value: float


@dataclass
class Bench:
    """One system, freshly set up, its processes not started yet."""

    system: str
    python: str
    folder: Path
    about: Mapping[str, Any]
    database_url: str
    broker_url: str
    environment: Mapping[str, str]
    processes: Processes
    services: Mapping[str, psutil.Process]
    tasks: int
    groups: dict[str, list[psutil.Process]] = field(default_factory=dict)

    def start(self, group: str) -> None:
        """`servers` or `workers`."""
        for command in self.about[group]:
            started = self.processes.start(group, command)
            self.groups.setdefault(group, []).append(psutil.Process(started.pid))

    def cpu(self) -> dict[str, float]:
        """Seconds so far, of each group and both services."""
        groups = {**{name: [root] for name, root in self.services.items()}, **self.groups}
        return {name: cpu_seconds(roots) for name, roots in groups.items()}

    @contextmanager
    def client(self, *, warm_up: int, in_flight: int = 1, rate: float | None = None) -> Iterator[Client]:
        """Connected, and `warm_up` tasks submitted; submits all others when told to."""
        command = [self.python, str(Path(driver.__file__)), self.system, "submit", "--tasks", str(self.tasks)]
        command += ["--in-flight", str(in_flight), "--warm-up", str(warm_up)]
        process = self.processes.start("client", [*command, *(["--rate", str(rate)] if rate else [])], talks=True)
        self.groups["client"] = [psutil.Process(process.pid)]
        client = Client(process)
        client.until_ready(self.processes)
        yield client
        client.close()

    @contextmanager
    def progress(self) -> Iterator[Progress]:
        with Progress.open(self) as progress:
            yield progress


class Client:
    """The process that submits."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self._lines: queue.Queue[dict[str, Any] | None] = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()

    def until_ready(self, others: Processes) -> None:
        while self._next(others).get("ready") is None:
            pass

    def go(self) -> None:
        self._say()

    def said(self, others: Processes) -> dict[str, Any]:
        """Its next line.

        Raises:
            Failed: it has ended.
        """
        return self._next(others)

    def close(self) -> None:
        self._say()
        self._process.wait(60)

    def _say(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()

    def _read(self) -> None:
        assert self._process.stdout is not None
        try:
            for line in self._process.stdout:
                self._lines.put(json.loads(line))
        finally:
            self._lines.put(None)

    def _next(self, others: Processes) -> dict[str, Any]:
        ends_at = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < ends_at:
            try:
                line = self._lines.get(timeout=1.0)
            except queue.Empty:
                others.check()
                continue
            if line is not None:
                return line
            others.check()
            raise Failed("the client says no more")
        raise Failed(f"the client said nothing for {PATIENCE_SECONDS:g} s")


class Progress:
    """How many tasks have their durable end, or for a system that keeps nothing: have been executed."""

    def __init__(self, bench: Bench, ask: Callable[[str, tuple[Any, ...]], Any] | None) -> None:
        self._bench = bench
        self._ask = ask

    @classmethod
    @contextmanager
    def open(cls, bench: Bench) -> Iterator[Progress]:
        if bench.about["count_done"] is None:
            yield cls(bench, None)
        elif bench.about["sqlite"] is not None:
            file = bench.folder / bench.about["sqlite"]
            with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as sqlite:
                yield cls(bench, lambda sql, values: sqlite.execute(sql.replace("%s", "?"), values).fetchone())
        else:
            with psycopg.connect(bench.database_url, autocommit=True) as postgres:
                yield cls(bench, lambda sql, values: postgres.execute(sql, values, prepare=True).fetchone())

    def done(self) -> int:
        if self._ask is None:
            return driver.executions(self._bench.folder)
        return int(self._ask(self._bench.about["count_done"], ())[0])

    def is_done(self, id: str, number: int) -> bool:
        """`number`: how many are done with it; asked of a system that knows no ids afterwards."""
        if self._ask is None:
            return self.done() >= number
        return self._ask(self._bench.about["is_done"], (id,)) is not None

    def until(self, wanted: int) -> float:
        """When (monotonic) so many were seen to be done. Looks seldom while there is much left: a count costs.

        Raises:
            Failed: a process has ended, or nothing has been done for long.
        """
        before, changed_at = -1, time.monotonic()
        began, at_begin = time.monotonic(), self.done()
        while True:
            done, now = self.done(), time.monotonic()
            if done >= wanted:
                return now
            self._bench.processes.check()
            if done != before:
                before, changed_at = done, now
            elif now - changed_at > 120:
                raise Failed(f"{done} of {wanted} tasks are done, and no more for two minutes")
            rate = (done - at_begin) / max(now - began, 0.001)
            wait = (wanted - done) / rate / 4 if rate else 0.1
            time.sleep(min(_LONGEST_LOOK_SECONDS, max(_SHORTEST_LOOK_SECONDS, wait)))


def accept(bench: Bench, *, in_flight: int) -> list[Figure]:
    """Submits a second while nobody works them off."""
    bench.start("servers")
    with bench.client(warm_up=_WARM_UP, in_flight=in_flight) as client:
        before = bench.cpu()
        client.go()
        said = client.said(bench.processes)
        spent = _spent(before, bench.cpu(), bench.tasks)
    return [Figure("rate", "1/s", bench.tasks / (said["submitted"] - said["started"])), *spent]


def drain(bench: Bench) -> list[Figure]:
    """Tasks a second that two worker processes work off, which were submitted before they started."""
    bench.start("servers")
    with bench.client(warm_up=1, in_flight=16) as client:
        client.go()
        client.said(bench.processes)
    with bench.progress() as progress:
        bench.start("workers")
        head = int(_HEAD_SHARE * bench.tasks)
        progress.until(head)
        first, started = progress.done(), time.monotonic()
        ended = progress.until(bench.tasks)
    return [Figure("rate", "1/s", (bench.tasks - first) / (ended - started))]


def end_to_end(bench: Bench) -> list[Figure]:
    """Tasks a second from the first submit to the last durable end, 16 submits in flight, two worker processes."""
    bench.start("servers")
    bench.start("workers")
    with bench.client(warm_up=_WARM_UP, in_flight=16) as client, bench.progress() as progress:
        warm = _warm(bench)
        progress.until(warm)
        before = bench.cpu()
        client.go()
        said = client.said(bench.processes)
        ended = progress.until(warm + bench.tasks)
        spent = _spent(before, bench.cpu(), bench.tasks)
        rows = [Figure("rate", "1/s", bench.tasks / (ended - said["started"])), *spent]
        memory = [Figure(f"memory-{group}", "MB", memory_mb(roots)) for group, roots in bench.groups.items()]
    return [*rows, *memory]


def latency(bench: Bench) -> list[Figure]:
    """Milliseconds from before a submit to its task's durable end, at 20 tasks a second."""
    bench.start("servers")
    bench.start("workers")
    with bench.client(warm_up=_WARM_UP, rate=_LATENCY_RATE) as client, bench.progress() as progress:
        warm = _warm(bench)
        progress.until(warm)
        client.go()
        took = []
        for number in range(1, bench.tasks + 1):
            said = client.said(bench.processes)
            ends_at = time.monotonic() + 60
            while not progress.is_done(said["id"], warm + number):
                if time.monotonic() > ends_at:
                    raise Failed(f"task {said['id']} was not done within a minute")
                time.sleep(_LATENCY_LOOK_SECONDS)
            took.append(1000 * (time.monotonic() - said["at"]))
    shares = statistics.quantiles(took, n=100, method="inclusive")
    return [Figure("p50", "ms", shares[49]), Figure("p99", "ms", shares[98])]


def _warm(bench: Bench) -> int:
    per_submit = int(bench.about["tasks_a_submit"])
    return -(-_WARM_UP // per_submit) * per_submit


def _spent(before: Mapping[str, float], after: Mapping[str, float], tasks: int) -> list[Figure]:
    used = {name: 1e6 * (after[name] - before.get(name, 0.0)) / tasks for name in after}
    each = [Figure(f"cpu-{name}", "µs/task", value) for name, value in used.items()]
    return [Figure("cpu", "µs/task", sum(used.values())), *each]


#: Work, what does it, and how many tasks it takes: in full, and quickly.
WORKS: dict[str, tuple[Callable[[Bench], list[Figure]], int, int]] = {
    "accept-1": (lambda bench: accept(bench, in_flight=1), 10_000, 2_000),
    "accept-16": (lambda bench: accept(bench, in_flight=16), 50_000, 5_000),
    "drain": (drain, 50_000, 5_000),
    "end-to-end": (end_to_end, 50_000, 5_000),
    "latency": (latency, 600, 200),
}
