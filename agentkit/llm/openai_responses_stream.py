"""Reads the events of a streamed response, the last of which holds all of it."""

from __future__ import annotations

import json

from pydantic import BaseModel

from agentkit.llm.openai_responses_format import PROVIDER
from agentkit.llm.server_sent_events import ServerSentEvent
from agentkit.llm.vendor_reply import read_reply
from agentkit.transcript import JsonObject

_LAST = frozenset({"response.completed", "response.incomplete", "response.failed"})


class _Event(BaseModel):
    type: str = ""
    #: Of text.
    delta: str | JsonObject | None = None
    response: JsonObject | None = None
    #: Of an event `error`, which stands in for the last one.
    code: str | None = None
    message: str | None = None
    error: JsonObject | None = None


class ResponsePieces:
    """The events of one response."""

    def __init__(self) -> None:
        self._whole: JsonObject | None = None

    @property
    def ended(self) -> bool:
        return self._whole is not None

    @property
    def complete(self) -> bool:
        return self._whole is not None

    def add(self, event: ServerSentEvent) -> str:
        if event.data.strip() == b"[DONE]":
            return ""
        read = read_reply(PROVIDER, _Event, event.data)
        if read.type in _LAST and read.response is not None:
            self._whole = read.response
        elif read.type == "error" or event.name == "error":
            error = read.error or {"code": read.code, "message": read.message}
            self._whole = {"status": "failed", "error": error}
        if read.type == "response.output_text.delta" and isinstance(read.delta, str):
            return read.delta
        return ""

    def whole(self) -> bytes:
        return json.dumps(self._whole).encode()
