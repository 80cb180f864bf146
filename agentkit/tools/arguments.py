"""What is wrong with the arguments of a call, by the schema of its tool, before the tool itself is asked."""

from __future__ import annotations

import re
from collections.abc import Mapping
from itertools import islice
from typing import Any

from agentkit.tools.base import ToolSpec
from agentkit.transcript import JsonObject

#: Wrong arguments that one message names, and characters of what is told of each.
_PROBLEMS_NAMED = 10
_PROBLEM_LENGTH = 300


def misfit(spec: ToolSpec, arguments: JsonObject) -> str | None:
    """What the model is told of arguments that break the schema; None when they fit, or when nobody but the tool can
    say: a schema may come from a server, in a dialect of its own."""
    # Imported on first use: most agents have nothing to be approved.
    from jsonschema import Draft202012Validator, SchemaError
    from referencing import Registry
    from referencing.exceptions import Unresolvable

    # An empty registry: a `$ref` to the network must not be followed.
    registry: Registry[bool | Mapping[str, Any]] = Registry()
    try:
        Draft202012Validator.check_schema(spec.parameters)
        validator = Draft202012Validator(spec.parameters, registry=registry)
        problems = [
            _told(list(error.absolute_path), error.message)
            for error in islice(validator.iter_errors(arguments), _PROBLEMS_NAMED)
        ]
    except (SchemaError, Unresolvable, RecursionError, re.error):
        return None
    return f"Wrong arguments for {spec.name!r}: {'; '.join(problems)}." if problems else None


def _told(path: list[str | int], message: str) -> str:
    short = message if len(message) <= _PROBLEM_LENGTH else f"{message[:_PROBLEM_LENGTH]}…"
    return f"argument {'.'.join(map(str, path))!r}: {short}" if path else short
