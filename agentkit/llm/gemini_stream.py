"""Puts the chunks of a streamed Gemini answer together into the answer."""

from __future__ import annotations

import json
from collections.abc import Callable

from pydantic import BaseModel

from agentkit.errors import LlmError
from agentkit.llm.gemini_format import PROVIDER, parts_of
from agentkit.llm.server_sent_events import ServerSentEvent
from agentkit.llm.vendor_reply import read_reply
from agentkit.transcript import JsonObject


class _Candidate(BaseModel, extra="allow"):
    content: JsonObject | None = None


class _Feedback(BaseModel, extra="allow"):
    blockReason: str | None = None  # noqa: N815 - Google's own name


class _Chunk(BaseModel, extra="allow"):
    candidates: list[_Candidate] | None = None
    promptFeedback: _Feedback | None = None  # noqa: N815 - Google's own name
    error: JsonObject | None = None


class ContentPieces:
    """The chunks of one answer. Google has no end mark: the reason to stop comes last, with the usage."""

    def __init__(self, to_error: Callable[[JsonObject], LlmError]) -> None:
        """`to_error` makes the error that Google's own words for one stand for."""
        self._to_error = to_error
        self._top: JsonObject = {}
        self._candidate: JsonObject = {}
        self._content: JsonObject = {}
        self._parts: list[JsonObject] = []

    @property
    def ended(self) -> bool:
        """Never: only the end of the body says that nothing follows."""
        return False

    @property
    def complete(self) -> bool:
        blocked = (self._top.get("promptFeedback") or {}).get("blockReason")
        return bool(self._candidate.get("finishReason") or blocked)

    def add(self, event: ServerSentEvent) -> str:
        chunk = read_reply(PROVIDER, _Chunk, event.data)
        if chunk.error is not None:
            raise self._to_error(chunk.error)
        self._top |= chunk.model_dump(exclude={"candidates"}, exclude_none=True)
        return self._add_candidate(chunk.candidates[0]) if chunk.candidates else ""

    def whole(self) -> bytes:
        content = self._content | ({"parts": self._parts} if self._parts else {})
        candidate = self._candidate | ({"content": content} if content else {})
        return json.dumps(self._top | {"candidates": [candidate] if candidate else []}).encode()

    def _add_candidate(self, candidate: _Candidate) -> str:
        content = candidate.content or {}
        parts = parts_of(content)
        self._candidate |= candidate.model_dump(exclude={"content"}, exclude_none=True)
        self._content |= content
        for part in parts:
            self._add_part(part)
        return "".join(part["text"] for part in parts if isinstance(part.get("text"), str) and not part.get("thought"))

    def _add_part(self, part: JsonObject) -> None:
        """Text grows. What is signed, or holds more than text, stays a part of its own: it has to go back unchanged."""
        last = self._parts[-1] if self._parts else {}
        if _is_plain(last) and _is_plain(part) and last.get("thought") == part.get("thought"):
            last["text"] += part["text"]
        else:
            self._parts.append(part)


def _is_plain(part: JsonObject) -> bool:
    return isinstance(part.get("text"), str) and part.keys() <= {"text", "thought"}
