"""Tasks that do nothing: accepting them, working off a backlog, both at once, and how long one takes."""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping

from processes import Failed, memory_mb
from trial import Bench, Figure

_WARM_UP = 300
_LATENCY_RATE = 20.0
#: Of a backlog, what is done before the clock starts: workers start one after the other.
_HEAD_SHARE = 0.05
#: Between two looks for the end of one task.
_LATENCY_LOOK_SECONDS = 0.0005


def accept(bench: Bench, *, in_flight: int) -> list[Figure]:
    """Submits a second while nobody works them off."""
    bench.start("servers")
    with bench.client(warm_up=_WARM_UP, in_flight=in_flight) as client:
        before = bench.cpu()
        client.go()
        said = client.said(bench.processes)
        spent = cpu_figures(before, bench.cpu(), bench.tasks)
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
        if first > bench.tasks / 2:
            raise Failed(f"{bench.tasks} tasks are too few: {first} were done before the clock could be started")
        ended = progress.until(bench.tasks)
    return [Figure("rate", "1/s", (bench.tasks - first) / (ended - started))]


def end_to_end(bench: Bench) -> list[Figure]:
    """Tasks a second from the first submit to the last durable end, 16 submits in flight, two worker processes."""
    bench.start("servers")
    bench.start("workers")
    with bench.client(warm_up=_WARM_UP, in_flight=16) as client, bench.progress() as progress:
        warm = _warm(bench)
        progress.until(warm)
        kept, before = bench.database(), bench.cpu()
        client.go()
        said = client.said(bench.processes)
        ended = progress.until(warm + bench.tasks)
        spent = [*cpu_figures(before, bench.cpu(), bench.tasks), *_kept(kept, bench.database(), bench.tasks)]
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


def _kept(before: Mapping[str, float], after: Mapping[str, float], tasks: int) -> list[Figure]:
    units = {"commits": "a task", "wal": "bytes/task", "data": "bytes/task"}
    return [
        Figure(f"postgres-{name}", unit, (after[name] - before[name]) / tasks) for name, unit in units.items() if before
    ]


def cpu_figures(
    before: Mapping[str, float], after: Mapping[str, float], count: int, *, each: str = "task"
) -> list[Figure]:
    """CPU of all processes for each of these, and of which group."""
    used = {name: 1e6 * (after[name] - before.get(name, 0.0)) / count for name in after}
    groups = [Figure(f"cpu-{name}", f"µs/{each}", value) for name, value in used.items()]
    return [Figure("cpu", f"µs/{each}", sum(used.values())), *groups]
