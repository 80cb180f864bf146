"""An hour at half load over REST: whether memory, waits and tables stay as they are.

BENCH_HOUR_SECONDS makes it longer or shorter; a minute is a sixtieth of it then.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import psutil
import psycopg
from processes import memory_mb
from trial import Bench, Figure

from works.submitting import end_to_end

#: Submitted at full speed before the hour, to know what half of it is: about half a minute.
FULL_SPEED_TASKS, QUICK_FULL_SPEED_TASKS = 20_000, 5_000
_SECONDS, _QUICK_SECONDS = 3_600.0, 300.0
_MINUTES = 60
#: A client that keeps to a rate has one submit in flight, which is too few; they take turns.
_CLIENTS = 8
#: Memory at the end is compared with that after the first; waits are compared in the second, at either end.
_EARLY_MINUTES, _WINDOW_MINUTES = 5, 10
#: Idle sessions tell what they did so much later.
_STATISTICS_SECONDS = 11.0
_P99 = """
SELECT 1000 * percentile_cont(0.99) WITHIN GROUP (ORDER BY extract(epoch FROM finished_at - created_at))
FROM tasks WHERE namespace = 'default' AND created_at >= %s AND created_at < %s
"""
_DEAD_ROWS = "SELECT sum(n_dead_tup)::int FROM pg_stat_user_tables WHERE relname IN ('tasks', 'task_events')"


@dataclass(frozen=True)
class _Hour:
    """How it went: when it began and ended, by the database's clock, and its memory in MB, by the minute."""

    began_at: datetime
    ended_at: datetime
    memory: Sequence[dict[str, float]]

    @property
    def seconds(self) -> float:
        return (self.ended_at - self.began_at).total_seconds()


def hour(bench: Bench) -> list[Figure]:
    """`bench.tasks` at full speed as in `end-to-end`, then the hour at half of that."""
    full = next(one.value for one in end_to_end(bench) if one.metric == "rate")
    seconds = _length(bench.tasks)
    half = replace(bench, tasks=round(full / 2 * seconds / _CLIENTS) * _CLIENTS)
    passed = _half_load(half, rate=full / 2, minute=seconds / _MINUTES)
    return [
        Figure("rate", "1/s", half.tasks / passed.seconds),
        Figure("rate-full", "1/s", full),
        *_waits(bench, passed),
        *_memory_growth(passed.memory),
        *_tables(bench),
    ]


def _length(tasks: int) -> float:
    """A quick run, which is known by its few tasks, has a short hour."""
    given = os.environ.get("BENCH_HOUR_SECONDS")
    if given:
        return float(given)
    return _SECONDS if tasks >= FULL_SPEED_TASKS else _QUICK_SECONDS


def _half_load(bench: Bench, *, rate: float, minute: float) -> _Hour:
    """Returns when all tasks are done. One that falls behind its rate lasts longer."""
    with bench.progress() as progress, ExitStack() as stack:
        done_before = progress.done()
        own = replace(bench, tasks=bench.tasks // _CLIENTS)
        clients = [stack.enter_context(own.client(warm_up=1, rate=rate / _CLIENTS)) for _ in range(_CLIENTS)]
        progress.until(done_before + _CLIENTS)
        began_at, began = _database_now(bench), time.monotonic()
        for client in clients:
            client.go()
            time.sleep(1 / rate)
        memory: list[dict[str, float]] = []
        for _ in range(own.tasks):
            for client in clients:
                client.said(bench.processes)
            if time.monotonic() - began >= minute * (len(memory) + 1):
                memory.append(_memory(bench))
        ended_at = _database_now(bench)
        memory.append(_memory(bench))
        progress.until(done_before + _CLIENTS * (1 + own.tasks))
    return _Hour(began_at, ended_at, memory)


def _waits(bench: Bench, passed: _Hour) -> list[Figure]:
    """Milliseconds from the row of a submit to that of its end, by the database's clock."""
    window = timedelta(seconds=passed.seconds * _WINDOW_MINUTES / _MINUTES)
    first, last = (passed.began_at, passed.began_at + window), (passed.ended_at - window, passed.ended_at)
    with psycopg.connect(bench.database_url, autocommit=True) as postgres:
        p99 = [postgres.execute(_P99, span).fetchall()[0][0] for span in (first, last)]
    return [Figure("p99 first", "ms", float(p99[0])), Figure("p99 last", "ms", float(p99[1]))]


def _memory_growth(memory: Sequence[dict[str, float]]) -> list[Figure]:
    early, late = memory[min(_EARLY_MINUTES, len(memory)) - 1], memory[-1]
    rows = []
    for name, mb in early.items():
        rows += [Figure(f"memory-{name}-early", "MB", mb), Figure(f"memory-{name}-end", "MB", late[name])]
        rows.append(Figure(f"memory-{name}-growth", "%", 100 * (late[name] / mb - 1)))
    return rows


def _tables(bench: Bench) -> list[Figure]:
    """What they have come to."""
    time.sleep(_STATISTICS_SECONDS)
    with psycopg.connect(bench.database_url, autocommit=True) as postgres:
        sizes = {}
        for table in ("tasks", "task_events"):
            asked = f"SELECT count(*), pg_total_relation_size('{table}') FROM {table}"
            sizes[table] = postgres.execute(asked.encode()).fetchall()[0]
        dead = postgres.execute(_DEAD_ROWS).fetchall()[0][0]
    rows = [Figure(f"bytes-{table}", "a row", size / count) for table, (count, size) in sizes.items()]
    tasks = sizes["tasks"][0]
    return [
        Figure("bytes a task", "bytes", sum(size for _, size in sizes.values()) / tasks),
        *rows,
        Figure("dead rows", "rows", dead),
    ]


def _memory(bench: Bench) -> dict[str, float]:
    servers = {_role(root): memory_mb([root]) for root in bench.groups["servers"]}
    return {**servers, "workers": memory_mb(bench.groups["workers"])}


def _role(process: psutil.Process) -> str:
    """`api`, say: the word before `start` in its command."""
    words: list[str] = process.cmdline()
    return words[words.index("start") - 1]


def _database_now(bench: Bench) -> datetime:
    with psycopg.connect(bench.database_url, autocommit=True) as postgres:
        now: datetime = postgres.execute("SELECT clock_timestamp()").fetchall()[0][0]
    return now
