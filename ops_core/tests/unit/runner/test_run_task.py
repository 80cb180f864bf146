"""What a runner makes of a claimed task: how each way a run can end is written."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest

from agentkit import Agent
from agentkit.errors import AgentkitError, BadCredentials, LlmError, LlmUnavailable, OutcomeUnknown, RateLimited
from agentkit.limits import Limits
from agentkit.testing import ScriptedLlm
from agentkit.tools.base import OnUnknown
from ops_core.domain.agent import AgentDefinition
from ops_core.domain.event import EVENT_FORMAT, EventType, NewEvent
from ops_core.domain.outcome import Canceled, Completed, Failed, HandedOver, Outcome, Retry
from ops_core.domain.task import TaskStatus
from ops_core.errors import InvalidInput, RunLost
from ops_core.ports import Ended, Lease, Ring, RunStopReason
from ops_core.runner import run_task
from ops_core.runner.run_agent import goal_of
from ops_core.runner.run_task import TaskRunner
from ops_core.tests.unit.runner.bench import DEFINITION, Bench, again, charges
from ops_core.tests.unit.runner.fakes import FakeAgents, FakeControl, FakeRuns, children_of, claimed_task
from ops_core.worker.held import HeldRun, lease_clock


@contextmanager
def interrupted(runs: FakeRuns, method: str) -> Iterator[Callable[..., Awaitable[None]]]:
    """Has a call of the store wait until the run that makes it was told to stop."""
    asked, go_on, real = asyncio.Event(), asyncio.Event(), getattr(runs, method)

    async def slow(*args: Any, **named: Any) -> Any:
        asked.set()
        await go_on.wait()
        return await real(*args, **named)

    async def interrupt(running: asyncio.Task[Any], control: FakeControl, reason: RunStopReason) -> None:
        await asyncio.wait_for(asked.wait(), 5)
        control.interrupt(running, reason)
        await asyncio.sleep(0)
        go_on.set()

    setattr(runs, method, slow)
    yield interrupt


async def test_a_run_that_answers_completes_with_its_answer_and_usage() -> None:
    bench = Bench(ScriptedLlm([charges(), "done"]))
    task = claimed_task(DEFINITION)
    assert await bench.runner.run(task, bench.control(task)) is TaskStatus.completed
    (outcome,) = bench.runs.outcomes
    assert isinstance(outcome, Completed)
    assert outcome.result == {"answer": "done", "output": None}
    assert (outcome.usage.steps, outcome.usage.tool_calls) == (2, 1)
    assert [e.type for e in bench.runs.events] == [
        EventType.llm_completed,
        EventType.tool_started,
        EventType.tool_completed,
        EventType.llm_completed,
    ]


async def test_a_resumed_run_replays_what_is_journaled_and_repeats_nothing() -> None:
    bench = Bench(ScriptedLlm([charges(), "done"]))
    task = claimed_task(DEFINITION)
    await bench.runner.run(task, bench.control(task))
    bench.runs.events.pop()  # the worker died before it had recorded the last answer
    bench.llm = second = ScriptedLlm(["done"])
    assert await bench.runner.run(again(task), bench.control(task)) is TaskStatus.completed
    assert bench.effects == ["charge 5"]
    assert len(second.asked) == 1


async def test_without_its_journal_a_resumed_run_would_repeat_the_effect() -> None:
    """The negative control of the test above."""
    bench = Bench(ScriptedLlm([charges(), "done"]))
    task = claimed_task(DEFINITION)
    await bench.runner.run(task, bench.control(task))
    bench.runs.events.clear()
    bench.llm = ScriptedLlm([charges(), "done"])
    await bench.runner.run(again(task), bench.control(task))
    assert bench.effects == ["charge 5", "charge 5"]


async def test_a_retryable_model_error_is_tried_again_after_a_pause() -> None:
    bench = Bench(ScriptedLlm([LlmUnavailable("overloaded")]))
    task = claimed_task(DEFINITION)
    assert await bench.runner.run(task, bench.control(task)) is TaskStatus.scheduled
    (outcome,) = bench.runs.outcomes
    assert isinstance(outcome, Retry)
    assert outcome.error.code == "llm_unavailable"
    assert outcome.error.retryable


@pytest.mark.parametrize("error", [RateLimited, LlmUnavailable])
async def test_the_pause_is_never_shorter_than_the_provider_asked(error: type[LlmError]) -> None:
    bench = Bench(ScriptedLlm([error("slow down", retry_after_seconds=77.0)]))
    task = claimed_task(DEFINITION)
    await bench.runner.run(task, bench.control(task))
    (outcome,) = bench.runs.outcomes
    assert isinstance(outcome, Retry)
    assert outcome.delay_seconds >= 77.0


@pytest.mark.parametrize(
    ("error", "attempt"),
    [(LlmUnavailable("overloaded"), 3), (BadCredentials("no"), 1)],
    ids=["attempts used up", "not retryable"],
)
async def test_an_error_that_cannot_be_tried_again_fails_the_task(error: AgentkitError, attempt: int) -> None:
    bench = Bench(ScriptedLlm([error]))
    task = claimed_task(DEFINITION, attempt=attempt)
    assert await bench.runner.run(task, bench.control(task)) is TaskStatus.failed
    (outcome,) = bench.runs.outcomes
    assert isinstance(outcome, Failed)
    assert outcome.error.code == error.code


async def test_a_limit_fails_the_task_and_says_which() -> None:
    bench = Bench(ScriptedLlm([charges(1), charges(2), charges(3)]), limits=Limits(steps=2))
    task = claimed_task(DEFINITION)
    await bench.runner.run(task, bench.control(task))
    (outcome,) = bench.runs.outcomes
    assert isinstance(outcome, Failed)
    assert outcome.error.code == "limit_steps"


async def test_an_effect_of_unknown_outcome_that_must_not_repeat_fails_the_task() -> None:
    bench = Bench(ScriptedLlm([charges(), "done"]), on_unknown=OnUnknown.fail)
    task = claimed_task(DEFINITION)
    await bench.runner.run(task, bench.control(task))
    del bench.runs.events[2:]  # it died between the intent and the result
    await bench.runner.run(again(task), bench.control(task))
    outcome = bench.runs.outcomes[-1]
    assert isinstance(outcome, Failed)
    assert outcome.error.code == OutcomeUnknown.code
    assert bench.effects == ["charge 5"]


async def test_writes_wait_for_the_database_to_come_back() -> None:
    bench = Bench(ScriptedLlm(["done"]))
    task = again(claimed_task(DEFINITION))
    bench.runs.away = 3
    assert await bench.runner.run(task, bench.control(task)) is TaskStatus.completed


async def test_a_run_that_lost_its_lease_while_the_database_was_away_writes_nothing() -> None:
    bench = Bench(ScriptedLlm(["done"]))
    task = claimed_task(DEFINITION)
    control = bench.control(task)
    control.reason = RunStopReason.lost
    bench.runs.away = 10**9
    with pytest.raises(RunLost):
        await bench.runner.run(task, control)
    assert bench.runs.outcomes == []


async def test_a_stale_epoch_ends_the_run_without_a_word() -> None:
    bench = Bench(ScriptedLlm([charges(), "done"]))
    task = claimed_task(DEFINITION)
    bench.runs.epoch = 2
    with pytest.raises(RunLost):
        await bench.runner.run(task, bench.control(task))
    assert bench.effects == []


@pytest.mark.parametrize(
    ("reason", "written", "status"),
    [
        (RunStopReason.cancel, Canceled, TaskStatus.canceled),
        (RunStopReason.drain, HandedOver, TaskStatus.queued),
    ],
)
async def test_a_run_stopped_in_a_call_writes_why(reason: RunStopReason, written: type, status: TaskStatus) -> None:
    bench = Bench(ScriptedLlm([charges(), "done"]))
    bench.before_tool = asyncio.Event()
    task = claimed_task(DEFINITION)
    control = bench.control(task)
    running = asyncio.create_task(bench.runner.run(task, control))
    async with asyncio.timeout(5):
        while len(bench.runs.events) < 2:  # until the tool's intent stands
            await asyncio.sleep(0)
    control.reason = reason
    running.cancel()
    assert await running is status
    assert isinstance(bench.runs.outcomes[0], written)
    assert bench.effects == []


async def test_a_draining_run_stops_before_its_next_call() -> None:
    bench = Bench(ScriptedLlm([charges(), "done"]))
    task = claimed_task(DEFINITION)
    control = bench.control(task)
    control.reason = RunStopReason.drain
    assert await bench.runner.run(task, control) is TaskStatus.queued
    assert bench.rings == [Ring("default")]
    assert bench.runs.events == []


def stop_at_the_intent(bench: Bench, control: FakeControl, reason: RunStopReason) -> None:
    """Give the run this reason to stop while the intent of its tool call is being written."""

    def stop(event: NewEvent) -> None:
        if event.type is EventType.tool_started:
            control.reason = reason

    bench.runs.on_append = stop


async def test_a_draining_run_makes_the_call_whose_intent_is_written() -> None:
    bench = Bench(ScriptedLlm([charges(), "done"]))
    task = claimed_task(DEFINITION)
    control = bench.control(task)
    stop_at_the_intent(bench, control, RunStopReason.drain)
    assert await bench.runner.run(task, control) is TaskStatus.queued
    assert [event.type for event in bench.runs.events][-2:] == [EventType.tool_started, EventType.tool_completed]
    assert bench.effects == ["charge 5"]


async def test_a_run_that_may_have_lost_its_lease_does_not_make_the_call_whose_intent_is_written() -> None:
    bench = Bench(ScriptedLlm([charges(), "done"]))
    task = claimed_task(DEFINITION)
    control = bench.control(task)
    stop_at_the_intent(bench, control, RunStopReason.lost)
    with pytest.raises(RunLost):
        await bench.runner.run(task, control)
    assert bench.effects == []


async def test_a_handed_over_task_is_announced() -> None:
    bench = Bench(ScriptedLlm(["done"]))
    task = claimed_task(DEFINITION)
    control = bench.control(task)
    control.reason = RunStopReason.drain
    await bench.runner.run(task, control)
    assert bench.rings == [Ring("default")]


async def test_a_cancellation_nobody_asked_for_is_passed_on() -> None:
    bench = Bench(ScriptedLlm([charges()]))
    bench.before_tool = asyncio.Event()
    task = claimed_task(DEFINITION)
    running = asyncio.create_task(bench.runner.run(task, bench.control(task)))
    async with asyncio.timeout(5):
        while len(bench.runs.events) < 2:
            await asyncio.sleep(0)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert bench.runs.outcomes == []


async def test_the_deadline_fails_the_task_by_the_databases_clock_alone() -> None:
    bench = Bench(ScriptedLlm([charges()]))
    bench.before_tool = asyncio.Event()
    # This machine's clock is two hours off; what counts is the distance of the two.
    claimed = datetime.now(UTC) - timedelta(hours=2)
    task = claimed_task(
        DEFINITION, timeout_seconds=60.0, claimed_at=claimed, deadline_at=claimed + timedelta(seconds=0.05)
    )
    assert await bench.runner.run(task, bench.control(task)) is TaskStatus.failed
    (outcome,) = bench.runs.outcomes
    assert isinstance(outcome, Failed)
    assert outcome.error.code == "timeout"


async def test_the_first_run_of_a_task_reads_no_journal() -> None:
    bench = Bench(ScriptedLlm(["done"]))
    task = claimed_task(DEFINITION)
    bench.runs.load_journal = None  # type: ignore[assignment,method-assign]  # it would raise
    assert await bench.runner.run(task, bench.control(task)) is TaskStatus.completed


@pytest.mark.parametrize(("reason", "written"), [(RunStopReason.cancel, Canceled), (RunStopReason.drain, HandedOver)])
async def test_a_run_stopped_while_it_reads_its_journal_writes_why(reason: RunStopReason, written: type) -> None:
    bench = Bench(ScriptedLlm(["done"]))
    task = again(claimed_task(DEFINITION))
    control = bench.control(task)
    with interrupted(bench.runs, "load_journal") as interrupt:
        running = asyncio.create_task(bench.runner.run(task, control))
        await interrupt(running, control, reason)
    await running
    assert [type(outcome) for outcome in bench.runs.outcomes] == [written]


async def test_a_run_stopped_while_it_writes_its_end_has_ended_and_rings() -> None:
    """Without this the ring of a hand-over would be lost, and the end itself with a database that is away."""
    bench = Bench(ScriptedLlm(["done"]))
    task = claimed_task(DEFINITION)
    control = bench.control(task)
    control.reason = RunStopReason.drain
    with interrupted(bench.runs, "finish") as interrupt:
        running = asyncio.create_task(bench.runner.run(task, control))
        await interrupt(running, control, RunStopReason.drain)
    assert await running is TaskStatus.queued
    assert bench.rings == [Ring("default")]


@pytest.mark.parametrize("again_claimed", [False, True])
async def test_a_run_told_to_stop_before_its_first_step_writes_why(again_claimed: bool) -> None:
    """The trap: a cancellation that is still to come would hit the very write of the end."""
    bench = Bench(ScriptedLlm(["done"]))
    task = again(claimed_task(DEFINITION)) if again_claimed else claimed_task(DEFINITION)
    held = HeldRun(task, claimed_at=lease_clock(), lease_seconds=60.0, clock=lease_clock)
    finish = bench.runs.finish

    async def slow(*args: Any, **named: Any) -> Ended:
        await asyncio.sleep(0.01)
        return await finish(*args, **named)

    async def body() -> None:
        held.begin()
        await bench.runner.run(task, held)

    bench.runs.finish = slow  # type: ignore[method-assign]
    running = asyncio.create_task(body())
    held.interrupt(RunStopReason.cancel)
    await asyncio.wait_for(running, 5)
    assert [type(outcome) for outcome in bench.runs.outcomes] == [Canceled]


async def test_a_time_out_that_is_not_the_tasks_own_is_a_fault_of_the_agent() -> None:
    bench = Bench(ScriptedLlm([]))

    async def build(definition: AgentDefinition, **named: object) -> Agent:
        raise TimeoutError("no SDK in time")

    bench.build = build  # type: ignore[method-assign]
    task = claimed_task(DEFINITION)
    assert await bench.runner.run(task, bench.control(task)) is TaskStatus.failed
    (outcome,) = bench.runs.outcomes
    assert isinstance(outcome, Failed)
    assert outcome.error.code == "internal"


async def test_a_result_that_cannot_be_stored_fails_the_task() -> None:
    bench = Bench(ScriptedLlm(["done"]))
    task = claimed_task(DEFINITION)
    finish = bench.runs.finish

    async def picky(lease: Lease, outcome: Outcome, *, last_step: NewEvent | None = None, **options: Any) -> Ended:
        if last_step is not None:
            raise InvalidInput("the value cannot be stored as JSON")
        return await finish(lease, outcome, **options)

    bench.runs.finish = picky  # type: ignore[method-assign]
    assert await bench.runner.run(task, bench.control(task)) is TaskStatus.failed
    (outcome,) = bench.runs.outcomes
    assert isinstance(outcome, Failed)
    assert outcome.error.code == "result_unstorable"


async def test_runs_that_begin_at_once_read_their_definition_once() -> None:
    bench = Bench(ScriptedLlm(["done"] * 20))
    asked: list[str] = []

    class Agents(FakeAgents):
        async def get_definition(self, digest: str) -> AgentDefinition | None:
            asked.append(digest)
            await asyncio.sleep(0)
            return await super().get_definition(digest)

    runner = TaskRunner(
        runs=bench.runs,
        agents=Agents(DEFINITION),
        builder=bench,  # type: ignore[arg-type]  # only `build` is called
        children=children_of(FakeAgents()),
        announce=bench._announce,
    )
    tasks = [claimed_task(DEFINITION) for _ in range(20)]
    await asyncio.gather(*(runner.run(task, bench.control(task)) for task in tasks))
    assert asked == [DEFINITION.digest]


async def test_a_definition_that_is_gone_fails_the_task_and_says_so() -> None:
    bench = Bench(ScriptedLlm(["done"]))
    task = claimed_task(DEFINITION, agent_digest="0" * 64)
    await bench.runner.run(task, bench.control(task))
    (outcome,) = bench.runs.outcomes
    assert isinstance(outcome, Failed)
    assert "000000000000" in outcome.error.message


async def test_a_fault_in_the_agent_fails_that_task_only() -> None:
    bench = Bench(ScriptedLlm([ZeroDivisionError("boom")]))
    task = claimed_task(DEFINITION)
    assert await bench.runner.run(task, bench.control(task)) is TaskStatus.failed
    (outcome,) = bench.runs.outcomes
    assert isinstance(outcome, Failed)
    assert (outcome.error.code, outcome.error.message) == ("internal", "ZeroDivisionError: boom")


def test_the_goal_is_the_text_and_the_rest_of_the_input_follows_as_json() -> None:
    assert goal_of(claimed_task(DEFINITION, "just this")) == "just this"
    both = claimed_task(DEFINITION, input={"goal": "sum", "numbers": [1, 2]})
    assert goal_of(both) == 'sum\n\nInput:\n{\n  "numbers": [\n    1,\n    2\n  ]\n}'
    none = claimed_task(DEFINITION, input={"topic": "cron"})
    assert goal_of(none) == '{\n  "topic": "cron"\n}'


async def test_the_idempotency_key_stays_the_same_when_a_step_is_tried_again() -> None:
    bench = Bench(ScriptedLlm([charges(), "done"]), on_unknown=OnUnknown.retry)
    task = claimed_task(DEFINITION, id=uuid4())
    await bench.runner.run(task, bench.control(task))
    first = bench.runs.events[1].payload["idempotency_key"]
    assert first == f"{task.id}/1:1/tool/1"
    del bench.runs.events[2:]
    bench.runs.round = 2
    bench.llm = ScriptedLlm(["done"])
    retried = claimed_task(DEFINITION, id=task.id, round=2, seq=9)
    await bench.runner.run(retried, bench.control(retried))
    assert bench.effects == ["charge 5", "charge 5"]
    assert {e.payload.get("idempotency_key") for e in bench.runs.events if e.type is EventType.tool_started} == {first}


async def test_a_step_that_a_retry_does_anew_is_another_call_to_the_outside() -> None:
    """With the first one's key the outside would take it for done, and do nothing."""
    bench = Bench(ScriptedLlm([charges(5), charges(6), "done"]))
    task = claimed_task(DEFINITION)
    await bench.runner.run(task, bench.control(task))
    bench.runs.events = [event for event in bench.runs.events if str(event.step_key).startswith("1/")]
    bench.runs.round = 2
    bench.llm = ScriptedLlm([charges(7), "done"])
    retried = claimed_task(DEFINITION, id=task.id, round=2, seq=9)
    await bench.runner.run(retried, bench.control(retried))
    assert bench.effects == ["charge 5", "charge 6", "charge 7"]
    begun = [e.payload["idempotency_key"] for e in bench.runs.events if e.type is EventType.tool_started]
    assert begun == [f"{task.id}/1:1/tool/1", f"{task.id}/2:2/tool/1"]


async def test_the_answer_that_ends_a_run_is_written_with_its_end() -> None:
    bench = Bench(ScriptedLlm([charges(5), "done"]))
    task = claimed_task(DEFINITION)
    assert await bench.runner.run(task, bench.control(task)) is TaskStatus.completed
    (last,) = [step for step in bench.runs.last_steps if step is not None]
    assert last.step_key == "2/llm"
    assert [event.step_key for event in bench.runs.events] == ["1/llm", "1/tool/1", "1/tool/1", "2/llm"]


async def test_the_last_answer_is_written_whatever_the_end_is(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(ScriptedLlm(["done"]))
    task = claimed_task(DEFINITION)

    def report(*_: object) -> None:
        raise RuntimeError("no report")

    monkeypatch.setattr("agentkit.agent._Run._report", report)
    assert await bench.runner.run(task, bench.control(task)) is TaskStatus.failed
    assert [event.step_key for event in bench.runs.events] == ["1/llm"]
    assert bench.runs.outcomes[0].usage.steps == 1


async def test_of_a_result_that_cannot_be_stored_the_answer_is_kept() -> None:
    bench = Bench(ScriptedLlm(["done"]))
    task = claimed_task(DEFINITION)
    finish = bench.runs.finish

    async def picky(lease: Lease, outcome: Outcome, **options: Any) -> Ended:
        if isinstance(outcome, Completed):
            raise InvalidInput("the value cannot be stored as JSON")
        return await finish(lease, outcome, **options)

    bench.runs.finish = picky  # type: ignore[method-assign]
    assert await bench.runner.run(task, bench.control(task)) is TaskStatus.failed
    assert [event.step_key for event in bench.runs.events] == ["1/llm"]


async def test_a_run_canceled_while_the_models_answer_is_written_has_it_in_its_usage() -> None:
    bench = Bench(ScriptedLlm([charges(5), "done"]))
    task = claimed_task(DEFINITION)
    control = bench.control(task)
    with interrupted(bench.runs, "append") as interrupt:
        running = asyncio.create_task(bench.runner.run(task, control))
        await interrupt(running, control, RunStopReason.cancel)
    assert await running is TaskStatus.canceled
    (outcome,) = bench.runs.outcomes
    assert (outcome.usage.steps, outcome.usage.input_tokens, outcome.usage.output_tokens) == (1, 10, 5)
    assert [event.step_key for event in bench.runs.events] == ["1/llm"]


@pytest.mark.parametrize(
    ("attempt", "evidence", "kind", "code", "said"),
    [
        (1, {"signal": "SIGSEGV", "status": None}, Retry, "crashed", "signal SIGSEGV"),
        (3, {"signal": "SIGSEGV", "status": None}, Failed, "poison", "3 of 3 attempts"),
        (1, {"signal": None, "status": 7}, Retry, "crashed", "exit status 7"),
        (3, {"signal": "SIGABRT", "status": None, "stalled": True}, Failed, "poison", "stood still"),
    ],
)
async def test_a_crash_of_a_run_alone_is_a_failed_attempt_and_the_last_one_quarantines_it(
    attempt: int, evidence: dict[str, object], kind: type[Outcome], code: str, said: str
) -> None:
    bench = Bench(ScriptedLlm([]))
    task = claimed_task(DEFINITION, attempt=attempt, max_attempts=3)
    await bench.runner.write_crash(task, bench.control(task), evidence)
    (outcome,) = bench.runs.outcomes
    assert isinstance(outcome, kind)
    assert isinstance(outcome, Retry | Failed)
    assert (outcome.error.code, outcome.error.evidence) == (code, evidence)
    assert said in outcome.error.message


async def test_a_run_that_is_told_to_stop_before_it_begins_only_writes_why() -> None:
    """What an isolated run that was killed is left to: nothing of it may run in its worker."""
    for reason, kind in ((RunStopReason.cancel, Canceled), (RunStopReason.drain, HandedOver)):
        bench = Bench(ScriptedLlm([]))
        task = claimed_task(DEFINITION)
        control = bench.control(task)
        control.reason = reason
        await bench.runner.run(task, control)
        assert [type(outcome) for outcome in bench.runs.outcomes] == [kind]
        assert bench.runs.events == []


async def test_a_journal_that_a_newer_version_wrote_is_left_to_its_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_task, "_PASS_ON_SECONDS", 0.01)
    bench = Bench(ScriptedLlm(["done"]))
    task = claimed_task(DEFINITION, seq=5)
    written = NewEvent(type=EventType.llm_completed, payload={"unheard": "of"}, step_key="1/llm")
    await bench.runs.append(Lease(task.id, task.epoch), written)
    bench.runs.events[0] = replace(bench.runs.events[0], format=EVENT_FORMAT + 1)
    assert await bench.runner.run(task, bench.control(task)) is TaskStatus.queued
    assert bench.runs.outcomes == [HandedOver(usage=task.usage)]
    assert len(bench.runs.events) == 1


async def test_a_cancel_reaches_a_task_that_is_about_to_be_left_to_newer_workers() -> None:
    bench = Bench(ScriptedLlm(["done"]))
    task = claimed_task(DEFINITION, seq=5)
    await bench.runs.append(Lease(task.id, task.epoch), NewEvent(type=EventType.llm_completed, payload={}))
    bench.runs.events[0] = replace(bench.runs.events[0], format=EVENT_FORMAT + 1)
    control = bench.control(task)
    running = asyncio.create_task(bench.runner.run(task, control))
    # Nothing before its pause waits for anything.
    for _ in range(10):
        await asyncio.sleep(0)
    control.reason = RunStopReason.cancel
    running.cancel()
    assert await running is TaskStatus.canceled
