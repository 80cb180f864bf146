"""How long a worker process that is told to stop takes to hand over all its agents, and what that costs them.

    python load_tests/drain.py --database-url postgresql://… --broker-url amqp://…

All agents are in a model call when the worker gets SIGTERM: it may wait for the answers that come soon, gives up the
others, hands its tasks over and ends. Then another worker brings all of them to their end. This script is the model and
counts its calls.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import signal
import sys
import time
from collections import Counter

from harness import Api, Call, Figure, System, model, parsed, parser, set_up_name, system, tell, until


class Calls:
    """Calls under way, calls in all, and how long each takes."""

    def __init__(self, longest_seconds: float) -> None:
        self._longest_seconds = longest_seconds
        self.under_way = 0
        self.made = 0
        #: After the drain everybody is answered at once.
        self.hurry = asyncio.Event()

    async def answer(self, call: Call) -> str:
        self.made += 1
        self.under_way += 1
        try:
            wait = asyncio.create_task(self.hurry.wait())
            seconds = random.uniform(0, self._longest_seconds)
            gone = asyncio.create_task(call.closed.wait())
            await asyncio.wait({wait, gone}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
            wait.cancel()
            gone.cancel()
        finally:
            self.under_way -= 1
        return "Done."


async def measure(options: argparse.Namespace, under_test: System) -> int:
    calls = Calls(options.call_seconds)
    async with model(calls.answer) as line, Api(under_test.url) as api:
        under_test.add_agent("calls", f"{line}planner: one_call\n")
        await asyncio.to_thread(under_test.start_all_but_workers)
        first = under_test.start_worker(concurrency=options.tasks)
        await api.submit([{"agent": "calls", "goal": f"call {number}"} for number in range(options.tasks)])
        await until(lambda: calls.made == options.tasks, under_test, seconds=300, what="agents do not call yet")
        in_flight = calls.under_way
        under_test.forget(first)
        began = time.perf_counter()
        first.send_signal(signal.SIGTERM)
        code = await asyncio.to_thread(first.wait, 120)
        seconds = time.perf_counter() - began
        left = Counter([task["status"] async for task in api.all("/tasks")])
        made, _ = calls.made, calls.hurry.set()
        under_test.start_worker(concurrency=options.tasks)
        while not await api.none("queued,running"):
            under_test.check_alive()
            await asyncio.sleep(0.1)
        tasks = [task async for task in api.all("/tasks")]
    print(f"{set_up_name(options)}: {in_flight:,} agents in a model call of up to {options.call_seconds:g} s")
    print(f"drained in      {seconds:.2f} s, exit code {code}; then {dict(left)}")
    print(f"model calls     {made:,} before, {calls.made - made:,} after")
    print(f"in the end      {dict(Counter(task['status'] for task in tasks))}")
    spent = Counter((task["attempt"], task["crashes"]) for task in tasks)
    print(f"attempt, crashes  {dict(spent)}")
    tell(options, [Figure("drained", "s", seconds), Figure("calls-again", "calls", calls.made - made)])
    whole = all((task["status"], task["attempt"], task["crashes"]) == ("completed", 1, 0) for task in tasks)
    return 0 if whole and len(tasks) == options.tasks else 1


def main() -> int:
    made = parser(__doc__, tasks=1_000)
    made.add_argument("--call-seconds", type=float, default=120.0, help="longest model call (default: %(default)s)")
    options = parsed(made)
    if options.broker_url is None:
        made.error("give --database-url and --broker-url: embedded, the worker is not a process of its own")
    with system(options) as under_test:
        return asyncio.run(measure(options, under_test))


if __name__ == "__main__":
    sys.exit(main())
