"""How the text protocol is written for a model and how its answers are read."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentkit import (
    Answer,
    AssistantMessage,
    CallTools,
    Correct,
    SystemMessage,
    ToolCall,
    ToolMessage,
    ToolResult,
    ToolSpec,
    UserMessage,
)
from agentkit.planners.react_text import read, render, without_invented_observations
from agentkit.planners.templates import Template

TEMPLATE = Template.at(None, "react_prompt.txt", needs=frozenset({"tools"}))
CALCULATOR = ToolSpec("calculator", "Does {sums}.", {"type": "object", "properties": {}})


def calls_in(text: str) -> list[tuple[str, dict[str, object]]]:
    decision = read(text)
    assert isinstance(decision, CallTools), decision
    return [(call.name, call.arguments) for call in decision.calls]


@pytest.mark.parametrize(
    "text",
    [
        'Thought: sums\nAction: calculator\nAction Input: {"expression": "6*7"}',
        'Thought: sums\r\nAction: calculator\r\nAction Input: {"expression": "6*7"}\r\n',
        'Action: calculator\nAction Input: ```json\n{"expression": "6*7"}\n```',
        'Action: calculator\nAction Input:\n```\n{\n  "expression": "6*7"\n}\n```\nI will wait.',
        'Sure! Let me do that.\n\nAction: `calculator`\nAction Input: {"expression": "6*7"} and then I look.',
        '**Thought:** sums\n**Action:** calculator\n**Action Input:** {"expression": "6*7"}',
        'thought: sums\nACTION: calculator\naction input: {"expression": "6*7"}',
        "Action: calculator\nAction Input: {'expression': '6*7'}",
        'Action: calculator\nAction Input: {"expression": "6*7"}\nObservation: 41\nFinal Answer: 41',
        'Action: calculator\nAction Input: {"expression": "6*7"}\nFinal Answer: 41',
        '<think>\nAction: other\nAction Input: {}\n</think>\nAction: calculator\nAction Input: {"expression": "6*7"}',
        'Action: [calculator]\nAction Input: {"expression": "6*7"}\nThought: now wait',
    ],
)
def test_an_action_is_read_however_it_is_dressed(text: str) -> None:
    assert calls_in(text) == [("calculator", {"expression": "6*7"})]


def test_several_actions_are_several_calls() -> None:
    text = 'Action: a\nAction Input: {"n": 1}\nAction: b\nAction Input: {}\nObservation: x\nAction: c\nAction Input: {}'
    assert calls_in(text) == [("a", {"n": 1}), ("b", {})]


def test_an_argument_may_itself_hold_a_code_fence() -> None:
    written = 'Action: run\nAction Input: {"code": "```python\\nprint({})\\n```"}'
    assert calls_in(written) == [("run", {"code": "```python\nprint({})\n```"})]


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("Thought: I know\nFinal Answer: 42", "42"),
        ("Final Answer:\n\n- one\n- two\n", "- one\n- two"),
        ("**Final Answer:** 42", "42"),
        ("Final Answer: first\nObservation: quoted\nAction: quoted", "first\nObservation: quoted\nAction: quoted"),
        ('Final Answer: {"n": 3}', '{"n": 3}'),
    ],
)
def test_a_final_answer_is_read_to_the_end(text: str, answer: str) -> None:
    assert read(text) == Answer(answer)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("I think it is 42.", "not in the format"),
        ("Thought: hm", "not in the format"),
        ("Final Answer:", "was empty"),
        ("Action:\nAction Input: {}", "names no tool"),
        ("Action: calculator", "not a JSON object"),
        ("Action: calculator\nAction Input: 6*7", "not a JSON object"),
        ('Action: calculator\nAction Input: ["6*7"]', "not a JSON object"),
        ('Action: calculator\nAction Input: {"expression": ', "not a JSON object"),
        ('Action: calculator\nAction Input: {"expression": NaN}', "not a JSON object"),
        ("Observation: 42\nFinal Answer: 42", "not in the format"),
    ],
)
def test_what_cannot_be_read_is_corrected(text: str, told: str) -> None:
    decision = read(text)
    assert isinstance(decision, Correct)
    assert told in decision.observation
    assert "'Final Answer:'" in decision.observation


def test_call_ids_come_from_the_answer_alone() -> None:
    text = "Action: a\nAction Input: {}\nAction: b\nAction Input: {}"
    first, again = read(text), read(text)
    assert first == again
    assert isinstance(first, CallTools)
    assert len({call.id for call in first.calls}) == 2
    other = read(text + "\n")
    assert isinstance(other, CallTools)
    assert other.calls[0].id != first.calls[0].id


def test_the_tools_are_listed_with_their_schemas_after_the_instructions() -> None:
    system, goal = render([SystemMessage("Be kind."), UserMessage("go")], [CALCULATOR], TEMPLATE)
    assert isinstance(system, SystemMessage)
    assert system.text.startswith("Be kind.\n\nYou work on the user's goal")
    assert '{"name": "calculator", "description": "Does {sums}.", "arguments": {"type": "object"' in system.text
    assert goal == UserMessage("go")


def test_without_tools_the_prompt_says_so() -> None:
    [system, _] = render([UserMessage("go")], [], TEMPLATE)
    assert isinstance(system, SystemMessage)
    assert system.text.endswith("(there are no tools)")


def test_results_are_shown_as_observations() -> None:
    results = (ToolResult("1", "a", "one"), ToolResult("2", "b", "broken", is_error=True))
    assert render([ToolMessage(results[:1])], [], TEMPLATE)[1] == UserMessage("Observation: one")
    assert render([ToolMessage(results)], [], TEMPLATE)[1] == UserMessage(
        "Observation 1 (a): one\nObservation 2 (b): Error: broken"
    )


def test_invented_observations_are_not_shown_to_the_model_again() -> None:
    said = "Action: a\r\nAction Input: {}\r\nObservation: made up\r\nFinal Answer: wrong"
    shown = render([AssistantMessage(said, (ToolCall("1", "a", {}),))], [], TEMPLATE)[1]
    assert shown == AssistantMessage("Action: a\nAction Input: {}")
    assert without_invented_observations("Final Answer: x\nObservation: quoted").endswith("quoted")


def test_calls_made_by_native_tool_calling_are_written_as_actions() -> None:
    message = AssistantMessage("", (ToolCall("1", "a", {"n": 1}),))
    assert render([message], [], TEMPLATE)[1] == AssistantMessage('Action: a\nAction Input: {"n": 1}')


@given(
    st.text(max_size=300)
    | st.lists(
        st.sampled_from(
            [
                "Action:",
                "Action Input:",
                "Observation:",
                "Thought:",
                "Final Answer:",
                "{",
                "}",
                '{"a": 1}',
                "```",
                "\n",
                "\r\n",
                "x",
                "*",
                " ",
            ]
        ),
        max_size=30,
    ).map("".join)
)
def test_any_text_is_read_as_some_decision(text: str) -> None:
    decision = read(text)
    assert isinstance(decision, CallTools | Answer | Correct)
    if isinstance(decision, CallTools):
        assert decision.calls
