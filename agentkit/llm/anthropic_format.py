"""The messages format of Anthropic: conversations out, replies in."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import BaseModel

from agentkit.attachments import Attachment
from agentkit.errors import LlmRequestInvalid, MalformedReply, Refused
from agentkit.llm.base import LlmResponse, StopReason, Usage
from agentkit.llm.tool_names import LegalNames
from agentkit.llm.vendor_attachments import cannot_show, text_in
from agentkit.llm.vendor_reply import read_reply
from agentkit.tools.base import ToolSpec
from agentkit.transcript import (
    AssistantMessage,
    JsonObject,
    Message,
    SystemMessage,
    ToolCall,
    ToolMessage,
    UserMessage,
)

PROVIDER = "anthropic"
#: Reasons to stop that leave the answer, and its last tool call, incomplete.
CUT_SHORT = frozenset({"max_tokens", "model_context_window_exceeded", "pause_turn"})

#: Refused at the top level of a tool's parameters. The arguments are checked against the whole schema before the
#: call anyway.
_REFUSED_AT_THE_TOP = frozenset({"oneOf", "anyOf", "allOf"})


class _OutputDetails(BaseModel):
    thinking_tokens: int | None = None


class _Usage(BaseModel):
    input_tokens: int | None = None
    output_tokens: int | None = None
    cache_read_input_tokens: int | None = None
    cache_creation_input_tokens: int | None = None
    output_tokens_details: _OutputDetails | None = None


class _StopDetails(BaseModel):
    explanation: str | None = None


class _Reply(BaseModel):
    content: list[JsonObject]
    model: str | None = None
    stop_reason: str | None = None
    stop_details: _StopDetails | None = None
    usage: _Usage | None = None


def write_messages(turns: Sequence[Message], names: LegalNames, ids: LegalNames) -> list[JsonObject]:
    """The conversation after its system messages, in turns that alternate.

    Raises:
        LlmRequestInvalid: nobody has said anything.
    """
    written: list[JsonObject] = []
    for turn in turns:
        role, blocks = _write_turn(turn, names, ids)
        if not blocks:
            continue
        if written and written[-1]["role"] == role:
            written[-1]["content"] += blocks
        else:
            written.append({"role": role, "content": blocks})
    if not any(message["role"] == "user" for message in written):
        raise LlmRequestInvalid("the conversation has no user message to answer")
    return written


def write_tools(tools: Sequence[ToolSpec], names: LegalNames) -> list[JsonObject]:
    return [
        {
            "name": names.to_wire(tool.name),
            "description": tool.description,
            "input_schema": _write_parameters(tool.parameters),
        }
        for tool in tools
    ]


def read_message(model: str, names: LegalNames, body: bytes) -> LlmResponse:
    """The answer in a reply with status 200.

    A reply cut short by the limit on output tokens has no tool calls: the last one may be incomplete.

    Raises:
        Refused: the model or a classifier declined.
        MalformedReply: the reply is not in the format.
    """
    reply = read_reply(PROVIDER, _Reply, body)
    if reply.stop_reason == "refusal":
        explanation = reply.stop_details.explanation if reply.stop_details else None
        raise Refused(f"{PROVIDER} declined to answer: {explanation or 'no reason given'}")
    message, stop = _read_content(reply, names)
    return LlmResponse(message, stop, _read_usage(reply.usage), PROVIDER, reply.model or model)


def _write_turn(turn: Message, names: LegalNames, ids: LegalNames) -> tuple[str, list[JsonObject]]:
    match turn:
        case SystemMessage(text):
            return "user", _text_blocks(text)
        case UserMessage(text, attachments):
            return "user", [_write_attachment(each) for each in attachments] + _text_blocks(text)
        case AssistantMessage():
            return "assistant", _write_assistant(turn, names, ids)
        case ToolMessage(results):
            return "user", [
                {
                    "type": "tool_result",
                    "tool_use_id": ids.to_wire(result.call_id),
                    "content": result.content,
                    "is_error": result.is_error,
                }
                for result in results
            ]


def _write_attachment(attachment: Attachment) -> JsonObject:
    if (text := text_in(attachment)) is not None:
        return {"type": "text", "text": text}
    source: JsonObject = {"type": "url", "url": attachment.url}
    if attachment.data:
        source = {"type": "base64", "media_type": attachment.media_type, "data": attachment.data}
    if attachment.is_image:
        return {"type": "image", "source": source}
    if attachment.media_type == "application/pdf":
        title = {"title": attachment.name} if attachment.name else {}
        return {"type": "document", "source": source} | title
    raise cannot_show(PROVIDER, attachment)


def _write_assistant(message: AssistantMessage, names: LegalNames, ids: LegalNames) -> list[JsonObject]:
    if message.vendor and message.vendor.get("provider") == PROVIDER:
        content: list[JsonObject] = message.vendor["content"]
        return list(content)
    return _text_blocks(message.text) + [
        {
            "type": "tool_use",
            "id": ids.to_wire(call.id),
            "name": names.to_wire(call.name),
            "input": call.arguments,
        }
        for call in message.tool_calls
    ]


def _text_blocks(text: str) -> list[JsonObject]:
    """No block for blank text: it is refused."""
    return [{"type": "text", "text": text}] if text.strip() else []


def _write_parameters(parameters: JsonObject) -> JsonObject:
    return {"type": "object"} | {key: value for key, value in parameters.items() if key not in _REFUSED_AT_THE_TOP}


def _read_content(reply: _Reply, names: LegalNames) -> tuple[AssistantMessage, StopReason]:
    texts: list[str] = []
    calls: list[ToolCall] = []
    for block in reply.content:
        match block:
            case {"type": "text", "text": str(text)}:
                texts.append(text)
            case {"type": "tool_use", "id": str(call_id), "name": str(name), "input": dict(arguments)}:
                calls.append(ToolCall(call_id, names.from_wire(name), arguments))
            case {"type": "text" | "tool_use" as kind}:
                raise MalformedReply(f"{PROVIDER} sent a {kind} block that is not in its own format")
            case _:
                pass  # thinking and whatever comes to be: kept for the vendor, not ours to read
    text = "".join(texts)
    if reply.stop_reason in CUT_SHORT:
        return AssistantMessage(text), StopReason.length
    stop = StopReason.tool_calls if calls else StopReason.end
    return AssistantMessage(text, tuple(calls), _vendor(reply.content)), stop


def _vendor(content: list[JsonObject]) -> JsonObject | None:
    """The whole content when it holds more than our words can say: thinking must come back as it was, in its place."""
    if all(block.get("type") in ("text", "tool_use") for block in content):
        return None
    return {"provider": PROVIDER, "content": content}


def _read_usage(usage: _Usage | None) -> Usage:
    """Anthropic counts tokens read from and written to its cache apart from the other input."""
    if usage is None:
        return Usage()
    cached = usage.cache_read_input_tokens or 0
    return Usage(
        input_tokens=(usage.input_tokens or 0) + cached + (usage.cache_creation_input_tokens or 0),
        output_tokens=usage.output_tokens or 0,
        cached_input_tokens=cached,
        reasoning_tokens=(usage.output_tokens_details or _OutputDetails()).thinking_tokens or 0,
    )
