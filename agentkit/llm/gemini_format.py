"""The generateContent format of Google Gemini: conversations out, replies in."""

from __future__ import annotations

import re
from collections.abc import Sequence
from uuid import uuid4

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from agentkit.attachments import Attachment
from agentkit.errors import LlmRequestInvalid, MalformedReply, Refused
from agentkit.llm.base import LlmResponse, StopReason, Usage
from agentkit.llm.tool_names import LegalNames
from agentkit.llm.vendor_attachments import text_in
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

PROVIDER = "gcp.gemini"

#: Google's own word for a call that the model did not sign since another model, or no model, made it.
_UNSIGNED = "skip_thought_signature_validator"
#: Models that sign nothing, and may stumble over that word.
_BEFORE_SIGNATURES = re.compile(r"gemini-(1|2)\b")

_REFUSALS = frozenset(
    {
        "SAFETY",
        "RECITATION",
        "LANGUAGE",
        "BLOCKLIST",
        "PROHIBITED_CONTENT",
        "SPII",
        "MODEL_ARMOR",
        "IMAGE_SAFETY",
        "IMAGE_PROHIBITED_CONTENT",
        "IMAGE_RECITATION",
    }
)
_CUT_SHORT = frozenset({"MAX_TOKENS", "CONTINUATION"})
#: The model's own slips: it is told, and may do better.
_BUNGLED = frozenset({"MALFORMED_FUNCTION_CALL", "UNEXPECTED_TOOL_CALL", "TOO_MANY_TOOL_CALLS", "MALFORMED_RESPONSE"})


class _Read(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel)


class _Candidate(_Read):
    #: As it came, since it may have to go back unchanged.
    content: JsonObject | None = None
    finish_reason: str | None = None
    finish_message: str | None = None


class _Feedback(_Read):
    block_reason: str | None = None


class _Usage(_Read):
    prompt_token_count: int | None = None
    tool_use_prompt_token_count: int | None = None
    cached_content_token_count: int | None = None
    candidates_token_count: int | None = None
    thoughts_token_count: int | None = None


class _Reply(_Read):
    candidates: list[_Candidate] = Field(default_factory=list)
    prompt_feedback: _Feedback | None = None
    usage_metadata: _Usage | None = None
    model_version: str | None = None


def write_contents(model: str, turns: Sequence[Message], names: LegalNames) -> list[JsonObject]:
    """The conversation after its system messages, in turns that alternate.

    Raises:
        LlmRequestInvalid: nobody has said anything.
    """
    written: list[JsonObject] = []
    as_called: dict[str, JsonObject] = {}
    for turn in turns:
        role, parts = _write_turn(model, turn, names, as_called)
        if not parts:
            continue
        if written and written[-1]["role"] == role:
            written[-1]["parts"] += parts
        else:
            written.append({"role": role, "parts": parts})
    if not any(content["role"] == "user" for content in written):
        raise LlmRequestInvalid("the conversation has no user message to answer")
    return written


def write_tools(tools: Sequence[ToolSpec], names: LegalNames) -> list[JsonObject]:
    return [{"functionDeclarations": [_write_tool(tool, names) for tool in tools]}]


def read_content(model: str, names: LegalNames, body: bytes) -> LlmResponse:
    """The answer in a reply with status 200.

    A reply cut short by the limit on output tokens has no tool calls, since the last one may be incomplete; nor has
    one in which the model bungled a call.

    Raises:
        Refused: the prompt or the answer was blocked.
        MalformedReply: the reply is not in the format.
    """
    reply = read_reply(PROVIDER, _Reply, body)
    if reply.prompt_feedback and reply.prompt_feedback.block_reason:
        raise Refused(f"{PROVIDER} blocked the prompt: {reply.prompt_feedback.block_reason}")
    if not reply.candidates:
        raise MalformedReply(f"{PROVIDER} sent a reply without a candidate")
    candidate = reply.candidates[0]
    reason = candidate.finish_reason or "STOP"
    if reason in _REFUSALS:
        raise Refused(f"{PROVIDER} declined to answer: {candidate.finish_message or reason}")
    message, stop = _read_candidate(candidate, reason, names)
    problem = candidate.finish_message or reason if stop is StopReason.bungled_call else ""
    usage, answered_by = _read_usage(reply.usage_metadata), reply.model_version or model
    return LlmResponse(message, stop, usage, PROVIDER, answered_by, problem)


def parts_of(content: JsonObject | None) -> list[JsonObject]:
    """The parts of a candidate's content.

    Raises:
        MalformedReply: they are not objects.
    """
    parts = (content or {}).get("parts") or []
    if not isinstance(parts, list) or not all(isinstance(part, dict) for part in parts):
        raise MalformedReply(f"{PROVIDER} sent a candidate whose parts are not objects")
    return parts


def _write_turn(
    model: str, turn: Message, names: LegalNames, as_called: dict[str, JsonObject]
) -> tuple[str, list[JsonObject]]:
    """The parts of one turn. `as_called` keeps, by our id, how each call went out, for its result to match."""
    match turn:
        case SystemMessage(text):
            return "user", _text_parts(text)
        case UserMessage(text, attachments):
            return "user", [_write_attachment(each) for each in attachments] + _text_parts(text)
        case AssistantMessage():
            parts = _write_assistant(model, turn, names)
            written_calls = [part["functionCall"] for part in parts if "functionCall" in part]
            as_called.update({ours.id: sent for ours, sent in zip(turn.tool_calls, written_calls, strict=False)})
            return "model", parts
        case ToolMessage(results):
            return "user", [
                {
                    "functionResponse": _same_call(as_called.get(result.call_id), names.to_wire(result.name))
                    | {"response": {"error" if result.is_error else "output": result.content}}
                }
                for result in results
            ]


def _write_attachment(attachment: Attachment) -> JsonObject:
    """Gemini takes pictures, sound, films and PDFs alike, and says itself which it cannot read."""
    if (text := text_in(attachment)) is not None:
        return {"text": text}
    if attachment.url:
        return {"fileData": {"mimeType": attachment.media_type, "fileUri": attachment.url}}
    return {"inlineData": {"mimeType": attachment.media_type, "data": attachment.data}}


def _write_assistant(model: str, message: AssistantMessage, names: LegalNames) -> list[JsonObject]:
    if message.vendor and message.vendor.get("provider") == PROVIDER:
        parts: list[JsonObject] = message.vendor["content"]["parts"]
        return list(parts)
    calls: list[JsonObject] = [
        {"functionCall": {"id": call.id, "name": names.to_wire(call.name), "args": call.arguments}}
        for call in message.tool_calls
    ]
    if calls and not _BEFORE_SIGNATURES.search(model):
        calls[0]["thoughtSignature"] = _UNSIGNED
    return _text_parts(message.text) + calls


def _same_call(sent: JsonObject | None, name: str) -> JsonObject:
    """The name and, if the vendor gave the call one, the id by which a result is matched to its call."""
    if sent is None:
        return {"name": name}
    return {key: sent[key] for key in ("id", "name") if key in sent}


def _text_parts(text: str) -> list[JsonObject]:
    """No part for blank text: it is refused."""
    return [{"text": text}] if text.strip() else []


def _write_tool(tool: ToolSpec, names: LegalNames) -> JsonObject:
    """A tool without parameters is declared without a schema, as Gemini wants it; `$schema` it does not know."""
    declaration: JsonObject = {"name": names.to_wire(tool.name), "description": tool.description}
    if tool.parameters.get("properties"):
        declaration["parametersJsonSchema"] = {k: v for k, v in tool.parameters.items() if k != "$schema"}
    return declaration


def _read_candidate(candidate: _Candidate, reason: str, names: LegalNames) -> tuple[AssistantMessage, StopReason]:
    parts = parts_of(candidate.content)
    text, calls = _read_parts(parts, names)
    if reason in _CUT_SHORT:
        return AssistantMessage(text), StopReason.length
    if reason in _BUNGLED:
        return AssistantMessage(text), StopReason.bungled_call
    if reason != "STOP" and not text and not calls:
        raise MalformedReply(f"{PROVIDER} stopped without an answer: {candidate.finish_message or reason}")
    stop = StopReason.tool_calls if calls else StopReason.end
    return AssistantMessage(text, calls, _vendor(candidate.content, parts)), stop


def _read_parts(parts: list[JsonObject], names: LegalNames) -> tuple[str, tuple[ToolCall, ...]]:
    texts: list[str] = []
    calls: list[ToolCall] = []
    for part in parts:
        match part:
            case {"thought": True}:
                pass
            case {"text": str(text)}:
                texts.append(text)
            case {"functionCall": dict(call)}:
                calls.append(_read_call(call, names))
            case {"text": _} | {"functionCall": _}:
                raise MalformedReply(f"{PROVIDER} sent a part that is not in its own format")
            case _:
                pass  # whatever comes to be: kept for the vendor, not ours to read
    return "".join(texts), tuple(calls)


def _read_call(call: JsonObject, names: LegalNames) -> ToolCall:
    """A call without an id gets one of ours; it is unique, and the journal keeps it the same from then on."""
    name, arguments, call_id = call.get("name"), call.get("args") or {}, call.get("id")
    if not isinstance(name, str) or not isinstance(arguments, dict):
        raise MalformedReply(f"{PROVIDER} sent a functionCall that is not in its own format")
    return ToolCall(str(call_id) if call_id else f"call_{uuid4().hex}", names.from_wire(name), arguments)


def _vendor(content: JsonObject | None, parts: list[JsonObject]) -> JsonObject | None:
    """The whole content when it holds more than our words can say, above all thought signatures."""
    if content is None or all(part.keys() <= {"text"} or part.keys() <= {"functionCall"} for part in parts):
        return None
    return {"provider": PROVIDER, "content": content}


def _read_usage(usage: _Usage | None) -> Usage:
    """Gemini counts cached tokens as part of the prompt, and thoughts apart from the answer."""
    if usage is None:
        return Usage()
    thoughts = usage.thoughts_token_count or 0
    return Usage(
        input_tokens=(usage.prompt_token_count or 0) + (usage.tool_use_prompt_token_count or 0),
        output_tokens=(usage.candidates_token_count or 0) + thoughts,
        cached_input_tokens=usage.cached_content_token_count or 0,
        reasoning_tokens=thoughts,
    )
