"""How long it takes from an answer to an agent that waits for it until its task runs again, and calls its model again.

    python load_tests/wake_up.py                      # embedded: everything in one process
    python load_tests/wake_up.py --database-url postgresql://… --broker-url amqp://…

A third of the agents wait for a signal, a third for a person's yes, a third for time to pass. All of them wait before
the first is answered. This script is the model and sends the answers, so it knows when each was sent and when the agent
called its model again. When the task was running again, its events say, by the database's clock; a database on this
machine has the same one.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from harness import (
    HEADING,
    Api,
    Call,
    System,
    Tool,
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

KINDS = ("signal", "approval", "timer")
#: Timers are spread over so many seconds after the shortest.
TIMER_SPREAD_SECONDS = 30.0


@dataclass(frozen=True)
class WakeUp:
    """What happened to one agent that waited, and when: seconds since 1970."""

    kind: str
    #: Its answer was sent, or its timer was due.
    answered_at: float
    #: The answer was written down: `task.resumed`.
    committed_at: float
    #: A worker had the task again: the `task.started` after that.
    running_at: float
    #: It called its model again: its journal was replayed.
    called_at: float


class Agents:
    """What the model says, and when it was called after the wait."""

    def __init__(self, shortest_timer_seconds: float) -> None:
        self._timer_seconds = (shortest_timer_seconds, shortest_timer_seconds + TIMER_SPREAD_SECONDS)
        self.waiting = 0
        self.called_at: dict[str, float] = {}

    async def answer(self, call: Call) -> Tool | str:
        kind, goal = call.goal.split()[0], call.goal
        if call.after_a_tool:
            self.called_at[goal] = call.at
            return "Done."
        self.waiting += 1
        if kind == "signal":
            return Tool("wait_for_signal", name="go")
        if kind == "approval":
            return Tool("calculator", expression="17 * 23")
        return Tool("sleep", seconds=round(random.uniform(*self._timer_seconds), 3))


async def measure(options: argparse.Namespace, under_test: System) -> list[WakeUp]:
    agents = Agents(options.timer_seconds)
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
        sent_at = await _answer(api, options, ids)
        await until(lambda: len(agents.called_at) == len(goals), under_test, seconds=300, what="agents are not awake")
        wake_ups = []
        for goal, task_id in ids.items():
            events = (await api.get(f"/tasks/{task_id}/events"))["data"]
            wake_ups.append(_wake_up(goal.split()[0], events, sent_at.get(goal), agents.called_at[goal]))
    return wake_ups


async def _all_suspended(api: Api, under_test: System) -> None:
    while not await api.none("running,queued"):
        under_test.check_alive()
        await asyncio.sleep(0.2)


async def _answer(api: Api, options: argparse.Namespace, ids: Mapping[str, str]) -> dict[str, float]:
    """At a steady pace, signals and approvals in turn; when each was sent."""
    pending = {approval["task_id"]: approval["id"] async for approval in api.all("/approvals", status="pending")}
    sent_at: dict[str, float] = {}

    async def send(goal: str) -> None:
        sent_at[goal] = time.time()
        if goal.startswith("signal"):
            await api.post(f"/tasks/{ids[goal]}/signals", {"name": "go"})
        else:
            await api.post(f"/approvals/{pending[ids[goal]]}/decide", {"decision": "approve"})

    began, sending = time.perf_counter(), []
    for number, goal in enumerate(goal for goal in ids if not goal.startswith("timer")):
        await asyncio.sleep(began + number / options.rate - time.perf_counter())
        sending.append(asyncio.create_task(send(goal)))
    await asyncio.gather(*sending)
    return sent_at


def _wake_up(kind: str, events: Sequence[Mapping[str, Any]], sent_at: float | None, called_at: float) -> WakeUp:
    """`sent_at`: None for a timer, of which an event says when it was due."""
    resumed = next(event for event in events if event["type"] == "task.resumed")
    # `seq` counts from 1, so this is what came after it.
    started = next(event for event in events[resumed["seq"] :] if event["type"] == "task.started")
    if sent_at is None:
        timer = next(event for event in events if event["type"] == "timer.started")
        sent_at = _time(timer["payload"]["expires_at"])
    return WakeUp(kind, sent_at, _time(resumed["at"]), _time(started["at"]), called_at)


def _time(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def spans_of(wake_ups: Sequence[WakeUp]) -> dict[str, list[float]]:
    """Seconds, by what is printed before them. The first of each kind is the wake-up itself."""
    spans: dict[str, list[float]] = {}
    for kind in KINDS:
        own = [one for one in wake_ups if one.kind == kind]
        spans[kind] = [one.running_at - one.answered_at for one in own]
        spans[f"{kind} commit-to-running"] = [one.running_at - one.committed_at for one in own]
        spans[f"{kind} to model call"] = [one.called_at - one.answered_at for one in own]
    return spans


def main() -> int:
    made = parser(__doc__, tasks=1_000)
    made.add_argument("--rate", type=float, default=20.0, help="answers a second (default: %(default)s)")
    made.add_argument("--concurrency", type=int, default=100, help="agents at once (default: %(default)s)")
    made.add_argument("--timer-seconds", type=float, default=60.0, help="shortest timer (default: %(default)s)")
    options = parsed(made)
    with system(options, OPS_CORE_CONCURRENCY=options.concurrency) as under_test:
        spans = spans_of(asyncio.run(measure(options, under_test)))
    print(f"{set_up_name(options)}: {options.tasks:,} agents of each kind, {options.rate:g} answers a second")
    print(
        "from request or end of timer until the task runs again; of that, from the commit on; until the model is called"
    )
    print(HEADING)
    for name, seconds in spans.items():
        print(row_of(name, seconds))
    tell(options, [figure for name, seconds in spans.items() for figure in figures_of(name, seconds)])
    return 0


if __name__ == "__main__":
    sys.exit(main())
