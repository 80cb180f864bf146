"""A conversation in agentkit's own words: messages, tool calls and tool results, and their JSON form.

No vendor's format appears here; each LLM client translates at its own edge.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from agentkit.attachments import Attachment, attachment_from_json, attachment_to_json

#: A JSON object as `json.loads` gives it.
JsonObject: TypeAlias = dict[str, Any]
#: Any JSON value as `json.loads` gives it.
JsonValue: TypeAlias = dict[str, Any] | list[Any] | str | int | float | bool | None


@dataclass(frozen=True, slots=True)
class ToolCall:
    """The model asks for a tool."""

    #: Unique within the conversation; the vendor's id, or one we made.
    id: str
    name: str
    arguments: JsonObject


@dataclass(frozen=True, slots=True)
class ToolResult:
    """What a tool answered, as the model reads it."""

    call_id: str
    name: str
    content: str
    is_error: bool = False


@dataclass(frozen=True, slots=True)
class SystemMessage:
    """Standing instructions."""

    text: str


@dataclass(frozen=True, slots=True)
class PlanMessage(SystemMessage):
    """The plan that a run works by from here on. The planner that made it says how a model is shown it."""

    steps: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class UserMessage:
    """What the person, or the loop on its behalf, says to the model."""

    text: str
    #: What there is to look at beside the text.
    attachments: tuple[Attachment, ...] = ()


@dataclass(frozen=True, slots=True)
class AssistantMessage:
    """What the model said: text, tool calls, or both."""

    text: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    #: What the vendor wants back unchanged (thought signatures, reasoning items), as `{"provider": …, …}`.
    #: Only the client of that provider reads it.
    vendor: JsonObject | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class ToolMessage:
    """The results of the calls of the assistant message before it, in the same order."""

    results: tuple[ToolResult, ...]


Message: TypeAlias = SystemMessage | UserMessage | AssistantMessage | ToolMessage


def message_to_json(message: Message) -> JsonObject:
    """The message as a JSON object with a `role`; the inverse of `message_from_json`."""
    match message:
        case SystemMessage(text):
            return {"role": "system", "text": text}
        case UserMessage(text, attachments):
            shown = {"attachments": [attachment_to_json(each) for each in attachments]} if attachments else {}
            return {"role": "user", "text": text} | shown
        case AssistantMessage(text, calls, vendor):
            body: JsonObject = {"role": "assistant", "text": text}
            if calls:
                body["tool_calls"] = [{"id": c.id, "name": c.name, "arguments": c.arguments} for c in calls]
            if vendor is not None:
                body["vendor"] = vendor
            return body
        case ToolMessage(results):
            return {
                "role": "tool",
                "results": [
                    {"call_id": r.call_id, "name": r.name, "content": r.content, "is_error": r.is_error}
                    for r in results
                ],
            }


def message_from_json(body: JsonObject) -> Message:
    """The message that `message_to_json` wrote.

    Raises:
        ValueError: the role is unknown.
    """
    match body["role"]:
        case "system":
            return SystemMessage(body["text"])
        case "user":
            return UserMessage(body["text"], tuple(map(attachment_from_json, body.get("attachments", ()))))
        case "assistant":
            calls = tuple(ToolCall(c["id"], c["name"], c["arguments"]) for c in body.get("tool_calls", ()))
            return AssistantMessage(body["text"], calls, body.get("vendor"))
        case "tool":
            return ToolMessage(
                tuple(ToolResult(r["call_id"], r["name"], r["content"], r["is_error"]) for r in body["results"])
            )
        case role:
            raise ValueError(f"unknown role {role!r} in a journaled message")


def without_system(messages: Sequence[Message]) -> tuple[str, tuple[Message, ...]]:
    """The joined text of the system messages, and the rest: for vendors that take the two apart."""
    system = "\n\n".join(m.text for m in messages if isinstance(m, SystemMessage))
    return system, tuple(m for m in messages if not isinstance(m, SystemMessage))
