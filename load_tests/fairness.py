"""How long a small customer's tasks wait when a large one has filled the queue, beside how long they wait alone.

    python load_tests/fairness.py                      # embedded: everything in one process
    python load_tests/fairness.py --database-url postgresql://… --broker-url amqp://…

Every task waits for a model that takes a set time. First the small customer's tasks are submitted alone, then once more
while the large one's are in the queue, and a third time with the fairness key left out, which shows what it is for. A
wait is from submit to start, by the database's clock.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import sys
from datetime import datetime
from typing import Any

from harness import Api, Call, Figure, Refused, System, model, parsed, parser, set_up_name, system, tell


async def measure(options: argparse.Namespace, under_test: System) -> dict[str, list[float]]:
    async def answer(_: Call) -> str:
        await asyncio.sleep(options.call_ms / 1_000)
        return "Done."

    async with model(answer) as line, Api(under_test.url) as api:
        under_test.add_agent("calls", f"{line}planner: one_call\n")
        await asyncio.to_thread(under_test.start_all_but_workers)
        under_test.start_worker(concurrency=options.concurrency)
        await _finish(api, under_test, await api.submit([_task("warm-up", "fair")] * 20))
        alone = await _finish(api, under_test, await api.submit([_task("small", "fair")] * options.small))
        waits = {"alone": _waits(alone)}
        for name, key in (("beside, with the key", "fair"), ("beside, without", None)):
            large = await api.submit([_task("large", key)] * options.tasks)
            small = await api.submit([_task("small", key)] * options.small)
            waits[name] = _waits(await _finish(api, under_test, small))
            if key is not None:
                # What is left of the large one's would be in the way of the next.
                await asyncio.gather(*(_cancel(api, task) for task in large))
                await _finish(api, under_test, large[-1:])
    return waits


async def _cancel(api: Api, task: dict[str, Any]) -> None:
    try:
        await api.post(f"/tasks/{task['id']}/cancel", {})
    except Refused as refused:
        if refused.code != 409:  # it has ended
            raise


def _task(customer: str, key: str | None) -> dict[str, Any]:
    body: dict[str, Any] = {"agent": "calls", "goal": customer}
    return body if key is None else body | {"fairness_key": customer}


async def _finish(api: Api, under_test: System, tasks: list[dict[str, Any]]) -> list[dict[str, Any]]:
    ended: list[dict[str, Any]] = []
    for task in tasks:
        while (now := await api.get(f"/tasks/{task['id']}"))["finished_at"] is None:
            under_test.check_alive()
            await asyncio.sleep(0.05)
        ended.append(now)
    return ended


def _waits(tasks: list[dict[str, Any]]) -> list[float]:
    return [_time(task["started_at"]) - _time(task["created_at"]) for task in tasks]


def _time(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def main() -> int:
    made = parser(__doc__, tasks=10_000)
    made.add_argument("--small", type=int, default=10, help="tasks of the small customer (default: %(default)s)")
    made.add_argument("--call-ms", type=float, default=50.0, help="what the model takes (default: %(default)s)")
    made.add_argument("--concurrency", type=int, default=2, help="agents at once (default: %(default)s)")
    options = parsed(made)
    with system(options, OPS_CORE_CONCURRENCY=options.concurrency) as under_test:
        waits = asyncio.run(measure(options, under_test))
    print(
        f"{set_up_name(options)}: {options.small} tasks alone, then beside {options.tasks:,}; "
        f"{options.concurrency} at once"
    )
    print(f"{'wait of the small one':24}{'mean, s':>10}{'longest, s':>12}{'× alone':>10}")
    alone = statistics.mean(waits["alone"])
    for name, seconds in waits.items():
        mean = statistics.mean(seconds)
        print(f"{name:24}{mean:10.3f}{max(seconds):12.3f}{mean / alone:10.1f}")
    tell(options, [Figure(f"{name} mean", "s", statistics.mean(seconds)) for name, seconds in waits.items()])
    return 0


if __name__ == "__main__":
    sys.exit(main())
