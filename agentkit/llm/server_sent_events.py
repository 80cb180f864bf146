"""Reads server-sent events, the form in which all vendors stream, out of bytes that may be cut anywhere."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from agentkit.errors import MalformedReply

#: One event may hold a whole tool call with its arguments, but no more than that.
LARGEST_EVENT_BYTES = 32 * 1024 * 1024
#: Only these end a line. Python's own `splitlines` also splits at characters that may stand in a model's text.
_LINE_END = re.compile(rb"\r\n|\n|\r")


@dataclass(frozen=True, slots=True)
class ServerSentEvent:
    #: What it is called; "message" when it is not said.
    name: str
    data: bytes


class ServerSentEvents:
    """Takes the bytes as they come, gives the events that are complete."""

    def __init__(self) -> None:
        #: The line that has begun, in pieces.
        self._line: list[bytes] = []
        self._after_return = False
        self._name = "message"
        self._data: list[bytes] = []
        #: Bytes held back.
        self._held = 0

    def feed(self, chunk: bytes) -> Iterator[ServerSentEvent]:
        """The events that this chunk completes. What no blank line ends is no event.

        Raises:
            MalformedReply: one of them is longer than `LARGEST_EVENT_BYTES`.
        """
        for line in self._lines(chunk):
            if line:
                self._take(line)
                continue
            event = ServerSentEvent(self._name, b"\n".join(self._data)) if self._data else None
            self._name, self._data, self._held = "message", [], 0
            if event is not None:
                yield event

    def _take(self, line: bytes) -> None:
        field, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if field == b"data":
            self._data.append(value)
            self._hold(len(value))
        elif field == b"event":
            self._name = value.decode("ascii", "replace")

    def _lines(self, chunk: bytes) -> Iterator[bytes]:
        if self._after_return and chunk.startswith(b"\n"):
            chunk = chunk[1:]  # the second half of a line end
            self._after_return = False
        if not chunk:
            return
        self._after_return = chunk.endswith(b"\r")
        *ended, rest = _LINE_END.split(chunk)
        for line in ended:
            yield b"".join((*self._line, line)) if self._line else line
            self._line = []
        if rest:
            self._line.append(rest)
            self._hold(len(rest))

    def _hold(self, size: int) -> None:
        self._held += size
        if self._held > LARGEST_EVENT_BYTES:
            raise MalformedReply(f"the reply holds an event that is longer than {LARGEST_EVENT_BYTES} bytes")
