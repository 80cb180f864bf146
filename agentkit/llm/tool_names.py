"""Names that every vendor accepts for names they would refuse, and back, within one request."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from hashlib import sha256

from agentkit.tools.base import ToolSpec
from agentkit.transcript import AssistantMessage, Message, ToolMessage

#: The strictest common rule: OpenAI and Anthropic allow these characters, Gemini also wants no digit in front.
_LEGAL = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")
_ILLEGAL_RUN = re.compile(r"[^A-Za-z0-9_-]+")
_LONGEST_NAME = 64


class LegalNames:
    """A two-way mapping between our names and names that are legal on the wire.

    A legal name stays as it is; `server.tool` becomes `server__tool`. No two names share a wire name: where two
    would, all but one get a hash of the name. The mapping depends on the set of names, not on their order.
    """

    def __init__(self, names: Iterable[str], *, longest: int = _LONGEST_NAME) -> None:
        self._to_wire: dict[str, str] = {}
        self._from_wire: dict[str, str] = {}
        # Legal names first: they must be found free.
        for name in sorted(set(names), key=lambda name: (not _is_legal(name, longest), name)):
            wire = next(wire for wire in _candidates(name, longest) if wire not in self._from_wire)
            self._to_wire[name] = wire
            self._from_wire[wire] = name

    def to_wire(self, name: str) -> str:
        """The legal name of one of the names given.

        Raises:
            KeyError: it was not among the names given.
        """
        return self._to_wire[name]

    def from_wire(self, wire: str) -> str:
        """Our name for it; the name itself when the model made it up."""
        return self._from_wire.get(wire, wire)


def tool_names(messages: Sequence[Message], tools: Sequence[ToolSpec]) -> LegalNames:
    """The mapping for one request: the tools offered, and those called earlier in the conversation."""
    names = [tool.name for tool in tools]
    for message in messages:
        match message:
            case AssistantMessage(tool_calls=calls):
                names += [call.name for call in calls]
            case ToolMessage(results):
                names += [result.name for result in results]
            case _:
                pass
    return LegalNames(names)


def call_ids(messages: Sequence[Message], *, longest: int) -> LegalNames:
    """The same mapping for the ids of tool calls, since another vendor may have made them."""
    ids: list[str] = []
    for message in messages:
        match message:
            case AssistantMessage(tool_calls=calls):
                ids += [call.id for call in calls]
            case ToolMessage(results):
                ids += [result.call_id for result in results]
            case _:
                pass
    return LegalNames(ids, longest=longest)


def _is_legal(name: str, longest: int) -> bool:
    return len(name) <= longest and _LEGAL.fullmatch(name) is not None


def _candidates(name: str, longest: int) -> Iterator[str]:
    """Legal names for this one, the most readable first."""
    wire = _ILLEGAL_RUN.sub("__", name)
    if not _LEGAL.fullmatch(wire):
        wire = f"_{wire}"
    if len(wire) <= longest:
        yield wire
    digest = sha256(name.encode("utf-8", "surrogatepass")).hexdigest()
    for digits in range(8, longest - 1):
        yield f"{wire[: longest - digits - 1]}_{digest[:digits]}"
