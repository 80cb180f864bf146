"""The format of OpenAI's Responses API: conversations out, replies in."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

from pydantic import BaseModel, Field

from agentkit.attachments import Attachment
from agentkit.errors import LlmRequestInvalid, LlmUnavailable, MalformedReply, Refused
from agentkit.llm.base import LlmResponse, StopReason, Usage
from agentkit.llm.openai_format import write_parameters, write_result
from agentkit.llm.tool_names import LegalNames
from agentkit.llm.vendor_attachments import data_url, file_name, text_in
from agentkit.llm.vendor_errors import error_for_status
from agentkit.llm.vendor_reply import BungledCall, read_arguments, read_reply
from agentkit.llm.vendor_schemas import is_strict, without_dialect
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

PROVIDER = "openai"

#: What a failed answer says in place of a status.
_STATUS_OF_CODES = {
    "context_length_exceeded": 400,
    "rate_limit_exceeded": 429,
    "invalid_prompt": 400,
    "vector_store_timeout": 504,
    "insufficient_quota": 429,
}


class _InputDetails(BaseModel):
    cached_tokens: int | None = None


class _OutputDetails(BaseModel):
    reasoning_tokens: int | None = None


class _Usage(BaseModel):
    input_tokens: int | None = None
    output_tokens: int | None = None
    input_tokens_details: _InputDetails | None = None
    output_tokens_details: _OutputDetails | None = None


class _Error(BaseModel):
    code: str | None = None
    message: str | None = None


class _Incomplete(BaseModel):
    reason: str | None = None


class _Response(BaseModel):
    #: As they came, since they may have to go back unchanged.
    output: list[JsonObject] = Field(default_factory=list)
    status: str | None = None
    error: _Error | None = None
    incomplete_details: _Incomplete | None = None
    model: str | None = None
    usage: _Usage | None = None


def write_input(turns: Sequence[Message], names: LegalNames, ids: LegalNames) -> list[JsonObject]:
    """The conversation after its system messages, as items.

    Raises:
        LlmRequestInvalid: nobody has said anything.
    """
    written = [item for turn in turns for item in _write_turn(turn, names, ids)]
    if not any(item.get("role") == "user" for item in written):
        raise LlmRequestInvalid("the conversation has no user message to answer")
    return written


def write_tools(tools: Sequence[ToolSpec], names: LegalNames) -> list[JsonObject]:
    return [
        {
            "type": "function",
            "name": names.to_wire(tool.name),
            "description": tool.description,
            "parameters": write_parameters(tool.parameters),
            # The API's default wants every schema in a dialect of its own.
            "strict": False,
        }
        for tool in tools
    ]


def write_schema(schema: JsonObject) -> JsonObject:
    """The format that the answer's text is held to."""
    return {"type": "json_schema", "name": "output", "schema": without_dialect(schema), "strict": is_strict(schema)}


def read_response(model: str, names: LegalNames, body: bytes) -> LlmResponse:
    """The answer in a reply with status 200.

    A reply cut short by the limit on output tokens has no tool calls, since the last one may be incomplete; nor has
    one in which the arguments of any are not a JSON object.

    Raises:
        Refused: the model or the filter declined.
        MalformedReply: the reply is not in the format.
        LlmError: the reply reports that the answer failed.
    """
    reply = read_reply(PROVIDER, _Response, body)
    _check_status(reply)
    text = "".join(_texts(reply.output))
    usage, answered_by = _read_usage(reply.usage), reply.model or model
    if reply.status == "incomplete":
        return LlmResponse(AssistantMessage(text), StopReason.length, usage, PROVIDER, answered_by)
    try:
        calls = tuple(_calls(reply.output, names))
    except BungledCall as bungled:
        message = AssistantMessage(text)
        return LlmResponse(message, StopReason.bungled_call, usage, PROVIDER, answered_by, str(bungled))
    message = AssistantMessage(text, calls, _vendor(reply.output))
    stop = StopReason.tool_calls if calls else StopReason.end
    return LlmResponse(message, stop, usage, PROVIDER, answered_by)


def _write_turn(turn: Message, names: LegalNames, ids: LegalNames) -> list[JsonObject]:
    match turn:
        case SystemMessage(text):
            return [{"role": "developer", "content": text}] if text.strip() else []
        case UserMessage(text, attachments):
            said = [{"type": "input_text", "text": text}] if text.strip() else []
            parts = said + [_write_attachment(each) for each in attachments]
            return [{"role": "user", "content": parts}] if parts else []
        case AssistantMessage():
            return _write_assistant(turn, names, ids)
        case ToolMessage(results):
            return [
                {
                    "type": "function_call_output",
                    "call_id": ids.to_wire(result.call_id),
                    "output": write_result(result),
                }
                for result in results
            ]


def _write_attachment(attachment: Attachment) -> JsonObject:
    if (text := text_in(attachment)) is not None:
        return {"type": "input_text", "text": text}
    if attachment.is_image:
        return {"type": "input_image", "image_url": data_url(attachment)}
    if attachment.url:
        return {"type": "input_file", "file_url": attachment.url}
    return {"type": "input_file", "filename": file_name(attachment), "file_data": data_url(attachment)}


def _write_assistant(message: AssistantMessage, names: LegalNames, ids: LegalNames) -> list[JsonObject]:
    vendor = message.vendor or {}
    # The chat client of the same provider keeps other things.
    if vendor.get("provider") == PROVIDER and "output" in vendor:
        return list(vendor["output"])
    said: list[JsonObject] = [{"role": "assistant", "content": message.text}] if message.text.strip() else []
    return said + [
        {
            "type": "function_call",
            "call_id": ids.to_wire(call.id),
            "name": names.to_wire(call.name),
            "arguments": json.dumps(call.arguments),
        }
        for call in message.tool_calls
    ]


def _check_status(reply: _Response) -> None:
    """Raises where there is no answer, or none that may be used."""
    if reply.error is not None or reply.status == "failed":
        error = reply.error or _Error()
        status = _STATUS_OF_CODES.get(error.code or "", 502)
        raise error_for_status(PROVIDER, status, error.message or "", code=error.code or "")
    reason = reply.incomplete_details.reason if reply.incomplete_details else None
    if reason == "content_filter":
        raise Refused(f"{PROVIDER} declined to answer: its content filter cut in")
    if reply.status not in ("completed", "incomplete", None):
        raise LlmUnavailable(f"{PROVIDER} answered with a response that is {reply.status}")
    for part in _parts(reply.output):
        if part.get("type") == "refusal":
            raise Refused(f"{PROVIDER} declined to answer: {part.get('refusal') or 'no reason given'}")
    if not reply.output and reply.status != "incomplete":
        raise MalformedReply(f"{PROVIDER} sent a response without an item to read")


def _parts(output: Sequence[JsonObject]) -> Iterator[JsonObject]:
    """What the messages among the items are made of."""
    for item in output:
        if item.get("type") != "message":
            continue
        content = item.get("content")
        if not isinstance(content, list) or not all(isinstance(part, dict) for part in content):
            raise MalformedReply(f"{PROVIDER} sent a message that is not in its own format")
        yield from content


def _texts(output: Sequence[JsonObject]) -> Iterator[str]:
    for part in _parts(output):
        match part:
            case {"type": "output_text", "text": str(text)}:
                yield text
            case {"type": "output_text"}:
                raise MalformedReply(f"{PROVIDER} sent a text that is not in its own format")
            case _:
                pass  # whatever comes to be: kept for the vendor, not ours to read


def _calls(output: Sequence[JsonObject], names: LegalNames) -> Iterator[ToolCall]:
    for item in output:
        match item:
            case {"type": "function_call", "name": str(name), "call_id": str(call_id), "arguments": str(arguments)}:
                ours = names.from_wire(name)
                yield ToolCall(call_id, ours, read_arguments(ours, arguments))
            case {"type": "function_call"}:
                raise MalformedReply(f"{PROVIDER} sent a function_call that is not in its own format")
            case _:
                pass  # reasoning and whatever comes to be: kept for the vendor


def _vendor(output: list[JsonObject]) -> JsonObject | None:
    """All items when they hold more than our words can say: reasoning must come back as it was, in its place."""
    if all(item.get("type") in ("message", "function_call") and "phase" not in item for item in output):
        return None
    return {"provider": PROVIDER, "output": output}


def _read_usage(usage: _Usage | None) -> Usage:
    if usage is None:
        return Usage()
    return Usage(
        input_tokens=usage.input_tokens or 0,
        output_tokens=usage.output_tokens or 0,
        cached_input_tokens=(usage.input_tokens_details or _InputDetails()).cached_tokens or 0,
        reasoning_tokens=(usage.output_tokens_details or _OutputDetails()).reasoning_tokens or 0,
    )
