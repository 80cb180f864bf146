"""What the model is told of a call: its result, as much as is shown of it, or what went wrong."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass

from agentkit.tools.base import ToolSpec
from agentkit.transcript import JsonObject, JsonValue

#: Characters of an exception's message that the model is shown.
_MESSAGE_LENGTH = 2_000
#: Tool names listed for a model that asked for one that does not exist.
_NAMES_LISTED = 50


@dataclass(frozen=True, slots=True)
class Observation:
    """What the model is told of a call."""

    content: str
    is_error: bool = False
    #: Why there is no result of the tool, as a stable code.
    error: str | None = None


def no_such_tool(name: str, offered: Iterable[str]) -> str:
    """The tool does not exist; these do."""
    names = sorted(offered)
    if not names:
        return f"There is no tool named {name!r}; no tools are available. Answer without one."
    more = f" and {len(names) - _NAMES_LISTED} more" if len(names) > _NAMES_LISTED else ""
    return f"There is no tool named {name!r}. The tools are: {', '.join(names[:_NAMES_LISTED])}{more}."


def doubt(spec: ToolSpec) -> str:
    """What there is to add about a call that was broken off."""
    return " It may or may not have taken effect." if spec.side_effect else ""


def not_allowed(name: str, reason: str, *, begun: bool) -> str:
    """The policy said no; an earlier try may have been made when it still said yes."""
    return f"The call of {name!r} was not allowed: {reason}.{earlier_try(begun)}"


def rejected(name: str, why: str, *, begun: bool) -> str:
    """No person said yes."""
    return f"The call of {name!r} {why}.{earlier_try(begun)}"


def earlier_try(begun: bool) -> str:
    """What there is to add about a call that is not made, when a process that died may have made it."""
    return " An earlier try of it was begun and may have taken effect." if begun else ""


def unknown_outcome(name: str) -> str:
    """The call was begun, and the process died before its outcome was recorded."""
    return f"The outcome of the call of {name!r} is unknown: it was begun, and may or may not have taken effect."


def of_edited_call(arguments: JsonObject, content: str) -> str:
    """What came of a call that a person has changed: the model must know what was called."""
    return f"A person changed the arguments of this call to {as_text(arguments)}. What came of it:\n{content}"


def as_text(value: JsonValue) -> str:
    """A text as it is, anything else as JSON."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def said_by(error: BaseException) -> str:
    """The type and the message of an exception of foreign code, whose message may itself be broken or endless."""
    try:
        message = str(error)
    except Exception:  # noqa: BLE001  the exception is foreign code too
        message = "(its message cannot be read)"
    return f"{type(error).__name__}: {message[:_MESSAGE_LENGTH]}"


def cut_to_bytes(text: str, limit: int) -> str:
    """At most `limit` bytes of the text, on a character boundary, with a note of how much is gone.

    Characters that UTF-8 or a database cannot hold (lone surrogates, NUL) are replaced.
    """
    raw = text.replace("\x00", "\ufffd").encode("utf-8", "replace")
    if len(raw) <= limit:
        return raw.decode()
    head = raw[:limit].decode("utf-8", "ignore")
    return f"{head}\n[cut: the result is {len(raw)} bytes long, only the first {limit} are shown]"
