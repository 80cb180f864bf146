"""How long it takes from an answer to an agent that waits for it to the agent's next call of its model.

    python load_tests/wake_up.py                      # embedded: everything in one process
    python load_tests/wake_up.py --database-url postgresql://… --broker-url amqp://…

A third of the agents wait for a signal, a third for a person's yes, a third for time to pass. All of them wait before
the first is answered. This script is the model and sends the answers, so one clock tells when each was sent (or when
the time had come) and when the agent called its model again.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
import time
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from harness import HEADING, Api, Call, System, Tool, model, parsed, parser, row_of, set_up_name, system, until

KINDS = ("signal", "approval", "timer")
#: Timers end between these many seconds after they began.
TIMER_SECONDS = (5.0, 35.0)


class Agents:
    """What the model says, and when it was called after the wait."""

    def __init__(self, timer_seconds: tuple[float, float]) -> None:
        self._timer_seconds = timer_seconds
        self.waiting = 0
        self.woken_at: dict[str, float] = {}

    async def answer(self, call: Call) -> Tool | str:
        kind, goal = call.goal.split()[0], call.goal
        if call.after_a_tool:
            self.woken_at[goal] = call.at
            return "Done."
        self.waiting += 1
        if kind == "signal":
            return Tool("wait_for_signal", name="go")
        if kind == "approval":
            return Tool("calculator", expression="17 * 23")
        return Tool("sleep", seconds=round(random.uniform(*self._timer_seconds), 3))


async def measure(options: argparse.Namespace, under_test: System) -> Mapping[str, list[float]]:
    agents = Agents((options.timer_seconds, options.timer_seconds + 30))
    async with model(agents.answer) as line, Api(under_test.url) as api:
        tools = "tools: [wait_for_signal, sleep, calculator]\n"
        under_test.add_agent("waits", f"{line}{tools}approvals: [{{tool: calculator}}]\n")
        await asyncio.to_thread(under_test.start_all_but_workers)
        under_test.start_worker(concurrency=options.concurrency)
        goals = [f"{kind} {number}" for number in range(options.tasks) for kind in KINDS]
        tasks = await api.submit([{"agent": "waits", "goal": goal} for goal in goals])
        ids = {goal: task["id"] for goal, task in zip(goals, tasks, strict=True)}
        await until(lambda: agents.waiting == len(goals), under_test, seconds=300, what="agents do not wait yet")
        await _all_suspended(api, under_test)
        answered_at = await _answer(api, options, ids)
        await until(lambda: len(agents.woken_at) == len(goals), under_test, seconds=300, what="agents are not awake")
        for goal in goals:
            if goal.startswith("timer"):
                answered_at[goal] = await _due(api, ids[goal])
    lateness: dict[str, list[float]] = {kind: [] for kind in KINDS}
    for goal, at in answered_at.items():
        lateness[goal.split()[0]].append(agents.woken_at[goal] - at)
    return lateness


async def _all_suspended(api: Api, under_test: System) -> None:
    while not await api.none("running,queued"):
        under_test.check_alive()
        await asyncio.sleep(0.2)


async def _answer(api: Api, options: argparse.Namespace, ids: Mapping[str, str]) -> dict[str, float]:
    """At a steady pace, signals and approvals in turn; when each was sent."""
    pending = {approval["task_id"]: approval["id"] async for approval in api.all("/approvals", status="pending")}
    answered_at: dict[str, float] = {}

    async def send(goal: str) -> None:
        answered_at[goal] = time.time()
        if goal.startswith("signal"):
            await api.post(f"/tasks/{ids[goal]}/signals", {"name": "go"})
        else:
            await api.post(f"/approvals/{pending[ids[goal]]}/decide", {"decision": "approve"})

    began, sending = time.perf_counter(), []
    for number, goal in enumerate(goal for goal in ids if not goal.startswith("timer")):
        await asyncio.sleep(began + number / options.rate - time.perf_counter())
        sending.append(asyncio.create_task(send(goal)))
    await asyncio.gather(*sending)
    return answered_at


async def _due(api: Api, task_id: str) -> float:
    """When the task's timer was to end."""
    events: list[dict[str, Any]] = (await api.get(f"/tasks/{task_id}/events"))["data"]
    started = next(event for event in events if event["type"] == "timer.started")
    return datetime.fromisoformat(started["payload"]["expires_at"]).timestamp()


def main() -> int:
    made = parser(__doc__, tasks=1_000)
    made.add_argument("--rate", type=float, default=20.0, help="answers a second (default: %(default)s)")
    made.add_argument("--concurrency", type=int, default=100, help="agents at once (default: %(default)s)")
    made.add_argument("--timer-seconds", type=float, default=60.0, help="shortest timer (default: %(default)s)")
    options = parsed(made)
    with system(options, OPS_CORE_CONCURRENCY=options.concurrency) as under_test:
        lateness = asyncio.run(measure(options, under_test))
    print(f"{set_up_name(options)}: {options.tasks:,} agents of each kind, {options.rate:g} answers a second")
    print(HEADING)
    for kind, seconds in lateness.items():
        print(row_of(kind, seconds))
    return 0


if __name__ == "__main__":
    sys.exit(main())
