"""The chat completions format of OpenAI and all who speak it: conversations out, replies in."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any
from uuid import uuid4

from pydantic import BaseModel, Field

from agentkit.attachments import Attachment
from agentkit.errors import LlmRequestInvalid, LlmUnavailable, MalformedReply, Refused
from agentkit.llm.base import LlmResponse, StopReason, Usage
from agentkit.llm.tool_names import LegalNames
from agentkit.llm.vendor_attachments import cannot_show, data_url, file_name, text_in
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
    ToolResult,
    UserMessage,
    without_system,
)

#: Refused at the top level of a tool's parameters. The arguments are checked against the whole schema before the
#: call anyway.
_REFUSED_AT_THE_TOP = frozenset({"oneOf", "anyOf", "allOf", "enum", "not"})


class _Details(BaseModel):
    cached_tokens: int | None = None
    reasoning_tokens: int | None = None


class _Usage(BaseModel):
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    prompt_tokens_details: _Details | None = None
    completion_tokens_details: _Details | None = None


class _Function(BaseModel):
    name: str
    arguments: str | JsonObject | None = None


class _ToolCall(BaseModel):
    id: str | None = None
    function: _Function
    #: Thought signatures of Gemini behind its OpenAI-compatible door.
    extra_content: JsonObject | None = None


class TextPart(BaseModel):
    text: str | None = None


class _Message(BaseModel):
    #: Mistral's reasoning models answer in parts.
    content: str | list[TextPart] | None = None
    refusal: str | None = None
    tool_calls: list[_ToolCall] | None = None
    #: Reasoning that OpenRouter and DeepSeek want back while a chain of tool calls lasts.
    reasoning_details: list[Any] | None = None
    reasoning_content: str | None = None

    @property
    def text(self) -> str:
        return text_of(self.content)


class _Error(BaseModel):
    code: int | str | None = None
    message: str = ""


class _Choice(BaseModel):
    message: _Message | None = None
    finish_reason: str | None = None
    #: OpenRouter reports here what failed after it had begun to answer with 200.
    error: _Error | None = None


class _Completion(BaseModel):
    choices: list[_Choice] = Field(default_factory=list)
    model: str | None = None
    usage: _Usage | None = None
    error: _Error | None = None


def write_messages(
    provider: str, messages: Sequence[Message], names: LegalNames, ids: LegalNames | None
) -> list[JsonObject]:
    """The conversation, instructions first, neighbours of one role joined.

    Raises:
        LlmRequestInvalid: nobody has said anything.
    """
    system, turns = without_system(messages)
    written: list[JsonObject] = [{"role": "system", "content": system}] if system else []
    to_wire_id = ids.to_wire if ids else _unchanged
    for turn in turns:
        for message in _write_turn(provider, turn, names, to_wire_id):
            _append(written, message)
    if not any(message["role"] == "user" for message in written):
        raise LlmRequestInvalid("the conversation has no user message to answer")
    return written


def write_tools(tools: Sequence[ToolSpec], names: LegalNames) -> list[JsonObject]:
    return [
        {
            "type": "function",
            "function": {
                "name": names.to_wire(tool.name),
                "description": tool.description,
                "parameters": write_parameters(tool.parameters),
            },
        }
        for tool in tools
    ]


def write_schema(schema: JsonObject) -> JsonObject:
    """The format that the answer's text is held to."""
    format = {"name": "output", "schema": without_dialect(schema), "strict": is_strict(schema)}
    return {"type": "json_schema", "json_schema": format}


def write_parameters(parameters: JsonObject) -> JsonObject:
    """The schema, without what is refused at its top, and with the `properties` that OpenAI misses otherwise."""
    kept = {key: value for key, value in parameters.items() if key not in _REFUSED_AT_THE_TOP}
    return {"type": "object", "properties": {}} | kept


def write_result(result: ToolResult) -> str:
    """The format has no mark for an error; the words must say it."""
    if result.is_error and not result.content.lower().startswith("error"):
        return f"Error: {result.content}"
    return result.content


def read_completion(provider: str, model: str, names: LegalNames, body: bytes) -> LlmResponse:
    """The answer in a reply with status 200.

    A reply cut short by the limit on output tokens has no tool calls, since the last one may be incomplete; nor has
    one in which the arguments of any are not a JSON object.

    Raises:
        Refused: the model or the filter declined.
        MalformedReply: the reply is not in the format.
        LlmError: the reply reports an error under status 200, as OpenRouter's do, or was broken off by one.
    """
    completion = read_reply(provider, _Completion, body)
    choice = completion.choices[0] if completion.choices else _Choice()
    error = completion.error or choice.error
    if error is not None:
        raise error_for_status(provider, _status_of(error), error.message, code=str(error.code or ""))
    if choice.message is None:
        raise MalformedReply(f"{provider} sent a reply without a choice to read")
    if choice.message.refusal or choice.finish_reason == "content_filter":
        raise Refused(f"{provider} declined to answer: {choice.message.refusal or 'its content filter cut in'}")
    if choice.finish_reason == "error":
        raise LlmUnavailable(f"{provider} broke off in the middle of its answer, and does not say why")
    usage, answered_by = _read_usage(completion.usage), completion.model or model
    try:
        message, stop = _read_message(provider, choice.message, choice.finish_reason, names)
    except BungledCall as bungled:
        message = AssistantMessage(choice.message.text)
        return LlmResponse(message, StopReason.bungled_call, usage, provider, answered_by, str(bungled))
    return LlmResponse(message, stop, usage, provider, answered_by)


def text_of(content: str | list[TextPart] | None) -> str:
    """The text of an answer, or of a piece of one."""
    if isinstance(content, list):
        return "".join(part.text or "" for part in content)
    return content or ""


def _write_turn(provider: str, turn: Message, names: LegalNames, to_wire_id: Callable[[str], str]) -> list[JsonObject]:
    match turn:
        case SystemMessage(text):
            return [{"role": "system", "content": text}]
        case UserMessage(text, attachments):
            parts = [_write_attachment(provider, each) for each in attachments]
            said = [{"type": "text", "text": text}] if text.strip() else []
            return [{"role": "user", "content": [*said, *parts] if parts else text}]
        case AssistantMessage():
            return _write_assistant(provider, turn, names, to_wire_id)
        case ToolMessage(results):
            return [
                {"role": "tool", "tool_call_id": to_wire_id(result.call_id), "content": write_result(result)}
                for result in results
            ]


def _write_attachment(provider: str, attachment: Attachment) -> JsonObject:
    if (text := text_in(attachment)) is not None:
        return {"type": "text", "text": text}
    if attachment.is_image:
        return {"type": "image_url", "image_url": {"url": data_url(attachment)}}
    # OpenRouter alone fetches files.
    if attachment.media_type == "application/pdf" and (attachment.data or provider == "openrouter"):
        file = {"filename": file_name(attachment), "file_data": data_url(attachment)}
        return {"type": "file", "file": file}
    raise cannot_show(provider, attachment)


def _write_assistant(
    provider: str, message: AssistantMessage, names: LegalNames, to_wire_id: Callable[[str], str]
) -> list[JsonObject]:
    """No message at all for one that says nothing: vendors refuse it."""
    if not message.text and not message.tool_calls:
        return []
    written: JsonObject = {"role": "assistant", "content": message.text or None}
    vendor = message.vendor if message.vendor and message.vendor.get("provider") == provider else {}
    written |= {key: vendor[key] for key in ("reasoning_details", "reasoning_content") if key in vendor}
    if message.tool_calls:
        extra = vendor.get("extra_content", {})
        written["tool_calls"] = [
            {
                "id": to_wire_id(call.id),
                "type": "function",
                "function": {"name": names.to_wire(call.name), "arguments": json.dumps(call.arguments)},
            }
            | ({"extra_content": extra[call.id]} if call.id in extra else {})
            for call in message.tool_calls
        ]
    return [written]


def _append(written: list[JsonObject], message: JsonObject) -> None:
    """Join what one side says twice in a row: many local models' templates demand turns that alternate."""
    last = written[-1] if written else None
    if last is not None and _is_plain(last) and _is_plain(message) and last["role"] == message["role"]:
        last["content"] = f"{last['content']}\n\n{message['content']}"
    else:
        written.append(message)


def _is_plain(message: JsonObject) -> bool:
    return (
        message["role"] in ("user", "assistant")
        and message.keys() == {"role", "content"}
        and isinstance(message["content"], str)
    )


def _read_message(
    provider: str, message: _Message, finish_reason: str | None, names: LegalNames
) -> tuple[AssistantMessage, StopReason]:
    if finish_reason == "length":
        return AssistantMessage(message.text), StopReason.length
    if not message.tool_calls:
        return AssistantMessage(message.text, vendor=_vendor(provider, message, {})), StopReason.end
    calls: list[ToolCall] = []
    extra: JsonObject = {}
    for call in message.tool_calls:
        name = names.from_wire(call.function.name)
        arguments = read_arguments(name, call.function.arguments)
        calls.append(ToolCall(call.id or f"call_{uuid4().hex}", name, arguments))
        if call.extra_content:
            extra[calls[-1].id] = call.extra_content
    return AssistantMessage(message.text, tuple(calls), _vendor(provider, message, extra)), StopReason.tool_calls


def _vendor(provider: str, message: _Message, extra_content: JsonObject) -> JsonObject | None:
    kept: JsonObject = {}
    if message.reasoning_details:
        kept["reasoning_details"] = message.reasoning_details
    if message.reasoning_content and message.tool_calls:
        kept["reasoning_content"] = message.reasoning_content
    if extra_content:
        kept["extra_content"] = extra_content
    return {"provider": provider} | kept if kept else None


def _read_usage(usage: _Usage | None) -> Usage:
    """Nothing counted when the server does not count."""
    if usage is None:
        return Usage()
    read, written = usage.prompt_tokens_details or _Details(), usage.completion_tokens_details or _Details()
    return Usage(
        input_tokens=usage.prompt_tokens or 0,
        output_tokens=usage.completion_tokens or 0,
        cached_input_tokens=read.cached_tokens or 0,
        reasoning_tokens=written.reasoning_tokens or 0,
    )


def _status_of(error: _Error) -> int:
    """The status the reply should have had; without a number it is the upstream's failure."""
    return error.code if isinstance(error.code, int) and error.code >= 400 else 502


def _unchanged(call_id: str) -> str:
    return call_id
