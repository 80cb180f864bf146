"""JSON that people type: as it is, or `@` and the file it stands in."""

from __future__ import annotations

import json

from ops_core.cli.refusals import CommandRefused
from ops_core.cli.task_arguments import read_text
from ops_core.domain.task import JsonObject, JsonValue


def json_of(argument: str, *, option: str) -> JsonValue:
    """The JSON in the argument; `@file` is what the file holds, `@-` stdin.

    Raises:
        CommandRefused: it is none, or the file cannot be read.
    """
    text = read_text(argument[1:]) if argument.startswith("@") else argument
    try:
        return json.loads(text)
    except (json.JSONDecodeError, RecursionError) as error:
        raise CommandRefused(
            f"{option} is not JSON: {error}", advice="""JSON such as '{"amount": 60}' or '"text"', or @file"""
        ) from error


def object_of(argument: str, *, option: str) -> JsonObject:
    """As `json_of`, for an object."""
    value = json_of(argument, option=option)
    if not isinstance(value, dict):
        raise CommandRefused(f"{option} is not a JSON object", advice="""an object such as '{"amount": 60}'""")
    return value
