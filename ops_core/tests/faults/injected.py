"""Faults that strike from within a process: it kills itself at a certain place, or rings too often.

A goal with the mark `die:<point>` has the process die there when it comes by with that task, the first time only: a
file in its working directory says that it has happened.
"""

from __future__ import annotations

import asyncio
import os
import re
import select
import signal
import time
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any

from ops_core.tests.faults.tools import PROCESS_NAME

_MARK = re.compile(r"ref:([a-z0-9_-]+).*?die:([a-z0-9_/-]+)")


def deaths(directory: Path, refs: Collection[str]) -> int:
    """How many of these submissions have killed a process that worked there."""
    return sum(_death_note(directory, ref).exists() for ref in refs)


def _death_note(directory: Path, ref: str) -> Path:
    return directory / f"died-{ref}"


def die_if_marked(goal: object, point: str) -> None:
    """`kill -9` of this process, if the goal says so and it has not happened yet."""
    found = _MARK.search(str(goal))
    if found is None or found[2] != point:
        return
    try:
        os.close(os.open(_death_note(Path(), found[1]), os.O_CREAT | os.O_EXCL | os.O_WRONLY))
    except FileExistsError:
        return
    os.kill(os.getpid(), signal.SIGKILL)


def deaths_of_api() -> None:
    """`before_anything`, `before_commit`, `after_commit` (before the ring), `after_ring` (before the answer)."""
    from ops_core.services.relay import Relay
    from ops_core.services.tasks import TaskService
    from ops_core.storage.tasks import AddBatch

    submit, write, start = TaskService.submit, AddBatch.write, Relay.start
    relays: list[Relay] = []

    async def dying_submit(self: TaskService, caller: Any, submission: Any) -> Any:
        goal = submission.goal
        die_if_marked(goal, "before_anything")
        submitted = await submit(self, caller, submission)
        if "die:after_ring" in str(goal):
            while any(relay.pending for relay in relays):
                await asyncio.sleep(0.001)
            # Taken from what is pending is not yet confirmed by the broker.
            await asyncio.sleep(0.05)
            die_if_marked(goal, "after_ring")
        return submitted

    async def dying_write(self: AddBatch, items: Sequence[Any]) -> Any:
        for item in items:
            die_if_marked(item.new.input, "before_commit")
        outcomes = await write(self, items)
        for item in items:
            die_if_marked(item.new.input, "after_commit")
        return outcomes

    async def noted_start(self: Relay) -> None:
        relays.append(self)
        await start(self)

    TaskService.submit = dying_submit  # type: ignore[method-assign]
    AddBatch.write = dying_write  # type: ignore[method-assign]
    Relay.start = noted_start  # type: ignore[method-assign]


def deaths_of_worker() -> None:
    """`before/<n>` and `after/<n>`: the n-th write of a task's journal, whichever claim makes it; `effect/<step key>`:
    after the tool was called and before that is recorded; `claim`: as soon as it is claimed; `finish`: before its end
    is written.
    """
    from ops_core.runner.journal import TaskJournal
    from ops_core.runner.run_task import TaskRunner

    run, append, finish = TaskRunner.run, TaskJournal._append, TaskRunner._finish
    goals: dict[Any, object] = {}

    async def marked_run(self: TaskRunner, task: Any, control: Any) -> Any:
        goals[control.lease] = task.input.get("goal")
        die_if_marked(task.input.get("goal"), "claim")
        return await run(self, task, control)

    async def dying_append(self: TaskJournal, event: Any) -> None:
        goal, number = goals[self._control.lease], len(self._intents) + len(self._results) + 1
        if event.phase == "result":
            die_if_marked(goal, f"effect/{event.step_key}")
        die_if_marked(goal, f"before/{number}")
        await append(self, event)
        die_if_marked(goal, f"after/{number}")

    async def dying_finish(self: TaskRunner, *given: Any) -> Any:
        [control] = [each for each in given if hasattr(each, "lease")]
        goal = goals.pop(control.lease)
        die_if_marked(goal, "finish")
        ended = await finish(self, *given)
        die_if_marked(goal, "finished")
        return ended

    TaskRunner.run = marked_run  # type: ignore[method-assign]
    TaskJournal._append = dying_append  # type: ignore[method-assign]
    TaskRunner._finish = dying_finish  # type: ignore[assignment, method-assign]


def noted_checks() -> None:
    """No fault, but a witness: when each run was last found to have the right to act, in a file of this process.

    A process that stands still between this and the call makes the call when it goes on, which nobody can prevent.
    """
    from ops_core.runner.journal import TaskJournal

    check, check_begun = TaskJournal.check, TaskJournal.check_begun
    file = os.open(checks_file(Path(), os.environ[PROCESS_NAME]), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def note(journal: TaskJournal) -> None:
        os.write(file, f"{journal._control.lease.task_id} {time.time()}\n".encode())

    def noted_check(self: TaskJournal) -> None:
        check(self)
        note(self)

    def noted_check_begun(self: TaskJournal) -> None:
        check_begun(self)
        note(self)

    TaskJournal.check = noted_check  # type: ignore[method-assign]
    TaskJournal.check_begun = noted_check_begun  # type: ignore[method-assign]


def checks_file(directory: Path, process: str) -> Path:
    """Where a process notes its checks: a task id and a time in each line."""
    return directory / f"checks-{process}"


def triple_tickets() -> None:
    """Whatever this process rings, it rings three times."""
    from ops_core.broker.publisher import RabbitmqDoorbell

    ring = RabbitmqDoorbell.ring

    async def ring_three_times(self: RabbitmqDoorbell, rings: Sequence[Any]) -> None:
        for _ in range(3):
            await ring(self, rings)

    RabbitmqDoorbell.ring = ring_three_times  # type: ignore[method-assign]


def false_clock() -> None:
    """No fault of ours: under libfaketime `time.sleep` fails, as it asks for a point of the monotonic clock."""

    def sleep(seconds: float, /) -> None:
        select.select([], [], [], seconds)

    time.sleep = sleep  # type: ignore[assignment]


FAULTS: dict[str, Callable[[], None]] = {
    "deaths_of_api": deaths_of_api,
    "deaths_of_worker": deaths_of_worker,
    "triple_tickets": triple_tickets,
    "false_clock": false_clock,
    "noted_checks": noted_checks,
}
