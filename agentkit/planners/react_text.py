"""The Thought / Action / Observation text protocol: how it is written for a model, and how its answers are read."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator, Sequence
from itertools import zip_longest

from agentkit.decisions import Answer, CallTools, Correct, Decision
from agentkit.journal import fingerprint
from agentkit.planners.templates import Template, tool_lines
from agentkit.tools.base import ToolSpec
from agentkit.transcript import (
    AssistantMessage,
    JsonObject,
    Message,
    SystemMessage,
    ToolCall,
    ToolMessage,
    UserMessage,
    without_system,
)

#: A label at the start of a line, also when the model made it bold or a heading.
_LABEL = re.compile(
    r"^[ \t>*#_-]*(Thought|Action Input|Action|Final Answer|Observation)[ \t*_]*:[ \t*_]*",
    re.IGNORECASE | re.MULTILINE,
)
_FENCE = re.compile(r"```[\w-]*[ \t]*\n?(.*?)```", re.DOTALL)
_THINKING = re.compile(r"\A\s*<think>.*?</think>", re.DOTALL)
_HOW_TO_ANSWER = (
    "Write either the lines 'Thought:', 'Action:' and 'Action Input:' (a JSON object), "
    "or 'Final Answer:' and your answer."
)


def render(transcript: Sequence[Message], tools: Sequence[ToolSpec], template: Template) -> tuple[Message, ...]:
    """The conversation as a model without tool calling can read it."""
    instructions, rest = without_system(transcript)
    protocol = template.filled(tools=tool_lines(tools))
    system = "\n\n".join(text for text in (instructions, protocol) if text)
    return SystemMessage(system), *(_as_text(message) for message in rest)


def read(text: str) -> Decision:
    """What an answer means. It is read up to the first Observation, which the model must have made up.

    Depends on the text alone, call ids included, so that a replay reads it in the same way.
    """
    text = _spoken(text)
    sections = list(_sections(text))
    labels = [label for label, _, _ in sections]
    answer_at = labels.index("final answer") if "final answer" in labels else len(labels)
    end = labels.index("observation") if "observation" in labels[:answer_at] else len(labels)
    if "action" in labels[: min(answer_at, end)]:
        return _read_actions(text, [(label, body) for label, body, _ in sections[: min(answer_at, end)]])
    if answer_at < end:
        # To the end of the text: an answer may quote the labels of the protocol.
        answer = text[sections[answer_at][2] :].strip()
        return Answer(answer) if answer else Correct(f"Your final answer was empty. {_HOW_TO_ANSWER}")
    return Correct(f"Your answer is not in the format. {_HOW_TO_ANSWER}")


def without_invented_observations(text: str) -> str:
    """The text up to the first Observation that follows an Action."""
    text = _spoken(text)
    acted = False
    for match in _LABEL.finditer(text):
        label = match.group(1).lower()
        if label == "final answer" and not acted:
            return text
        if label == "observation" and acted:
            return text[: match.start()].rstrip()
        acted = acted or label == "action"
    return text


def _as_text(message: Message) -> Message:
    match message:
        case AssistantMessage(text, calls, _) if text.strip():
            return AssistantMessage(without_invented_observations(text))
        case AssistantMessage(_, calls, _):
            return AssistantMessage("\n".join(_action(call) for call in calls))
        case ToolMessage(results):
            several = len(results) > 1
            return UserMessage(
                "\n".join(
                    f"Observation{f' {i} ({each.name})' if several else ''}: "
                    f"{'Error: ' if each.is_error else ''}{each.content}"
                    for i, each in enumerate(results, 1)
                )
            )
        case _:
            return message


def _action(call: ToolCall) -> str:
    return f"Action: {call.name}\nAction Input: {json.dumps(call.arguments, ensure_ascii=False)}"


def _spoken(text: str) -> str:
    """Without what a reasoning model thought aloud in front, where it may have rehearsed the protocol."""
    return _THINKING.sub("", text.replace("\r\n", "\n").replace("\r", "\n"), count=1)


def _sections(text: str) -> Iterator[tuple[str, str, int]]:
    """Each label in lower case, the text that belongs to it, and where that text begins."""
    matches = list(_LABEL.finditer(text))
    for match, following in zip_longest(matches, matches[1:]):
        end = following.start() if following else len(text)
        yield match.group(1).lower(), text[match.end() : end].strip(), match.end()


def _read_actions(text: str, sections: Sequence[tuple[str, str]]) -> Decision:
    calls: list[ToolCall] = []
    digest = fingerprint(text)[:12]
    for i, (label, body) in enumerate(sections):
        if label != "action":
            continue
        name = body.splitlines()[0].strip(" \t`*\"'[]") if body else ""
        follows = sections[i + 1] if i + 1 < len(sections) else ("", "")
        arguments = _json_object(follows[1]) if follows[0] == "action input" else None
        if not name:
            return Correct(f"Your Action names no tool. {_HOW_TO_ANSWER}")
        if arguments is None:
            return Correct(
                f"The Action Input of {name!r} is missing or is not a JSON object. Nothing was called. {_HOW_TO_ANSWER}"
            )
        calls.append(ToolCall(f"call_{digest}_{len(calls) + 1}", name, arguments))
    return CallTools(tuple(calls))


def _json_object(text: str) -> JsonObject | None:
    """The first JSON object in the text: in a code fence, with prose around it, or written as a Python dict."""
    # As it stands first: the fence may be inside, in an argument that is code.
    if (value := _first_object(text)) is None and (fenced := _FENCE.search(text)):
        value = _first_object(fenced.group(1))
    return value


def _first_object(text: str) -> JsonObject | None:
    start = text.find("{")
    if start < 0:
        return None
    try:
        value, _ = json.JSONDecoder(parse_constant=_refuse_constant).raw_decode(text[start:])
    except (ValueError, RecursionError):
        value = _python_dict(text[start : text.rfind("}") + 1])
    return value if isinstance(value, dict) else None


def _refuse_constant(name: str) -> float:
    """NaN and Infinity, which Python reads and no journal could keep."""
    raise ValueError(f"{name} is not JSON")


def _python_dict(text: str) -> object:
    try:
        value = ast.literal_eval(text)
        json.dumps(value, allow_nan=False)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        return None
    return value
