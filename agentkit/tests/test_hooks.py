"""What an onlooker is told of a run."""

from __future__ import annotations

import pytest

from agentkit import (
    Agent,
    Finished,
    FinishedStep,
    LlmError,
    MemoryJournal,
    NoHooks,
    ReActPlanner,
    RunReport,
    RunSuspended,
    StepKind,
    ToolRegistry,
    ask_person,
    calculator,
)
from agentkit.testing import ScriptedLlm, call_of


class Onlooker(NoHooks):
    def __init__(self, *, wants_text: bool = False) -> None:
        self.wants_text = wants_text
        self.seen: list[tuple[object, ...]] = []

    def step_started(self, key: str, kind: StepKind, name: str) -> None:
        self.seen.append(("started", key, kind.value, name))

    def step_finished(self, step: FinishedStep) -> None:
        assert step.seconds >= 0
        self.last = step.is_last
        how = "replayed" if step.replayed else "finished"
        self.seen.append((how, step.key, step.kind.value, step.name, step.is_error))

    def step_broken_off(self, key: str, error: BaseException) -> None:
        self.seen.append(("broken off", key, type(error).__name__))

    def text_received(self, key: str, text: str) -> None:
        self.seen.append(("text", key, text))

    def text_ended(self, key: str) -> None:
        self.seen.append(("text ended", key))


async def test_each_step_is_seen_to_start_and_finish_and_a_replayed_one_only_to_finish() -> None:
    journal, onlooker = MemoryJournal(), Onlooker()
    llm = ScriptedLlm([[call_of("calculator", expression="1/0")], "done"])
    agent = Agent(planner=ReActPlanner(llm), tools=ToolRegistry([calculator]), journal=journal, hooks=onlooker)
    await agent.run("go")
    assert onlooker.seen == [
        ("started", "1/llm", "llm", "scripted"),
        ("finished", "1/llm", "llm", "scripted", False),
        ("started", "1/tool/1", "tool", "calculator"),
        ("finished", "1/tool/1", "tool", "calculator", True),
        ("started", "2/llm", "llm", "scripted"),
        ("finished", "2/llm", "llm", "scripted", False),
    ]
    onlooker.seen.clear()
    await agent.run("go")
    assert onlooker.seen == [
        ("replayed", "1/llm", "llm", "scripted", False),
        ("replayed", "1/tool/1", "tool", "calculator", True),
        ("replayed", "2/llm", "llm", "scripted", False),
    ]


async def test_who_wants_the_text_gets_it_while_the_step_runs_and_never_of_a_replayed_step() -> None:
    journal, onlooker = MemoryJournal(), Onlooker(wants_text=True)
    agent = Agent(planner=ReActPlanner(ScriptedLlm(["done"])), tools=ToolRegistry([]), journal=journal, hooks=onlooker)
    await agent.run("go")
    assert [seen[0] for seen in onlooker.seen] == ["started", "text", "text ended", "finished"]
    assert onlooker.seen[1] == ("text", "1/llm", "done")
    onlooker.seen.clear()
    await agent.run("go")
    assert [seen[0] for seen in onlooker.seen] == ["replayed"]


async def test_who_does_not_want_the_text_does_not_make_the_model_stream() -> None:
    onlooker = Onlooker()
    agent = Agent(planner=ReActPlanner(ScriptedLlm(["done"])), tools=ToolRegistry([]), hooks=onlooker)
    await agent.run("go")
    assert [seen[0] for seen in onlooker.seen] == ["started", "finished"]


async def test_a_step_without_a_result_is_seen_to_break_off() -> None:
    onlooker = Onlooker()
    agent = Agent(planner=ReActPlanner(ScriptedLlm([])), tools=ToolRegistry([]), hooks=onlooker)

    with pytest.raises(LlmError):
        await agent.run("go")

    assert onlooker.seen == [("started", "1/llm", "llm", "scripted"), ("broken off", "1/llm", "LlmError")]


async def test_a_call_that_waits_is_seen_to_break_off_and_to_start_again() -> None:
    onlooker, journal = Onlooker(), MemoryJournal()
    llm = ScriptedLlm([[call_of("ask_person", question="Sure?")], "done"])
    agent = Agent(planner=ReActPlanner(llm), tools=ToolRegistry([ask_person]), journal=journal, hooks=onlooker)

    with pytest.raises(RunSuspended) as suspended:
        await agent.run("go", run_id="r")
    (wait,) = suspended.value.waits
    journal.resolve(wait.key, {"response": "yes", "fingerprint": wait.fingerprint})
    await agent.run("go", run_id="r")

    told = [seen[0] for seen in onlooker.seen if "1/tool/1" in seen]
    assert told == ["started", "broken off", "started", "finished"]


async def test_a_run_is_seen_to_start_and_to_end_with_its_report_or_its_error() -> None:
    class Ends(NoHooks):
        def __init__(self) -> None:
            self.seen: list[object] = []

        def run_started(self, run_id: str) -> None:
            self.seen.append(run_id)

        def run_ended(self, report: RunReport | None, error: BaseException | None) -> None:
            self.seen.append(report.outcome if report else type(error))

    ends = Ends()
    agent = Agent(planner=ReActPlanner(ScriptedLlm(["done"])), tools=ToolRegistry([]), hooks=ends)
    await agent.run("go", run_id="one")
    with pytest.raises(LlmError):
        await agent.run("go", run_id="two")

    assert ends.seen == ["one", Finished("done"), "two", LlmError]
