"""A recording of model calls: a JSON Lines file with one call a line, and which of them a request is."""

from __future__ import annotations

import hashlib
import json
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from agentkit.errors import ConfigurationError, LlmError
from agentkit.journal import fingerprint
from agentkit.llm.wrapper import LlmCall
from agentkit.transcript import JsonObject, message_to_json

#: Makes a text one that may be kept. What it has made once must stay the same when it sees it again.
Redact: TypeAlias = Callable[[str], str]

_FORM = 1
#: Fields of our own form, in which there is nothing that somebody wrote.
_STAYS = frozenset({"role", "stop", "id", "call_id", "name", "provider", "model", "code"})
#: Fields whose value may have fields of any name.
_FREE = frozenset({"arguments", "parameters", "output_schema", "attachments"})
#: Characters shown on either side of where two texts part.
_SHOWN = 40


@dataclass(frozen=True, slots=True)
class RecordedCall:
    """One line of a recording."""

    line: int
    body: JsonObject

    @property
    def fingerprint(self) -> str:
        return str(self.body["fingerprint"])

    @property
    def request(self) -> JsonObject:
        request: JsonObject = self.body["request"]
        return request


class Cassette:
    """The calls of one recording, each found once; those of the same request in the order in which they were made."""

    def __init__(self, path: Path) -> None:
        """
        Raises:
            ConfigurationError: there is no such file, or it is not a recording.
        """
        self.path = path
        self.calls = tuple(_read(path))
        self._left: dict[str, deque[RecordedCall]] = {}
        for call in self.calls:
            self._left.setdefault(call.fingerprint, deque()).append(call)

    def next_for(self, request: JsonObject) -> RecordedCall:
        """The next recorded call of this request.

        Raises:
            LlmError: there is none, or none is left; the message names the nearest one, and what differs.
        """
        name = fingerprint(request)
        left = self._left.get(name)
        if left:
            return left.popleft()
        if left is not None:
            made = [call.line for call in self.calls if call.fingerprint == name]
            raise LlmError(f"this request is line {_listed(made)} of {self.path.name} and was replayed already")
        nearest, difference = _nearest(request, self.calls)
        raise LlmError(
            f"nothing in {self.path.name} answers this request; the nearest is line {nearest.line}, but {difference}"
        )


def request_of(call: LlmCall, redact: Redact | None = None) -> JsonObject:
    """What of a call is recorded, and makes it the same call.

    Not what a vendor wants back unchanged (it repeats the text in the vendor's own words), and of attachments only a
    hash of the content.
    """
    request: JsonObject = {
        "messages": [_shortened(message_to_json(message)) for message in call.messages],
        "tools": [
            {"name": tool.name, "description": tool.description, "parameters": tool.parameters} for tool in call.tools
        ],
        "output_schema": call.output_schema,
    }
    return request if redact is None else redacted(request, redact)


def redacted(body: JsonObject, redact: Redact) -> JsonObject:
    """The same with each of its texts made one that may be kept; roles, ids and names of tools and models stay."""
    return {key: value if key in _STAYS else _redacted(value, redact, key in _FREE) for key, value in body.items()}


def append_call(path: Path, *, request: JsonObject, **body: Any) -> None:
    """Write one call at the end of the recording."""
    line = {"form": _FORM, "fingerprint": fingerprint(request), **body, "request": request}
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")


def _shortened(message: JsonObject) -> JsonObject:
    kept = {key: value for key, value in message.items() if key != "vendor"}
    if "attachments" in kept:
        kept["attachments"] = [
            {key: _digest(value) if key == "data" else value for key, value in attachment.items()}
            for attachment in kept["attachments"]
        ]
    return kept


def _digest(data: str) -> str:
    return f"sha256:{hashlib.sha256(data.encode()).hexdigest()}" if data else ""


def _redacted(value: Any, redact: Redact, is_free: bool) -> Any:
    match value:
        case str():
            return redact(value)
        case list():
            return [_redacted(each, redact, is_free) for each in value]
        case dict() if is_free:
            return {key: _redacted(each, redact, is_free) for key, each in value.items()}
        case dict():
            return redacted(value, redact)
        case _:
            return value


def _read(path: Path) -> Iterator[RecordedCall]:
    try:
        lines = path.read_text(encoding="utf-8").strip().split("\n")
    except OSError as error:
        raise ConfigurationError(f"there is no recording {path}: {error.strerror}") from error
    if lines == [""]:
        raise ConfigurationError(f"the recording {path} is empty")
    for number, line in enumerate(lines, 1):
        try:
            call = RecordedCall(number, json.loads(line))
            if call.body["form"] != _FORM or not call.fingerprint or not call.request["messages"]:
                raise ValueError("another form")
        except (ValueError, KeyError, TypeError) as error:
            raise ConfigurationError(f"line {number} of {path} is not a recorded call: {error!r}") from error
        yield call


def _listed(lines: Sequence[int]) -> str:
    return " and ".join(map(str, lines))


def _nearest(request: JsonObject, calls: Sequence[RecordedCall]) -> tuple[RecordedCall, str]:
    """The call most like this request, and the first thing in which it differs."""
    nearest = max(calls, key=lambda call: _likeness(request, call.request))
    return nearest, _difference(request, nearest.request)


def _likeness(asked: JsonObject, recorded: JsonObject) -> tuple[int, float, int]:
    """How many messages are the same at the beginning, how alike the next one is, and how many of the rest is."""
    from difflib import SequenceMatcher

    ours, theirs = asked["messages"], recorded["messages"]
    same = _same_at_the_beginning(ours, theirs)
    one, other = (json.dumps(messages[same : same + 1]) for messages in (ours, theirs))
    rest = sum(asked[key] == recorded[key] for key in ("tools", "output_schema"))
    return same, SequenceMatcher(None, one, other, autojunk=False).quick_ratio(), rest


def _difference(asked: JsonObject, recorded: JsonObject) -> str:
    ours, theirs = asked["messages"], recorded["messages"]
    same = _same_at_the_beginning(ours, theirs)
    if same < min(len(ours), len(theirs)):
        return f"its message {same + 1} {_parting(theirs[same], ours[same])}"
    if len(ours) != len(theirs):
        return f"it has {len(theirs)} messages, and this one has {len(ours)}"
    if asked["tools"] != recorded["tools"]:
        return f"its list of tools {_parting(recorded['tools'], asked['tools'])}"
    return f"its output schema {_parting(recorded['output_schema'], asked['output_schema'])}"


def _same_at_the_beginning(ours: Sequence[Any], theirs: Sequence[Any]) -> int:
    pairs = enumerate(zip(ours, theirs, strict=False))
    return next((index for index, (one, other) in pairs if one != other), min(len(ours), len(theirs)))


def _parting(recorded: Any, asked: Any) -> str:
    """Both texts, around the place where they part."""
    one, other = (json.dumps(each, ensure_ascii=False, sort_keys=True) for each in (recorded, asked))
    start = max(_same_at_the_beginning(one, other) - _SHOWN, 0)
    shown = [f"{'…' if start else ''}{text[start : start + 2 * _SHOWN]}" for text in (one, other)]
    return f"was recorded as {shown[0]} and is now {shown[1]}"
