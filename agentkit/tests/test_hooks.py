"""What an onlooker is told of a run."""

from __future__ import annotations

from agentkit import Agent, MemoryJournal, ReActPlanner, StepKind, ToolRegistry, calculator
from agentkit.testing import ScriptedLlm, call_of


class Onlooker:
    def __init__(self, *, wants_text: bool = False) -> None:
        self.wants_text = wants_text
        self.seen: list[tuple[object, ...]] = []

    def step_started(self, key: str, kind: StepKind, name: str) -> None:
        self.seen.append(("started", key, kind.value, name))

    def step_finished(
        self,
        key: str,
        kind: StepKind,
        name: str,
        *,
        seconds: float,
        replayed: bool,
        is_error: bool,
        is_last: bool = False,
    ) -> None:
        assert seconds >= 0
        self.last = is_last
        self.seen.append(("replayed" if replayed else "finished", key, kind.value, name, is_error))

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
