"""Puts the events of a streamed Anthropic message together into the message."""

from __future__ import annotations

import json
from typing import Any

from pydantic import BaseModel
from pydantic_core import from_json

from agentkit.errors import LlmError, MalformedReply
from agentkit.llm.anthropic_format import CUT_SHORT, PROVIDER
from agentkit.llm.server_sent_events import ServerSentEvent
from agentkit.llm.vendor_errors import error_for_status
from agentkit.llm.vendor_reply import read_reply
from agentkit.transcript import JsonObject

#: What the kinds of error, which come without a status in a stream, would have had for one.
_STATUSES = {
    "invalid_request_error": 400,
    "authentication_error": 401,
    "billing_error": 402,
    "permission_error": 403,
    "not_found_error": 404,
    "request_too_large": 413,
    "rate_limit_error": 429,
    "api_error": 500,
    "timeout_error": 504,
    "overloaded_error": 529,
}


class _Error(BaseModel):
    type: str = ""
    message: str = ""


class _Event(BaseModel):
    type: str
    index: int = -1
    message: JsonObject | None = None
    content_block: JsonObject | None = None
    delta: JsonObject | None = None
    usage: JsonObject | None = None
    error: _Error | None = None


class MessagePieces:
    """The events of one message."""

    def __init__(self) -> None:
        self._message: JsonObject = {}
        self._blocks: dict[int, JsonObject] = {}
        #: The JSON of the input of a tool call, by the number of its block.
        self._inputs: dict[int, list[str]] = {}
        self._marked = False

    @property
    def ended(self) -> bool:
        return self._marked

    @property
    def complete(self) -> bool:
        return self._marked

    def add(self, event: ServerSentEvent) -> str:
        read = read_reply(PROVIDER, _Event, event.data)
        match read:
            case _Event(type="message_start", message=dict(message)):
                self._message = message
            case _Event(type="content_block_start", content_block=dict(block), index=index):
                self._blocks[index] = block
                return _text_in(block)
            case _Event(type="content_block_delta", delta=dict(delta), index=index):
                return self._add_delta(index, delta)
            case _Event(type="message_delta", delta=delta):
                self._message |= delta or {}
                self._message["usage"] = _known(self._message.get("usage")) | _known(read.usage)
            case _Event(type="message_stop"):
                self._marked = True
            case _Event(type="error"):
                raise _reported(read.error or _Error())
            case _:
                pass  # pings, ends of blocks, and whatever comes to be
        return ""

    def whole(self) -> bytes:
        content = [self._whole_block(index) for index in sorted(self._blocks)]
        return json.dumps(self._message | {"content": content}).encode()

    def _add_delta(self, index: int, delta: JsonObject) -> str:
        block = self._blocks.get(index)
        if block is None:
            raise MalformedReply(f"{PROVIDER} went on with block {index}, which it had not begun")
        match delta:
            case {"type": "text_delta", "text": str(text)}:
                block["text"] = str(block.get("text") or "") + text
                return text
            case {"type": "input_json_delta", "partial_json": str(written)}:
                self._inputs.setdefault(index, []).append(written)
            case {"type": "citations_delta", "citation": citation}:
                block["citations"] = [*(block.get("citations") or ()), citation]
            case {"type": "text_delta" | "input_json_delta" as kind}:
                raise MalformedReply(f"{PROVIDER} sent a {kind} that is not in its own format")
            case _:
                _grow(block, delta)
        return ""

    def _whole_block(self, index: int) -> JsonObject:
        """Blocks keep their order. The input of a call that the limit on output tokens cut is nobody's to read."""
        block, written = self._blocks[index], "".join(self._inputs.get(index, ()))
        if not written.strip():
            return block
        try:
            return block | {"input": from_json(written, allow_inf_nan=False)}
        except ValueError:
            return block | {"input": {} if self._message.get("stop_reason") in CUT_SHORT else written}


def _grow(block: JsonObject, delta: JsonObject) -> None:
    """Thinking, its signature, and kinds not known yet: each field of the delta goes on with the block's own."""
    for key, value in delta.items():
        if key == "type":
            continue
        so_far: Any = block.get(key)
        grows = isinstance(value, str | list) and type(value) is type(so_far)
        block[key] = so_far + value if grows else value


def _text_in(block: JsonObject) -> str:
    text = block.get("text")
    return text if block.get("type") == "text" and isinstance(text, str) else ""


def _known(usage: Any) -> JsonObject:
    """The counts that are said; later ones replace earlier ones."""
    return {key: count for key, count in usage.items() if count is not None} if isinstance(usage, dict) else {}


def _reported(error: _Error) -> LlmError:
    return error_for_status(PROVIDER, _STATUSES.get(error.type, 500), error.message, code=error.type)
