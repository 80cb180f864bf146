"""Many agents that only wait, in one worker process: how long it takes, how many run at once, how much memory.

python load_tests/waiting_agents.py                      # embedded: everything in one process
python load_tests/waiting_agents.py --database-url postgresql://… --broker-url amqp://…
"""

from __future__ import annotations

import argparse
import asyncio
import resource
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from harness import STOP_SECONDS, Api, Figure, System, parsed, parser, set_up_name, system, tell


def main() -> int:
    made = parser(__doc__, tasks=1_000)
    made.add_argument("--seconds", type=float, default=2.0, help="how long each waits (default: %(default)s)")
    made.add_argument("--concurrency", type=int, help="agents at once in the worker (default: as many as tasks)")
    made.add_argument("--agent", default="assistant", help="whose model is replaced by the wait")
    made.add_argument("--patience-seconds", type=float, default=300.0, help="give up after (default: %(default)s)")
    options = parsed(made)
    if options.seconds < 0:
        made.error("--seconds must be at least 0")
    options.concurrency = options.concurrency or options.tasks
    delay = round(options.seconds * 1_000)
    settings = {"OPS_CORE_CONCURRENCY": options.concurrency, "OPS_CORE_LOAD_TEST_MOCK_AGENT_DELAY_MS": delay}
    with system(options, **settings) as under_test:
        return asyncio.run(measure(options, under_test))


async def measure(options: argparse.Namespace, under_test: System) -> int:
    await asyncio.to_thread(under_test.start_all_but_workers)
    async with Api(under_test.url) as api:
        # The worker comes last and finds all of them, so that the rate of submits is not what is measured.
        started = time.perf_counter()
        await api.submit([{"agent": options.agent, "goal": "wait"}] * options.tasks)
        submitted = time.perf_counter() - started
        worker = under_test.start_worker(concurrency=options.concurrency)
        ends_at = time.monotonic() + options.patience_seconds
        while not await api.none("scheduled,queued,running,waiting"):
            under_test.check_alive()
            if time.monotonic() > ends_at:
                sys.exit(f"tasks are not done after {options.patience_seconds:g} s")
            await asyncio.sleep(0.25)
        memory = _peak_memory_mb(worker)
        tasks = [task async for task in api.all("/tasks")]
    return _report(options, submitted, tasks, memory)


@dataclass(frozen=True)
class Spans:
    """When tasks ran, by the database's clock."""

    spans: Sequence[tuple[datetime, datetime]]

    @property
    def makespan_seconds(self) -> float:
        """From the first start to the last end."""
        return (max(end for _, end in self.spans) - min(start for start, _ in self.spans)).total_seconds()

    @property
    def peak(self) -> int:
        """Most tasks between their start and their end at one moment."""
        changes = sorted([(start, 1) for start, _ in self.spans] + [(end, -1) for _, end in self.spans])
        running = peak = 0
        for _, change in changes:
            running += change
            peak = max(peak, running)
        return peak


def _report(options: argparse.Namespace, submitted: float, tasks: Sequence[Mapping[str, Any]], memory: float) -> int:
    statuses = Counter(task["status"] for task in tasks)
    print(f"set-up          {set_up_name(options)}")
    print(f"tasks           {len(tasks):,} of {options.seconds:g} s each: {dict(statuses)}")
    print(f"submitted in    {submitted:.2f} s")
    figures = [Figure("memory", "MB", memory)]
    if statuses == {"completed": options.tasks}:
        spans = Spans([(_time(task["started_at"]), _time(task["finished_at"])) for task in tasks])
        print(f"makespan        {spans.makespan_seconds:.2f} s, first start to last end")
        print(f"peak in flight  {spans.peak:,}, limit {options.concurrency:,}")
        figures += [Figure("makespan", "s", spans.makespan_seconds), Figure("peak", "tasks", spans.peak)]
    print(f"worker's memory {memory:.0f} MB at its highest")
    tell(options, figures)
    return 0 if statuses == {"completed": options.tasks} else 1


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text)


def _peak_memory_mb(process: subprocess.Popen[bytes]) -> float:
    """The most memory that the process, or the largest of those it has started, has had resident."""
    if Path("/proc/self/status").exists():
        return max(_high_water_mb(pid) for pid in _with_descendants(process.pid))
    # Elsewhere the system tells only of children that have ended.
    process.send_signal(signal.SIGTERM)
    process.wait(STOP_SECONDS)
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    return peak / 1024**2 if sys.platform == "darwin" else peak / 1024


def _with_descendants(pid: int) -> list[int]:
    parents: dict[int, int] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            # The command, in parentheses, may hold blanks and parentheses itself.
            parents[int(stat.parent.name)] = int(stat.read_text().rpartition(")")[2].split()[1])
        except OSError:  # it has ended meanwhile
            continue
    found = [pid]
    for candidate in found:
        found.extend(child for child, parent in parents.items() if parent == candidate)
    return found


def _high_water_mb(pid: int) -> float:
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0.0
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM:")), 0.0)


if __name__ == "__main__":
    sys.exit(main())
