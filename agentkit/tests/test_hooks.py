"""What an onlooker is told of a run."""

from __future__ import annotations

from agentkit import Agent, MemoryJournal, ReActPlanner, StepKind, ToolRegistry, calculator
from agentkit.testing import ScriptedLlm, call_of


class Onlooker:
    def __init__(self) -> None:
        self.seen: list[tuple[object, ...]] = []

    def step_started(self, key: str, kind: StepKind, name: str) -> None:
        self.seen.append(("started", key, kind.value, name))

    def step_finished(
        self, key: str, kind: StepKind, name: str, *, seconds: float, replayed: bool, is_error: bool
    ) -> None:
        assert seconds >= 0
        self.seen.append(("replayed" if replayed else "finished", key, kind.value, name, is_error))


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
