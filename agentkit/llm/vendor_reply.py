"""Reading a vendor's reply: JSON of the promised shape, or `MalformedReply`."""

from __future__ import annotations

from typing import TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import from_json

from agentkit.errors import MalformedReply
from agentkit.transcript import JsonObject

Reply = TypeVar("Reply", bound=BaseModel)

_SHOWN = 80


def read_reply(provider: str, reply_type: type[Reply], body: bytes) -> Reply:
    """The body as the part of the vendor's format that we read; what we do not read is not looked at.

    Raises:
        MalformedReply: it is not JSON, or a part we read is missing or of another type.
    """
    try:
        return reply_type.model_validate_json(body)
    except ValidationError as exc:
        problem = exc.errors(include_url=False, include_context=False, include_input=False)[0]
        where = ".".join(str(step) for step in problem["loc"])
        start = body[:_SHOWN].decode("utf-8", "replace")
        raise MalformedReply(
            f"{provider} sent a reply that is not in its own format ({where or 'body'}: {problem['msg']}); "
            f"it begins {start!r}"
        ) from exc


def read_arguments(provider: str, tool: str, arguments: str | JsonObject | None) -> JsonObject:
    """The arguments of a tool call, which some vendors write as JSON in a string.

    Nothing at all means no arguments. Anything else than a JSON object is the model's slip, not the vendor's; still
    it is raised, and not passed on as a call, because no tool could be called with it. The message is written for
    the model as well: a planner may show it as an observation, or the same question may simply be asked again.

    Raises:
        MalformedReply: they are not a JSON object.
    """
    if isinstance(arguments, dict):
        return arguments
    if arguments is None or not arguments.strip():
        return {}
    try:
        value = from_json(arguments, allow_inf_nan=False)
    except ValueError as exc:
        raise MalformedReply(f"{_not_an_object(provider, tool, arguments)}: {exc}") from exc
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise MalformedReply(_not_an_object(provider, tool, arguments))
    return value


def _not_an_object(provider: str, tool: str, arguments: str) -> str:
    shown = arguments if len(arguments) <= _SHOWN else f"{arguments[:_SHOWN]}…"
    return f"the model of {provider} called {tool!r} with arguments that are not a JSON object ({shown!r})"
