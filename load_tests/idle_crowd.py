"""What many waiting tasks cost a system that has nothing to do: CPU of its processes, with and without them.

    python load_tests/idle_crowd.py                      # embedded: everything in one process
    python load_tests/idle_crowd.py --database-url postgresql://… --broker-url amqp://…

First the empty system is left alone for a while, then the tasks are submitted, each of which waits for a person's yes
before it begins, and the system is left alone again. Reads /proc, so Linux only.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import time
from pathlib import Path

from harness import Api, Figure, System, parsed, parser, set_up_name, system, tell

_AGENT = "model: {provider: demo, name: demo}\napprovals: [{message: 'May it begin?'}]\n"


async def measure(options: argparse.Namespace, under_test: System) -> tuple[float, float]:
    under_test.add_agent("asks", _AGENT)
    async with Api(under_test.url) as api:
        await asyncio.to_thread(under_test.start_all_but_workers)
        under_test.start_worker(concurrency=20)
        await api.submit([{"agent": "asks", "goal": "wait"}])
        await _quiet(api, under_test, options.settle_seconds)
        empty = await _cpu_share(under_test, options.seconds)
        await api.submit([{"agent": "asks", "goal": "wait"}] * options.tasks)
        await _quiet(api, under_test, options.settle_seconds)
        crowd = await _cpu_share(under_test, options.seconds)
    return empty, crowd


async def _quiet(api: Api, under_test: System, seconds: float) -> None:
    """All of them wait, and what submitting them set in motion has come to rest."""
    while not await api.none("queued,running,scheduled"):
        under_test.check_alive()
        await asyncio.sleep(0.5)
    await asyncio.sleep(seconds)


async def _cpu_share(under_test: System, seconds: float) -> float:
    """Of one core, all processes together."""
    before, began = _cpu_seconds(under_test), time.perf_counter()
    await asyncio.sleep(seconds)
    under_test.check_alive()
    return (_cpu_seconds(under_test) - before) / (time.perf_counter() - began)


def _cpu_seconds(under_test: System) -> float:
    parents = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:  # it has ended meanwhile
            continue
        parents[int(stat.parent.name)] = int(fields[1]), (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    ours = [process.pid for process in under_test.processes]
    for candidate in ours:
        ours.extend(pid for pid, (parent, _) in parents.items() if parent == candidate)
    return sum(parents[pid][1] for pid in ours if pid in parents)


def main() -> int:
    made = parser(__doc__, tasks=100_000)
    made.add_argument("--seconds", type=float, default=60.0, help="how long it is watched (default: %(default)s)")
    made.add_argument("--settle-seconds", type=float, default=15.0, help="left alone before (default: %(default)s)")
    options = parsed(made)
    if not Path("/proc/self/stat").exists():
        sys.exit("this reads /proc, which is not here")
    with system(options) as under_test:
        empty, crowd = asyncio.run(measure(options, under_test))
    print(f"{set_up_name(options)}: CPU of all our processes, idle for {options.seconds:g} s")
    print(f"empty                   {100 * empty:6.2f} % of a core")
    print(f"with {options.tasks:>9,} waiting  {100 * crowd:6.2f} % of a core")
    tell(options, [Figure("empty", "% of a core", 100 * empty), Figure("crowd", "% of a core", 100 * crowd)])
    return 0


if __name__ == "__main__":
    sys.exit(main())
