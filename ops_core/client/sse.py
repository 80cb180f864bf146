"""Server-sent events (WHATWG HTML, section 9.2) out of chunks of text."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from ops_core.client.errors import AnswerNotUnderstood

#: A stream whose event grows past this is not ours.
MAX_EVENT_CHARS = 32 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class ServerSentEvent:
    """One event as it is dispatched."""

    #: Its type; `message` when the stream names none.
    event: str
    data: str
    #: The last id the stream has named so far; empty when none.
    id: str


@dataclass(frozen=True, slots=True)
class ReconnectTime:
    """The server asks that reconnects be this far apart."""

    seconds: float


def parse_events(
    chunks: Iterable[str], *, max_event_chars: int = MAX_EVENT_CHARS
) -> Iterator[ServerSentEvent | ReconnectTime]:
    """Each event when the blank line that ends it has come; one that is cut off by the end of the stream is dropped.

    Raises:
        AnswerNotUnderstood: an event is over the limit.
    """
    data: list[str] = []
    event, last_id, size = "", "", 0
    for line in _lines(chunks, max_event_chars):
        size += len(line)
        if size > max_event_chars:
            raise _too_large(max_event_chars)
        if not line:
            if data:
                yield ServerSentEvent(event or "message", "\n".join(data), last_id)
            event, data, size = "", [], 0
            continue
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        match name:
            case "event":
                event = value
            case "data":
                data.append(value)
            case "id" if "\0" not in value:
                last_id = value
            case "retry" if value.isascii() and value.isdigit():
                yield ReconnectTime(int(value) / 1000)
            case _:
                pass  # a comment (its name is empty), or a field that the standard tells us to ignore


def _lines(chunks: Iterable[str], max_chars: int) -> Iterator[str]:
    """Complete lines. Only CR LF, LF and CR end one; `str.splitlines` would also split at U+2028, which JSON holds."""
    rest: list[str] = []
    held, after_cr, at_start = 0, False, True
    for chunk in chunks:
        text = chunk.removeprefix("\ufeff") if at_start else chunk
        at_start = at_start and not chunk
        if after_cr and text:
            text, after_cr = text.removeprefix("\n"), False
        if text.endswith("\r"):
            after_cr = True
        first, *others = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
        rest.append(first)
        held += len(first)
        for other in others:
            yield "".join(rest)
            rest, held = [other], len(other)
        if held > max_chars:
            raise _too_large(max_chars)


def _too_large(max_chars: int) -> AnswerNotUnderstood:
    return AnswerNotUnderstood(f"an event of the stream is over {max_chars:,} characters")
