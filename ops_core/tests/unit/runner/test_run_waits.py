"""What a runner makes of a run that waits: what is asked for, and how the run goes on with the answer."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from itertools import pairwise
from typing import Any
from uuid import uuid4

import pytest

from agentkit.llm.base import BaseLlmClient
from agentkit.testing import ScriptedLlm
from agentkit.transcript import ToolCall, ToolMessage
from ops_core.domain.agent import AgentDefinition, ApprovalRule, RetryRule
from ops_core.domain.approval import ApprovalReason, Decision
from ops_core.domain.event import EventType
from ops_core.domain.outcome import Completed, Failed, Retry, Suspended
from ops_core.domain.task import JsonObject, Task, TaskStatus
from ops_core.domain.wait import ApprovalWait, ChildWait, InputWait, SignalWait, TimerWait, Wait
from ops_core.ports import RunStopReason
from ops_core.tests.unit.runner.bench import DEFINITION, Bench, again, charges
from ops_core.tests.unit.runner.fakes import claimed_task

ASKS = AgentDefinition(
    name="asks",
    approvals=(
        ApprovalRule(tool="charge", when="arguments.amount > 50", message="Charge {amount} EUR", groups=("finance",)),
    ),
)
ASKED_FIRST = AgentDefinition(name="asked-first", approvals=(ApprovalRule(when="input.amount > 10"),))
WRITER = AgentDefinition(name="writer", description="Writes.")
EDITOR = AgentDefinition(name="editor", agents=("writer", "nobody"))


def call(tool: str, /, **arguments: object) -> list[ToolCall]:
    return [ToolCall("c1", tool, arguments)]


async def suspended(bench: Bench, task: Task) -> tuple[Wait, ...]:
    assert await bench.runner.run(task, bench.control(task)) is TaskStatus.waiting
    outcome = bench.runs.outcomes[-1]
    assert isinstance(outcome, Suspended)
    return outcome.waits


async def resumed(bench: Bench, task: Task) -> Completed:
    assert await bench.runner.run(again(task), bench.control(task)) is TaskStatus.completed
    outcome = bench.runs.outcomes[-1]
    assert isinstance(outcome, Completed)
    return outcome


def observed(llm: BaseLlmClient) -> str:
    """What the model was told of its last calls."""
    assert isinstance(llm, ScriptedLlm)
    told = [message for message in llm.asked[-1].messages if isinstance(message, ToolMessage)]
    return "\n".join(result.content for result in told[-1].results)


async def approval_of(bench: Bench, task: Task) -> ApprovalWait:
    (wait,) = await suspended(bench, task)
    assert isinstance(wait, ApprovalWait)
    return wait


async def test_a_call_that_the_policy_names_waits_for_a_person_and_is_not_made() -> None:
    bench = Bench(ScriptedLlm([charges(80)]), definition=ASKS)
    wait = await approval_of(bench, claimed_task(ASKS))
    assert (wait.key, wait.request.reason, wait.request.tool) == (
        "1/tool/1/approval",
        ApprovalReason.tool_call,
        "charge",
    )
    assert (wait.request.message, wait.request.arguments) == ("Charge 80 EUR", {"amount": 80})
    assert wait.request.tool == "charge"
    assert wait.request.groups == ("finance",)
    assert bench.effects == []


async def test_a_call_below_the_policys_bound_is_made_at_once() -> None:
    """The negative control of the test above."""
    bench = Bench(ScriptedLlm([charges(50), "done"]), definition=ASKS)
    task = claimed_task(ASKS)
    assert await bench.runner.run(task, bench.control(task)) is TaskStatus.completed
    assert bench.effects == ["charge 50"]


async def test_an_approved_call_is_made_once_with_the_arguments_a_person_chose() -> None:
    bench = Bench(ScriptedLlm([charges(80), "done"]), definition=ASKS)
    task = claimed_task(ASKS)
    wait = await approval_of(bench, task)
    decision = {"decision": "edit", "arguments": {"amount": 60}, "by": ["ada"], "fingerprint": wait.request.fingerprint}
    bench.runs.resolve(wait.key, "approval", decision)
    await resumed(bench, task)
    assert bench.effects == ["charge 60"]


async def test_an_edit_into_the_reach_of_another_rule_waits_for_those_whom_that_rule_names() -> None:
    board = ApprovalRule(tool="charge", when="arguments.amount > 1000", groups=("board",), required=2)
    strict = replace(ASKS, approvals=(board, *ASKS.approvals))
    bench = Bench(ScriptedLlm([charges(80), "done"]), definition=strict)
    task = claimed_task(strict)
    first = await approval_of(bench, task)
    assert first.request.groups == ("finance",)
    edit = {"decision": "edit", "arguments": {"amount": 5000}, "by": ["ada"], "fingerprint": first.request.fingerprint}
    bench.runs.resolve(first.key, "approval", edit)
    second = await approval_of(bench, again(task))
    assert (second.request.groups, second.request.required) == (("board",), 2)
    assert second.request.arguments == {"amount": 5000}
    assert bench.effects == []
    yes = {"decision": "approve", "by": ["bea", "cy"], "fingerprint": second.request.fingerprint}
    bench.runs.resolve(second.key, "approval", yes)
    await resumed(bench, task)
    assert bench.effects == ["charge 5000"]


async def test_a_step_of_unknown_outcome_waits_for_a_person_and_runs_again_with_its_key_when_he_says_so() -> None:
    bench = Bench(ScriptedLlm([charges(), "done"]))
    task = claimed_task(DEFINITION)
    await bench.runner.run(task, bench.control(task))
    del bench.runs.events[2:]  # it died between the intent and the result
    wait = await approval_of(bench, again(task))
    assert (wait.key, wait.request.reason) == ("1/tool/1/outcome", ApprovalReason.outcome_unknown)
    assert Decision.edit not in wait.request.allowed
    assert bench.effects == ["charge 5"]

    answer = {"decision": "approve", "by": ["ada"], "fingerprint": wait.request.fingerprint}
    bench.runs.resolve(wait.key, "approval", answer)
    bench.llm = ScriptedLlm(["done"])
    await resumed(bench, task)
    assert bench.effects == ["charge 5", "charge 5"]
    keys = {e.payload["idempotency_key"] for e in bench.runs.events if e.type is EventType.tool_started}
    assert len(keys) == 1


@pytest.mark.parametrize(
    ("calls", "expected"),
    [
        (call("sleep", seconds=3600), TimerWait(key="1/tool/1/timer/1", seconds=3600)),
        (call("wait_for_signal", name="paid"), SignalWait(key="1/tool/1/signal/1", name="paid")),
    ],
)
async def test_a_tool_that_waits_suspends_the_task(calls: list[ToolCall], expected: Wait) -> None:
    bench = Bench(ScriptedLlm([calls]))
    assert await suspended(bench, claimed_task(DEFINITION)) == (expected,)


async def test_a_question_is_put_to_people_who_can_answer_or_decline() -> None:
    llm = ScriptedLlm([call("ask_person", question="Which colour?"), "done"])
    bench = Bench(llm)
    task = claimed_task(DEFINITION)
    (wait,) = await suspended(bench, task)
    assert isinstance(wait, InputWait)
    assert (wait.key, wait.request.reason) == ("1/tool/1/input/1", ApprovalReason.input_required)
    assert (wait.request.message, wait.request.allowed) == ("Which colour?", (Decision.respond, Decision.reject))
    bench.runs.resolve(wait.key, "input", {"response": "blue", "by": "ada"})
    await resumed(bench, task)
    assert observed(llm) == "blue"


async def test_two_calls_that_wait_are_waited_for_together() -> None:
    both = [ToolCall("c1", "sleep", {"seconds": 5}), ToolCall("c2", "wait_for_signal", {"name": "go"})]
    bench = Bench(ScriptedLlm([both]))
    waits = await suspended(bench, claimed_task(DEFINITION))
    assert [wait.key for wait in waits] == ["1/tool/1/timer/1", "1/tool/2/signal/1"]


class TestChildren:
    def bench(self, *answers: Any) -> Bench:
        return Bench(ScriptedLlm(answers), definition=EDITOR, others=[WRITER])

    async def started(self, bench: Bench, task: Task) -> ChildWait:
        (wait,) = await suspended(bench, task)
        assert isinstance(wait, ChildWait)
        return wait

    async def test_another_agent_is_called_by_a_child_task(self) -> None:
        bench = self.bench(call("agent.writer", goal="Write."))
        task = claimed_task(EDITOR, priority=7, labels={"team": "x"}, fairness_key="ada", created_by="bob", depth=1)
        child = (await self.started(bench, task)).child
        assert (child.agent, child.input, child.priority, child.labels) == (
            "writer",
            {"goal": "Write."},
            7,
            {"team": "x"},
        )
        assert (child.created_by, child.depth) == ("bob", 2)
        assert child.parent is not None
        assert (child.parent.task_id, child.parent.round, child.parent.step_key) == (task.id, 1, "1/tool/1/child/1")

    async def test_the_result_of_a_child_is_read_from_its_row(self) -> None:
        bench = self.bench(call("agent.writer", goal="Write."), "done")
        task = claimed_task(EDITOR)
        wait = await self.started(bench, task)
        result = {"answer": "A poem.", "output": None}
        child = claimed_task(WRITER, id=wait.child.id, status=TaskStatus.completed, result=result)
        bench.tasks.rows[child.id] = child
        bench.runs.resolve(wait.key, "child", {"task_id": str(child.id), "status": "completed", "error": None})
        await resumed(bench, task)
        assert observed(bench.llm) == "A poem."
        await bench.runner.run(again(task), bench.control(task))
        assert bench.tasks.reads == 1, "the result of a recorded step is in the journal"

    @pytest.mark.parametrize("status", ["failed", "canceled", "rejected"])
    async def test_a_child_without_a_result_is_told_to_the_agent_with_its_error(self, status: str) -> None:
        bench = self.bench(call("agent.writer", goal="Write."), "done")
        task = claimed_task(EDITOR)
        wait = await self.started(bench, task)
        error = {"code": "limit_steps", "message": "no answer after 3 steps"}
        bench.runs.resolve(wait.key, "child", {"task_id": str(wait.child.id), "status": status, "error": error})
        await resumed(bench, task)
        told = observed(bench.llm)
        assert status in told
        assert "(limit_steps): no answer after 3 steps" in told

    async def test_an_input_that_breaks_the_other_agents_schema_is_told_and_starts_nothing(self) -> None:
        bench = self.bench(call("agent.writer", goal=""), "done")
        task = claimed_task(EDITOR)
        assert await bench.runner.run(task, bench.control(task)) is TaskStatus.completed
        assert observed(bench.llm).startswith("Wrong arguments for 'agent.writer'")

    async def test_an_agent_that_is_not_registered_is_no_tool(self) -> None:
        bench = self.bench(call("agent.nobody", goal="Write."), "done")
        task = claimed_task(EDITOR)
        assert await bench.runner.run(task, bench.control(task)) is TaskStatus.completed
        assert "There is no tool named 'agent.nobody'" in observed(bench.llm)

    async def test_a_chain_that_is_too_long_is_told_and_starts_nothing(self) -> None:
        bench = self.bench(call("agent.writer", goal="Write."), "done")
        tasks = [claimed_task(agent, depth=depth) for depth, agent in enumerate([WRITER, EDITOR, WRITER, EDITOR])]
        linked = [tasks[0], *(replace(low, parent_id=high.id) for high, low in pairwise(tasks))]
        bench.tasks.rows |= {task.id: task for task in linked}
        assert await bench.runner.run(linked[-1], bench.control(linked[-1])) is TaskStatus.completed
        assert "writer → editor → writer → editor → writer" in observed(bench.llm)
        assert bench.runs.parents == [linked[-2].id]

    async def test_of_several_calls_those_that_can_be_made_are_waited_for(self) -> None:
        both = [ToolCall("c1", "agent.writer", {"goal": "One."}), ToolCall("c2", "agent.writer", {"goal": ""})]
        bench = self.bench(both)
        wait = await self.started(bench, claimed_task(EDITOR))
        assert wait.child.input == {"goal": "One."}
        assert [e.step_key for e in bench.runs.events if e.type is EventType.child_finished] == ["1/tool/2/child/1"]

    async def test_a_child_that_runs_is_waited_for_although_it_could_not_be_begun_any_more(self) -> None:
        """Told that it was refused, the agent would go on without it, and its end would find the step answered."""
        both = [ToolCall("c1", "agent.writer", {"goal": "Write."}), ToolCall("c2", "sleep", {"seconds": 5})]
        bench = self.bench(both)
        task = claimed_task(EDITOR)
        waits = await suspended(bench, task)
        assert [wait.key for wait in waits] == ["1/tool/1/child/1", "1/tool/2/timer/1"]
        for wait in waits:
            bench.runs.begin(wait.key)
        bench.runs.resolve(waits[1].key, "timer", {})
        bench.refusal = "there is no key for its model here"
        (left,) = await suspended(bench, again(task))
        assert isinstance(left, ChildWait)
        assert left.key == "1/tool/1/child/1"
        assert not [e for e in bench.runs.events if e.type is EventType.child_finished]

    async def test_a_child_that_an_earlier_round_began_is_begun_anew_if_it_can_be(self) -> None:
        """The negative control of the test above."""
        bench = self.bench(call("agent.writer", goal="Write."), "done")
        task = claimed_task(EDITOR)
        bench.runs.begin((await self.started(bench, task)).key)
        bench.refusal = "there is no key for its model here"
        bench.runs.round = 2
        assert await bench.runner.run(again(replace(task, round=2)), bench.control(task)) is TaskStatus.completed
        assert bench.refusal in observed(bench.llm)


class TestTaskApproval:
    async def test_nothing_runs_before_a_person_has_said_yes(self) -> None:
        bench = Bench(ScriptedLlm([]), definition=ASKED_FIRST)
        task = claimed_task(ASKED_FIRST, input={"goal": "Buy.", "amount": 80})
        wait = await approval_of(bench, task)
        assert (wait.key, wait.request.reason) == ("0/task/approval", ApprovalReason.task)
        assert wait.request.arguments == task.input
        assert Decision.respond not in wait.request.allowed
        assert bench.runs.events == []

    async def test_a_task_that_the_rule_does_not_mean_runs_at_once(self) -> None:
        """The negative control of the test above."""
        bench = Bench(ScriptedLlm(["done"]), definition=ASKED_FIRST)
        task = claimed_task(ASKED_FIRST, input={"goal": "Buy.", "amount": 8})
        assert await bench.runner.run(task, bench.control(task)) is TaskStatus.completed

    async def test_a_person_may_change_the_input(self) -> None:
        llm = ScriptedLlm(["done"])
        bench = Bench(llm, definition=ASKED_FIRST)
        task = claimed_task(ASKED_FIRST, input={"goal": "Buy 80.", "amount": 80})
        wait = await approval_of(bench, task)
        changed = {"goal": "Buy 60.", "amount": 60}
        answer = {"decision": "edit", "arguments": changed, "by": ["a"], "fingerprint": wait.request.fingerprint}
        bench.runs.resolve(wait.key, "approval", answer)
        await resumed(bench, task)
        assert "Buy 60." in str(llm.asked[0].messages)
        assert "80" not in str(llm.asked[0].messages)

    @pytest.mark.parametrize(("decision", "code"), [("expire", "approval_expired"), ("reject", "approval_rejected")])
    async def test_without_a_yes_it_fails_and_says_why(self, decision: str, code: str) -> None:
        bench = Bench(ScriptedLlm([]), definition=ASKED_FIRST)
        task = claimed_task(ASKED_FIRST, input={"goal": "Buy.", "amount": 80})
        wait = await approval_of(bench, task)
        answer: JsonObject = {"decision": decision, "by": [], "fingerprint": wait.request.fingerprint}
        bench.runs.resolve(wait.key, "approval", answer)
        assert await bench.runner.run(again(task), bench.control(task)) is TaskStatus.failed
        outcome = bench.runs.outcomes[-1]
        assert isinstance(outcome, Failed)
        assert outcome.error.code == code


class TestAttempts:
    def task(self, **changes: Any) -> Task:
        return claimed_task(DEFINITION, attempt_timeout_seconds=0.05, **changes)

    def bench(self) -> Bench:
        bench = Bench(ScriptedLlm([charges()]))
        bench.before_tool = asyncio.Event()
        return bench

    async def test_an_attempt_that_takes_too_long_is_tried_again(self) -> None:
        bench, task = self.bench(), self.task()
        assert await bench.runner.run(task, bench.control(task)) is TaskStatus.scheduled
        (outcome,) = bench.runs.outcomes
        assert isinstance(outcome, Retry)
        assert (outcome.error.code, outcome.error.retryable) == ("attempt_timeout", True)

    async def test_the_last_attempt_that_takes_too_long_fails_the_task(self) -> None:
        bench, task = self.bench(), self.task(attempt=3)
        assert await bench.runner.run(task, bench.control(task)) is TaskStatus.failed

    async def test_a_cancel_wins_over_the_attempts_time(self) -> None:
        bench, task = self.bench(), claimed_task(DEFINITION, attempt_timeout_seconds=60.0)
        control = bench.control(task)
        running = asyncio.create_task(bench.runner.run(task, control))
        async with asyncio.timeout(5):
            while len(bench.runs.events) < 2:
                await asyncio.sleep(0)
        control.reason = RunStopReason.cancel
        running.cancel()
        assert await running is TaskStatus.canceled

    async def test_the_agent_says_how_long_the_pauses_are(self) -> None:
        patient = AgentDefinition(name="patient", retry=RetryRule(base_seconds=1e6, max_seconds=2e6))
        bench = Bench(ScriptedLlm([charges()]), definition=patient)
        bench.before_tool = asyncio.Event()
        task = claimed_task(patient, attempt_timeout_seconds=0.05)
        await bench.runner.run(task, bench.control(task))
        (outcome,) = bench.runs.outcomes
        assert isinstance(outcome, Retry)
        assert outcome.delay_seconds > 1_000


class TestForks:
    async def test_a_fork_goes_on_after_the_steps_it_took_over_and_counts_only_its_own(self) -> None:
        first = Bench(ScriptedLlm([charges(), "done"]))
        source = claimed_task(DEFINITION)
        await first.runner.run(source, first.control(source))

        forked = AgentDefinition(name="tester", instructions="Be brief.")
        bench = Bench(ScriptedLlm(["other"]), definition=forked)
        bench.runs.events = [replace(event, round=0) for event in first.runs.events[:3]]
        task = claimed_task(forked, id=uuid4(), seq=5)
        assert await bench.runner.run(task, bench.control(task)) is TaskStatus.completed
        (outcome,) = bench.runs.outcomes
        assert isinstance(outcome, Completed)
        assert (outcome.usage.steps, outcome.usage.tool_calls) == (1, 0)
        assert bench.effects == []

    async def test_steps_of_another_definition_that_were_not_taken_over_are_refused(self) -> None:
        """The negative control of the test above."""
        first = Bench(ScriptedLlm([charges(), "done"]))
        source = claimed_task(DEFINITION)
        await first.runner.run(source, first.control(source))
        forked = AgentDefinition(name="tester", instructions="Be brief.")
        bench = Bench(ScriptedLlm(["other"]), definition=forked)
        bench.runs.events = first.runs.events[:3]
        task = claimed_task(forked, seq=5)
        assert await bench.runner.run(task, bench.control(task)) is TaskStatus.failed

    async def test_idempotency_keys_of_a_fork_are_its_own(self) -> None:
        first = Bench(ScriptedLlm([charges(), "done"]))
        source = claimed_task(DEFINITION)
        await first.runner.run(source, first.control(source))
        bench = Bench(ScriptedLlm([charges(), "done"]))
        bench.runs.events = [replace(event, round=0) for event in first.runs.events[:3]]
        task = claimed_task(DEFINITION, id=uuid4(), seq=5)
        await bench.runner.run(task, bench.control(task))
        (begun,) = [e for e in bench.runs.events if e.type is EventType.tool_started and e.round == 1]
        assert begun.payload["idempotency_key"] == f"{task.id}/1:2/tool/1"

    async def test_an_approval_of_the_source_is_none_of_the_fork(self) -> None:
        bench = Bench(ScriptedLlm([]), definition=ASKED_FIRST)
        task = claimed_task(ASKED_FIRST, input={"goal": "Buy.", "amount": 80})
        wait = await approval_of(bench, task)
        answer = {"decision": "approve", "by": ["a"], "fingerprint": wait.request.fingerprint}
        bench.runs.resolve(wait.key, "approval", answer)
        bench.runs.events = [replace(event, round=0) for event in bench.runs.events]
        assert (await approval_of(bench, again(task))).key == wait.key
