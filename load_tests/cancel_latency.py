"""How long it takes from a cancel to the end of the model call that the agent was in the middle of.

    python load_tests/cancel_latency.py                      # embedded: everything in one process
    python load_tests/cancel_latency.py --database-url postgresql://… --broker-url amqp://…

All agents are in a call that would take an hour. This script is the model and sends the cancels at a steady pace, so
one clock tells when each was sent and when the connection of the call was closed.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import time

from harness import (
    HEADING,
    Api,
    Call,
    System,
    figures_of,
    model,
    parsed,
    parser,
    row_of,
    set_up_name,
    system,
    tell,
    until,
)


class Calls:
    """The calls under way, by goal, and when each was closed."""

    def __init__(self) -> None:
        self.under_way: set[str] = set()
        self.closed_at: dict[str, float] = {}

    async def answer(self, call: Call) -> str:
        self.under_way.add(call.goal)
        await call.closed.wait()
        self.closed_at[call.goal] = time.time()
        return "Nobody listens."


async def measure(options: argparse.Namespace, under_test: System) -> list[float]:
    calls = Calls()
    async with model(calls.answer) as line, Api(under_test.url) as api:
        under_test.add_agent("calls", f"{line}planner: one_call\n")
        await asyncio.to_thread(under_test.start_all_but_workers)
        under_test.start_worker(concurrency=options.tasks)
        goals = [f"call {number}" for number in range(options.tasks)]
        tasks = await api.submit([{"agent": "calls", "goal": goal} for goal in goals])
        await until(lambda: len(calls.under_way) == len(goals), under_test, seconds=300, what="agents do not call yet")
        canceled_at: dict[str, float] = {}

        async def cancel(goal: str, task_id: str) -> None:
            canceled_at[goal] = time.time()
            await api.post(f"/tasks/{task_id}/cancel", {})

        began, sending = time.perf_counter(), []
        for number, (goal, task) in enumerate(zip(goals, tasks, strict=True)):
            await asyncio.sleep(began + number / options.rate - time.perf_counter())
            sending.append(asyncio.create_task(cancel(goal, task["id"])))
        await asyncio.gather(*sending)
        await until(lambda: len(calls.closed_at) == len(goals), under_test, seconds=60, what="calls go on")
        while not await api.none("running"):
            under_test.check_alive()
            await asyncio.sleep(0.1)
        ended = [task async for task in api.all("/tasks", status="canceled")]
        if len(ended) != len(goals):
            sys.exit(f"{len(ended)} of {len(goals)} tasks are canceled")
    return [calls.closed_at[goal] - canceled_at[goal] for goal in goals]


def main() -> int:
    made = parser(__doc__, tasks=1_000)
    made.add_argument("--rate", type=float, default=20.0, help="cancels a second (default: %(default)s)")
    options = parsed(made)
    with system(options, OPS_CORE_CONCURRENCY=options.tasks) as under_test:
        seconds = asyncio.run(measure(options, under_test))
    print(f"{set_up_name(options)}: {options.tasks:,} agents in a model call, {options.rate:g} cancels a second")
    print(HEADING)
    print(row_of("cancel to closed call", seconds))
    tell(options, figures_of("cancel to closed call", seconds))
    return 0


if __name__ == "__main__":
    sys.exit(main())
