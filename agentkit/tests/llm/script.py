"""What a fake model is told to do next, in words that every vendor's wire format can render."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Literal, TypeAlias

from agentkit.tests.llm.http_server import Reply

Json: TypeAlias = dict[str, Any]


@dataclass(frozen=True)
class Say:
    """Answer with text."""

    text: str = "Hello"
    #: The limit on output tokens cut it short.
    cut_short: bool = False
    #: Carry what the vendor wants back unchanged: thinking, signatures.
    signed: bool = False


@dataclass(frozen=True)
class Call:
    """Call tools, by the names seen on the wire."""

    calls: tuple[tuple[str, Json], ...]
    text: str = ""
    signed: bool = False
    cut_short: bool = False
    #: Leave the ids out, as some servers do.
    without_ids: bool = False
    #: What OpenAI's format carries as a string; None renders the arguments properly.
    raw_arguments: str | None = None


class Fault(StrEnum):
    """What a vendor may complain about; each wire format says it in its own way."""

    bad_key = "bad_key"
    no_credit = "no_credit"
    rate_limited = "rate_limited"
    too_long = "too_long"
    bad_request = "bad_request"
    unknown_model = "unknown_model"
    server_error = "server_error"
    unavailable = "unavailable"
    overloaded = "overloaded"


@dataclass(frozen=True)
class Fail:
    fault: Fault
    message: str = "no"
    headers: Mapping[str, str] = field(default_factory=dict)
    #: Said in the body, where the vendor does that.
    retry_delay_seconds: float | None = None


@dataclass(frozen=True)
class Refuse:
    """Decline to answer, with status 200."""


@dataclass(frozen=True)
class Blank:
    """Answer in the right format, with nothing in it."""


@dataclass(frozen=True)
class Broken:
    """Begin to stream, and break off before the end mark."""

    step: Say | Call = Say("Once upon a time there was a king.")
    #: How many of the last events do not come.
    missing: int = 2
    #: What happens instead: hang up in the middle, end in good order, or say no more.
    how: Literal["cut", "end", "stall"] = "cut"


@dataclass(frozen=True)
class FailWhileStreaming:
    """Begin to answer with status 200, and report an error in the middle."""

    fault: Fault = Fault.overloaded
    message: str = "no"


Step: TypeAlias = Say | Call | Fail | Refuse | Blank | Broken | FailWhileStreaming | Reply
#: What is answered in the vendor's own format.
Answer: TypeAlias = Say | Call | Refuse | Blank


@dataclass(frozen=True)
class Asked:
    """One request that passed the vendor's checks."""

    vendor: str
    model: str
    body: Json
    headers: dict[str, str]
    #: The parameters of each tool offered, by its name on the wire.
    tools: dict[str, Json]
    #: Contents of the tool results since the last thing the user said, in order.
    results: tuple[str, ...]
    #: The answer is wanted piece by piece.
    stream: bool = False
    #: What the answer is to be held to.
    output_schema: Json | None = None
    #: The images and files of the conversation: their content in base64 (perhaps as a URL that holds it), or their URL.
    attachments: tuple[str, ...] = ()


class Rejected(Exception):
    """The vendor would not accept this request."""

    def __init__(self, message: str, fault: Fault = Fault.bad_request) -> None:
        super().__init__(message)
        self.fault = fault


def require(condition: object, message: str, fault: Fault = Fault.bad_request) -> None:
    if not condition:
        raise Rejected(message, fault)


def only(body: Json, allowed: set[str], where: str) -> None:
    unknown = body.keys() - allowed
    require(not unknown, f"{where}: unknown field {sorted(unknown)}")


_REACT_MODEL = re.compile(
    r"react-(?P<steps>\d+)(-delay-(?P<delay_ms>\d+))?(-words-(?P<words>\d+))?(-piece-(?P<piece_ms>\d+))?"
)


@dataclass(frozen=True)
class Paced:
    """What to answer, and how slowly."""

    step: Say | Call
    delay_seconds: float = 0.0
    #: Before each piece, when the answer is streamed.
    piece_delay_seconds: float = 0.0


def react_step(asked: Asked) -> Paced | None:
    """What the model `react-<steps>[-delay-<ms>][-words-<n>][-piece-<ms>]` does; None for other models.

    It calls the first tool that many times, one call an answer, then sums up, in so many words if it is told how
    many. It decides from the messages it was sent alone, so any number of conversations may go on at once, over any
    number of servers.
    """
    matched = _REACT_MODEL.fullmatch(asked.model)
    if matched is None:
        return None
    delays = int(matched["delay_ms"] or 0) / 1000, int(matched["piece_ms"] or 0) / 1000
    steps, done = int(matched["steps"]), len(asked.results)
    if done >= steps or not asked.tools:
        last = f": {asked.results[-1]}" if asked.results else ""
        words = "".join(f" w{number}" for number in range(int(matched["words"] or 0)))
        return Paced(Say(f"Done after {done} steps{last}{words}"), *delays)
    name, schema = next(iter(asked.tools.items()))
    return Paced(Call(((name, sample_arguments(schema, done + 1)),)), *delays)


def in_pieces(text: str) -> list[str]:
    """A text word by word."""
    return re.findall(r"\s*\S+|\s+", text)


def sample_arguments(schema: Json, number: int) -> Json:
    """Arguments that fit a plain schema: the required ones, told apart by the number of the step."""
    properties: Json = schema.get("properties", {})
    return {name: _sample(properties.get(name, {}), number) for name in schema.get("required", ())}


def _sample(schema: Json, number: int) -> Any:
    if "default" in schema:
        return schema["default"]
    if schema.get("enum"):
        return schema["enum"][0]
    samples: Json = {"integer": number, "number": number, "boolean": True, "array": [], "object": {}, "null": None}
    return samples.get(schema.get("type", "string"), f"step {number}")
