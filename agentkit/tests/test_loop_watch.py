"""A loop that stands still is noticed, and the step that blocks it is named."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from agentkit import Agent, Finished, Limits, ReActPlanner, RunHooks, StepKind, ToolRegistry, tool
from agentkit.loop_watch import Blocked, LoopWatch, RunningStep, RunningSteps, log_blocked
from agentkit.testing import ScriptedLlm, call_of
from agentkit.tests.test_hooks import Onlooker

#: Long enough for a busy machine to turn its loops in, most of the time.
STALL_SECONDS = 0.4


class Heard:
    """Keeps what it is told, on the watch's thread, and lets a blocked loop wait for that."""

    def __init__(self) -> None:
        self.all: list[Blocked] = []
        self.threads: list[int] = []
        self.told = threading.Event()

    def __call__(self, blocked: Blocked) -> None:
        self.all.append(blocked)
        self.threads.append(threading.get_ident())
        self.told.set()


@asynccontextmanager
async def watching(
    on_blocked: Callable[[Blocked], None], steps: RunningSteps | None = None
) -> AsyncIterator[LoopWatch]:
    watch = LoopWatch(seconds=STALL_SECONDS, on_blocked=on_blocked, steps=steps)
    watch.start()
    try:
        yield watch
    finally:
        await watch.aclose()


async def test_a_loop_that_stands_still_is_noticed_once_with_its_stack_from_another_thread() -> None:
    heard = Heard()
    async with watching(heard):
        block_until(heard, and_longer=2 * STALL_SECONDS)
    blocked = heard.all[0]
    assert blocked.seconds >= STALL_SECONDS
    assert "block_until" in blocked.stack
    assert blocked.running == ()
    assert heard.threads[0] != threading.get_ident()
    assert sum("block_until" in each.stack for each in heard.all) == 1


def block_until(heard: Heard, and_longer: float = 0) -> None:
    assert heard.told.wait(30), "nobody noticed"
    time.sleep(and_longer)


async def test_each_stall_is_told() -> None:
    heard = Heard()
    async with watching(heard):
        for _ in range(2):
            block_until(heard)
            heard.told.clear()
            await asyncio.sleep(STALL_SECONDS)
    assert len(heard.all) >= 2


async def test_a_loop_that_turns_is_left_alone() -> None:
    heard = Heard()
    watch = LoopWatch(seconds=2, on_blocked=heard)
    watch.start()
    for _ in range(300):
        await asyncio.sleep(0.01)
    assert watch.silent_seconds < 2
    await watch.aclose()
    assert heard.all == []


async def test_a_tool_that_blocks_the_loop_is_named_among_those_that_run() -> None:
    heard, steps = Heard(), RunningSteps()
    waiting = asyncio.Event()

    @tool(side_effect=False)
    async def patient() -> str:
        await waiting.wait()
        return "patient"

    @tool(side_effect=False)
    async def rude() -> str:
        block_until(heard)
        waiting.set()
        return "rude"

    llm = ScriptedLlm([[call_of("patient"), call_of("rude")], "done"])
    agent = Agent(planner=ReActPlanner(llm), tools=ToolRegistry([patient, rude]), hooks=steps.hooks("run-7"))
    async with watching(heard, steps):
        assert isinstance((await agent.run("go")).outcome, Finished)
    blocked = heard.all[0]
    assert blocked.step == RunningStep("run-7", "1/tool/2", StepKind.tool, "rude")
    assert {step.name for step in blocked.running} == {"patient", "rude"}
    assert "in rude" in blocked.stack
    assert "in tool 'rude' (run run-7, step 1/tool/2)" in str(blocked)
    assert steps.all() == ()


async def test_a_synchronous_tool_runs_in_a_thread_and_blocks_nothing() -> None:
    heard, steps = Heard(), RunningSteps()

    @tool(side_effect=False)
    def slow() -> str:
        time.sleep(2 * STALL_SECONDS)
        return "slow"

    llm = ScriptedLlm([[call_of("slow")], "done"])
    agent = Agent(planner=ReActPlanner(llm), tools=ToolRegistry([slow]), hooks=steps.hooks("run-7"))
    async with watching(heard, steps):
        await agent.run("go")
    assert [blocked.step for blocked in heard.all if blocked.step is not None] == []


async def test_what_blocks_outside_the_tasks_of_steps_names_all_that_run() -> None:
    heard, steps = Heard(), RunningSteps()

    @tool(side_effect=False)
    async def spawning() -> str:
        async def child() -> None:
            block_until(heard)

        await asyncio.create_task(child())
        return "done"

    llm = ScriptedLlm([[call_of("spawning")], "done"])
    agent = Agent(planner=ReActPlanner(llm), tools=ToolRegistry([spawning]), hooks=steps.hooks("run-7"))
    async with watching(heard, steps):
        await agent.run("go")
    assert heard.all[0].step is None
    assert "while these ran: tool 'spawning'" in str(heard.all[0])


async def test_a_step_that_never_finishes_is_forgotten_with_its_task() -> None:
    steps = RunningSteps()

    @tool(side_effect=False)
    async def hang() -> str:
        await asyncio.Event().wait()
        return "never"

    agent = Agent(
        planner=ReActPlanner(ScriptedLlm([[call_of("hang")]])), tools=ToolRegistry([hang]), hooks=steps.hooks("r")
    )
    run = asyncio.create_task(agent.run("go"))
    while "hang" not in [step.name for step in steps.all()]:
        await asyncio.sleep(0)
    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run
    assert steps.all() == ()


async def test_the_hooks_tell_the_inner_ones_everything() -> None:
    inner, plain = Onlooker(wants_text=True), Onlooker(wants_text=True)
    for hooks in (RunningSteps().hooks("r", inner), plain):
        await _run_with(hooks)
    assert inner.seen == plain.seen


async def _run_with(hooks: RunHooks) -> None:
    llm = ScriptedLlm([[call_of("missing")], "done"])
    await Agent(planner=ReActPlanner(llm), limits=Limits(), hooks=hooks).run("go")


async def test_a_listener_that_fails_does_not_end_the_watch(caplog: pytest.LogCaptureFixture) -> None:
    heard = Heard()

    def fail(blocked: Blocked) -> None:
        heard(blocked)
        raise ValueError("not today")

    async with watching(fail):
        for _ in range(2):
            block_until(heard)
            heard.told.clear()
            await asyncio.sleep(STALL_SECONDS)
    assert len(heard.all) >= 2
    assert "on_blocked failed" in caplog.text


def test_the_log_names_the_step_and_shows_the_stack(caplog: pytest.LogCaptureFixture) -> None:
    step = RunningStep("run-7", "3/tool/1", StepKind.tool, "rude")
    with caplog.at_level(logging.WARNING):
        log_blocked(Blocked(1.5, "  File tools.py, line 3, in rude\n", step, (step,)))
    assert caplog.messages == [
        "the event loop has stood still for 1.5 s in tool 'rude' (run run-7, step 3/tool/1)\n"
        "  File tools.py, line 3, in rude\n"
    ]


def test_a_watch_ends_by_itself_when_its_loop_is_closed() -> None:
    watches: list[LoopWatch] = []

    async def forget() -> None:
        watches.append(LoopWatch(seconds=0.05))
        watches[0].start()

    asyncio.run(forget())
    deadline = time.monotonic() + 30
    while any(thread.name == "loop-watch" for thread in threading.enumerate()):
        assert time.monotonic() < deadline, "the thread goes on"
        time.sleep(0.01)
