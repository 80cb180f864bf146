"""The HTTP request that a call of an operation makes."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote

from agentkit.errors import BadToolArguments
from agentkit.tools.openapi.operations import BODY, Operation
from agentkit.tools.openapi.parameters import Place
from agentkit.transcript import JsonObject, JsonValue

if TYPE_CHECKING:
    from jsonschema import ValidationError

#: Wrong arguments that one message names, and characters of what is told of each.
_PROBLEMS_NAMED = 10
_PROBLEM_LENGTH = 300
_PLACEHOLDER = re.compile(r"\{([^{}]*)\}")
#: HTTP does not promise that these are harmless when they are made twice: the key lets the API see to it.
_WITH_KEY = frozenset(("POST", "PATCH"))


@dataclass(frozen=True, slots=True)
class ApiRequest:
    """What is sent."""

    method: str
    #: Without a query.
    url: str
    #: As it stands in the URL.
    query: str
    #: Those of this call.
    headers: dict[str, str]
    content: bytes | None


def request_of(operation: Operation, arguments: JsonObject, idempotency_key: str) -> ApiRequest:
    """The request for these arguments.

    Raises:
        BadToolArguments: they do not fit, or cannot be sent.
    """
    _require_sendable(operation, arguments)
    _require_fitting(operation, arguments)
    headers: dict[str, str] = {}
    in_path: dict[str, str] = {}
    query: list[str] = []
    for parameter in operation.parameters:
        if parameter.argument not in arguments:
            continue
        value: JsonValue = arguments[parameter.argument]
        match parameter.place:
            case Place.path:
                in_path[parameter.name] = parameter.in_path(value)
            case Place.query:
                query += parameter.in_query(value)
            case Place.header if value is not None:
                headers[parameter.name] = parameter.in_header(value)
    content = None
    if operation.media_type is not None and BODY in arguments:
        headers["Content-Type"] = operation.media_type
        content = json.dumps(arguments[BODY], ensure_ascii=False, separators=(",", ":")).encode()
    if operation.method in _WITH_KEY:
        headers["Idempotency-Key"] = quote(idempotency_key, safe=":/")
    return ApiRequest(operation.method, _url(operation, in_path), "&".join(query), headers, content)


def _require_sendable(operation: Operation, arguments: JsonObject) -> None:
    try:
        json.dumps(arguments, allow_nan=False, ensure_ascii=False).encode()
    except RecursionError as error:
        raise BadToolArguments(f"Wrong arguments for {operation.spec.name!r}: nested too deeply.") from error
    except (ValueError, TypeError) as error:
        # NaN, infinity, and text that is not valid Unicode.
        raise BadToolArguments(f"Wrong arguments for {operation.spec.name!r}: they are no JSON: {error}.") from error


def _require_fitting(operation: Operation, arguments: JsonObject) -> None:
    """Raises:
    BadToolArguments: they break the schema, as far as anybody but the API can say: it may hold a pattern that only
        JavaScript understands.
    """
    from referencing.exceptions import Unresolvable

    try:
        problems = [_told(error) for error in islice(operation.validator.iter_errors(arguments), _PROBLEMS_NAMED)]
    except (Unresolvable, RecursionError, re.error):
        return
    if problems:
        raise BadToolArguments(f"Wrong arguments for {operation.spec.name!r}: {'; '.join(problems)}.")


def _told(error: ValidationError) -> str:
    text = error.message if len(error.message) <= _PROBLEM_LENGTH else f"{error.message[:_PROBLEM_LENGTH]}…"
    path = ".".join(map(str, error.absolute_path))
    return f"argument {path!r}: {text}" if path else text


def _url(operation: Operation, in_path: dict[str, str]) -> str:
    """Raises:
    BadToolArguments: the values lead to another path than that of the operation.
    """
    path = _PLACEHOLDER.sub(lambda match: in_path[match[1]], operation.path)
    # Also within one segment: some servers decode before they split.
    for part in re.split(r"[/\\]", unquote(path)):
        if part in (".", ".."):
            raise BadToolArguments(f"Wrong arguments for {operation.spec.name!r}: a path must not hold {part!r}.")
    return operation.base_url + path
