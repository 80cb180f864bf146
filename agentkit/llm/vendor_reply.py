"""Reading a vendor's reply: JSON of the promised shape, or an error that says whose slip it is."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import from_json

from agentkit.errors import MalformedReply
from agentkit.transcript import JsonObject

Reply = TypeVar("Reply", bound=BaseModel)

_SHOWN = 80
_NOT_FINITE = re.compile(rb"NaN|Infinity")


@dataclass(frozen=True, slots=True)
class RawReply:
    """A reply with status 200, as it came."""

    body: bytes
    headers: Mapping[str, str]


class BungledCall(Exception):
    """The model, not the vendor, wrote a tool call that cannot be made; the message is meant for the model."""


def read_reply(provider: str, reply_type: type[Reply], body: bytes) -> Reply:
    """The body as the part of the vendor's format that we read; what we do not read is not looked at.

    Raises:
        MalformedReply: it is not JSON, or a part we read is missing or of another type.
    """
    try:
        if _NOT_FINITE.search(body):
            # Not JSON, though Python's parsers take it; a journal could not keep it.
            from_json(body, allow_inf_nan=False)
        return reply_type.model_validate_json(body)
    except ValidationError as exc:
        problem = exc.errors(include_url=False, include_context=False, include_input=False)[0]
        where = ".".join(str(step) for step in problem["loc"])
        start = body[:_SHOWN].decode("utf-8", "replace")
        raise MalformedReply(
            f"{provider} sent a reply that is not in its own format ({where or 'body'}: {problem['msg']}); "
            f"it begins {start!r}"
        ) from exc
    except ValueError as exc:
        raise MalformedReply(f"{provider} sent a reply that is not JSON: {exc}") from exc


def read_arguments(tool: str, arguments: str | JsonObject | None) -> JsonObject:
    """The arguments of a tool call, which some vendors write as JSON in a string. Nothing at all means no arguments.

    Raises:
        BungledCall: they are not a JSON object.
    """
    if isinstance(arguments, dict):
        return arguments
    if arguments is None or not arguments.strip():
        return {}
    try:
        value = from_json(arguments, allow_inf_nan=False)
    except ValueError as exc:
        raise BungledCall(f"{_not_an_object(tool, arguments)}: {exc}") from exc
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise BungledCall(_not_an_object(tool, arguments))
    return value


def _not_an_object(tool: str, arguments: str) -> str:
    shown = arguments if len(arguments) <= _SHOWN else f"{arguments[:_SHOWN]}…"
    return f"the arguments of {tool!r} are not a JSON object ({shown!r})"
