"""Puts the chunks of a streamed chat completion together into the completion."""

from __future__ import annotations

import json
from typing import Any

from pydantic import BaseModel, Field

from agentkit.llm.openai_format import TextPart, text_of
from agentkit.llm.server_sent_events import ServerSentEvent
from agentkit.llm.vendor_reply import read_reply
from agentkit.transcript import JsonObject

_END_MARK = b"[DONE]"


class _FunctionDelta(BaseModel):
    name: str | None = None
    arguments: str | JsonObject | None = None


class _CallDelta(BaseModel):
    index: int | None = None
    id: str | None = None
    function: _FunctionDelta = Field(default_factory=_FunctionDelta)
    extra_content: JsonObject | None = None


class _Delta(BaseModel):
    content: str | list[TextPart] | None = None
    refusal: str | None = None
    tool_calls: list[_CallDelta] | None = None
    reasoning_details: list[Any] | None = None
    reasoning_content: str | None = None


class _ChoiceDelta(BaseModel):
    index: int = 0
    delta: _Delta | None = None
    finish_reason: str | None = None
    error: JsonObject | None = None


class _Chunk(BaseModel):
    choices: list[_ChoiceDelta] | None = None
    model: str | None = None
    usage: JsonObject | None = None
    error: JsonObject | str | None = None


class CompletionPieces:
    """The chunks of one completion."""

    def __init__(self, provider: str) -> None:
        self._provider = provider
        self._texts: dict[str, list[str]] = {"content": [], "refusal": [], "reasoning_content": []}
        self._calls: list[_CallPieces] = []
        self._reasoning_details: list[Any] = []
        self._top: JsonObject = {}
        self._choice: JsonObject = {}
        self._marked = False

    @property
    def ended(self) -> bool:
        return self._marked or "error" in self._top or "error" in self._choice

    @property
    def complete(self) -> bool:
        """It has its reason to stop, and nothing can follow: the usage comes last. A gateway whose model has died sends
        the end mark all the same."""
        is_over = "finish_reason" in self._choice and (self._marked or "usage" in self._top)
        return is_over or "error" in self._top or "error" in self._choice

    def add(self, event: ServerSentEvent) -> str:
        if event.data.strip() == _END_MARK:
            self._marked = True
            return ""
        chunk = read_reply(self._provider, _Chunk, event.data)
        if chunk.model:
            self._top["model"] = chunk.model
        if chunk.usage:
            self._top["usage"] = chunk.usage
        if chunk.error is not None:
            self._top["error"] = {"message": chunk.error} if isinstance(chunk.error, str) else chunk.error
        elif event.name == "error":
            self._top["error"] = {"message": event.data.decode("utf-8", "replace")}
        return "".join(self._add_choice(choice) for choice in chunk.choices or () if choice.index == 0)

    def whole(self) -> bytes:
        choices = [self._choice | {"message": self._message()}] if self._choice else []
        return json.dumps(self._top | {"choices": choices}).encode()

    def _add_choice(self, choice: _ChoiceDelta) -> str:
        self._choice["index"] = 0
        if choice.finish_reason:
            self._choice["finish_reason"] = choice.finish_reason
        if choice.error is not None:
            self._choice["error"] = choice.error
        delta = choice.delta or _Delta()
        text = text_of(delta.content)
        self._texts["content"].append(text)
        self._texts["refusal"].append(delta.refusal or "")
        self._texts["reasoning_content"].append(delta.reasoning_content or "")
        for detail in delta.reasoning_details or ():
            _add_detail(self._reasoning_details, detail)
        for call in delta.tool_calls or ():
            self._call(call).add(call)
        return text

    def _call(self, delta: _CallDelta) -> _CallPieces:
        """The call that the delta goes on with, or a new one.

        Some servers number all calls 0: then another id starts another call. Some do not number them: then a name does.
        """
        same = [call for call in self._calls if delta.index is None or call.index == delta.index]
        last = same[-1] if same else None
        another_id = last is not None and delta.id is not None and last.id not in (None, delta.id)
        another_name = last is not None and delta.index is None and delta.id is None and bool(delta.function.name)
        if last is None or another_id or another_name:
            last = _CallPieces(delta.index)
            self._calls.append(last)
        return last

    def _message(self) -> JsonObject:
        message: JsonObject = {key: "".join(texts) for key, texts in self._texts.items() if any(texts)}
        if self._calls:
            message["tool_calls"] = [call.whole() for call in self._calls]
        if self._reasoning_details:
            message["reasoning_details"] = self._reasoning_details
        return message


class _CallPieces:
    """The pieces of one tool call."""

    def __init__(self, index: int | None) -> None:
        self.index = index
        self.id: str | None = None
        self._name: str | None = None
        self._arguments: list[str] = []
        self._extra: JsonObject = {}

    def add(self, delta: _CallDelta) -> None:
        self.id = self.id or delta.id
        self._name = self._name or delta.function.name
        self._extra |= delta.extra_content or {}
        written = delta.function.arguments
        if written is not None:
            self._arguments.append(written if isinstance(written, str) else json.dumps(written))

    def whole(self) -> JsonObject:
        function = {"name": self._name, "arguments": "".join(self._arguments)}
        call: JsonObject = {"id": self.id, "type": "function", "function": function}
        return call | ({"extra_content": self._extra} if self._extra else {})


def _add_detail(details: list[Any], detail: Any) -> None:
    """Join what goes on with the last detail: its text grows, its signature comes late."""
    match details[-1] if details else None, detail:
        case dict(last), dict(more) if _goes_on(last, more):
            for key, value in more.items():
                grows = key in ("text", "summary") and isinstance(last.get(key), str) and isinstance(value, str)
                if grows:
                    last[key] += value
                elif value is not None:
                    last[key] = value
        case _:
            details.append(detail)


def _goes_on(last: JsonObject, more: JsonObject) -> bool:
    """Encrypted reasoning comes whole; the rest goes on while kind and number stay the same."""
    kind = more.get("type")
    is_text = kind in ("reasoning.text", "reasoning.summary")
    return is_text and (last.get("type"), last.get("index")) == (kind, more.get("index"))
