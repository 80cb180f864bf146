"""One system in one run: its processes, its client, and how far its tasks are."""

from __future__ import annotations

import json
import queue
import sqlite3
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import driver
import psutil
import psycopg
from processes import Failed, Processes, cpu_seconds

#: How long anything may take that is not finished.
PATIENCE_SECONDS = 900.0
_STATISTICS_SECONDS = 1.5
_DATABASE_SO_FAR = """
SELECT xact_commit, pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0'), pg_database_size(current_database())
FROM pg_stat_database WHERE datname = current_database()
"""
#: Between two looks at how far it is.
_SHORTEST_LOOK_SECONDS, _LONGEST_LOOK_SECONDS = 0.02, 1.0


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
    #: The same system once more, set up beside this one.
    another: Callable[[], AbstractContextManager[Bench]]
    groups: dict[str, list[psutil.Process]] = field(default_factory=dict)

    def start(self, group: str) -> None:
        """`servers`, `workers` or `one_worker`."""
        for command in self.about[group]:
            started = self.processes.start(group, command)
            self.groups.setdefault(group, []).append(psutil.Process(started.pid))

    def stop(self, group: str) -> None:
        for process in self.groups.pop(group):
            self.processes.stop_one(process.pid)

    def cpu(self) -> dict[str, float]:
        """Seconds so far, of each group and both services."""
        groups = {**{name: [root] for name, root in self.services.items()}, **self.groups}
        return {name: cpu_seconds(roots) for name, roots in groups.items()}

    def database(self) -> dict[str, float]:
        """Commits, bytes of log and bytes of data so far; nothing of a system that keeps its data elsewhere."""
        if self.about["count_done"] is None or self.about["sqlite"] is not None:
            return {}
        with psycopg.connect(self.database_url, autocommit=True) as postgres:
            # Sessions tell what they did a moment later.
            time.sleep(_STATISTICS_SECONDS)
            row = postgres.execute(_DATABASE_SO_FAR).fetchone()
        assert row is not None
        return dict(zip(("commits", "wal", "data"), map(float, row), strict=True))

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

    def number(self, sql: str) -> float:
        """One, from the system's own tables."""
        assert self._ask is not None
        return float(self._ask(sql, ())[0])

    def until(self, wanted: int, *, longest_look_seconds: float = _LONGEST_LOOK_SECONDS) -> float:
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
            time.sleep(min(longest_look_seconds, max(_SHORTEST_LOOK_SECONDS, wait)))
