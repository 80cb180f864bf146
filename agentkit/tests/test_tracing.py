"""The spans of a run: what they are called, what they say, and what hangs beneath what."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from agentkit import Agent, LlmError, MemoryJournal, ReActPlanner, RunSuspended, ToolRegistry, ask_person, tool
from agentkit.testing import Reply, ScriptedLlm, call_of
from agentkit.tracing import TracingHooks


class Traced:
    """An agent, and the spans that its runs have made."""

    def __init__(self, *replies: Reply, journal: MemoryJournal | None = None) -> None:
        self._exporter = InMemorySpanExporter()
        provider = TracerProvider()
        provider.add_span_processor(SimpleSpanProcessor(self._exporter))
        tracer = provider.get_tracer("test")

        @tool(side_effect=False)
        async def look_up(word: str) -> str:
            """Look a word up."""
            with tracer.start_as_current_span("inner"):
                await asyncio.sleep(0)
            if word == "none":
                raise ValueError("no such word")
            return word

        self.agent = Agent(
            planner=ReActPlanner(ScriptedLlm(replies)),
            tools=ToolRegistry([look_up, ask_person]),
            journal=journal,
            hooks=TracingHooks(agent_name="clerk", session_id="s-1", tracer=tracer),
        )

    @property
    def spans(self) -> Sequence[ReadableSpan]:
        return self._exporter.get_finished_spans()

    def span(self, name: str) -> ReadableSpan:
        (found,) = [span for span in self.spans if span.name == name]
        return found


def parent_of(span: ReadableSpan) -> int | None:
    return span.parent.span_id if span.parent else None


def own(span: ReadableSpan) -> int:
    assert span.context is not None
    return int(span.context.span_id)


async def test_a_run_is_a_span_with_one_for_each_step_in_it() -> None:
    traced = Traced([call_of("look_up", word="a")], "done")

    await traced.agent.run("go", run_id="r")

    run = traced.span("invoke_agent clerk")
    assert [span.name for span in traced.spans if parent_of(span) == own(run)] == [
        "chat scripted",
        "execute_tool look_up",
        "chat scripted",
    ]
    assert parent_of(run) is None


async def test_what_a_tool_calls_hangs_beneath_its_span() -> None:
    traced = Traced([call_of("look_up", word="a")], "done")

    await traced.agent.run("go")

    assert parent_of(traced.span("inner")) == own(traced.span("execute_tool look_up"))


async def test_calls_at_the_same_time_have_each_their_own_span() -> None:
    traced = Traced([call_of("look_up", id="1", word="a"), call_of("look_up", id="2", word="b")], "done")

    await traced.agent.run("go")

    tools = [span for span in traced.spans if span.name == "execute_tool look_up"]
    inner = [span for span in traced.spans if span.name == "inner"]
    assert {parent_of(span) for span in inner} == {own(span) for span in tools}
    assert {parent_of(span) for span in tools} == {own(traced.span("invoke_agent clerk"))}


async def test_attributes_are_those_of_the_conventions() -> None:
    traced = Traced("done")

    await traced.agent.run("go", run_id="r")

    run, chat = traced.span("invoke_agent clerk"), traced.span("chat scripted")
    assert dict(run.attributes or {}) == {
        "gen_ai.operation.name": "invoke_agent",
        "gen_ai.agent.name": "clerk",
        "gen_ai.conversation.id": "s-1",
        "gen_ai.usage.input_tokens": 10,
        "gen_ai.usage.output_tokens": 5,
        "agentkit.run.id": "r",
        "agentkit.run.steps": 1,
    }
    assert chat.kind is SpanKind.CLIENT
    assert dict(chat.attributes or {}) == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "scripted",
        "gen_ai.request.model": "scripted",
        "gen_ai.response.model": "scripted",
        "gen_ai.response.finish_reasons": ("end",),
        "gen_ai.usage.input_tokens": 10,
        "gen_ai.usage.output_tokens": 5,
        "agentkit.step.key": "1/llm",
    }


async def test_a_tool_that_fails_fails_its_span_and_not_the_run() -> None:
    traced = Traced([call_of("look_up", word="none")], "done")

    await traced.agent.run("go")

    assert traced.span("execute_tool look_up").status.status_code is StatusCode.ERROR
    assert traced.span("invoke_agent clerk").status.status_code is StatusCode.UNSET


async def test_a_model_that_cannot_be_asked_fails_both() -> None:
    traced = Traced()

    with pytest.raises(LlmError):
        await traced.agent.run("go")

    for name in ("chat scripted", "invoke_agent clerk"):
        span = traced.span(name)
        assert span.status.status_code is StatusCode.ERROR
        assert (span.attributes or {})["error.type"] == "llm_error"


async def test_a_run_that_waits_has_not_failed_and_goes_on_in_a_span_that_tells_what_was_replayed() -> None:
    journal = MemoryJournal()
    traced = Traced([call_of("ask_person", question="Sure?")], "done", journal=journal)

    with pytest.raises(RunSuspended) as suspended:
        await traced.agent.run("go", run_id="r")
    (wait,) = suspended.value.waits
    journal.resolve(wait.key, {"response": "yes", "fingerprint": wait.fingerprint})
    await traced.agent.run("go", run_id="r")

    first, second = [span for span in traced.spans if span.name == "invoke_agent clerk"]
    assert (first.attributes or {})["agentkit.waits_for"] == ("input",)
    assert first.status.status_code is StatusCode.UNSET
    assert [(event.name, dict(event.attributes or {})) for event in second.events] == [
        ("step.replayed", {"agentkit.step.key": "1/llm"})
    ]


async def test_nothing_is_left_of_a_run_when_it_is_over() -> None:
    traced = Traced("done")

    await traced.agent.run("go")

    assert not trace.get_current_span().get_span_context().is_valid


async def test_runs_at_the_same_time_do_not_mix() -> None:
    traced = Traced(*["done"] * 20)

    await asyncio.gather(*(traced.agent.run("go") for _ in range(20)))

    runs = [span for span in traced.spans if span.name == "invoke_agent clerk"]
    chats = [span for span in traced.spans if span.name == "chat scripted"]
    assert sorted(map(own, runs)) == sorted(parent_of(chat) or 0 for chat in chats)


async def test_without_a_tracer_provider_nothing_happens() -> None:
    agent = Agent(planner=ReActPlanner(ScriptedLlm(["done"])), hooks=TracingHooks())

    assert (await agent.run("go")).steps == 1
