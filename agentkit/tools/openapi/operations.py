"""The operations of an OpenAPI document as tools: name, description, one schema for all that goes into a call."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from agentkit.tools.base import OnUnknown, ToolSpec
from agentkit.tools.openapi.document import OpenApiDocument, Unusable
from agentkit.tools.openapi.parameters import Parameter, Place, styled
from agentkit.tools.openapi.schemas import stand_alone
from agentkit.transcript import JsonObject

if TYPE_CHECKING:
    from jsonschema import Draft202012Validator

#: The argument that holds the body.
BODY = "body"
#: A model could not make anything of more.
_LARGEST_SCHEMA_BYTES = 128 * 1024
_DESCRIPTION_LENGTH = 1_024
_NAME_LENGTH = 64
_READS = frozenset(("get", "head"))
#: HTTP promises that making them twice is making them once.
_IDEMPOTENT = frozenset(("put", "delete"))
#: Headers that are ours to send, or nobody's.
_OUR_HEADERS = frozenset(
    (
        *("accept", "accept-encoding", "content-length", "content-type", "idempotency-key", "user-agent"),
        *("authorization", "cookie", "proxy-authorization"),
        *("connection", "expect", "host", "te", "trailer", "transfer-encoding", "upgrade"),
    )
)
#: What the name of a header may hold.
HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_ILLEGAL = re.compile(r"[^A-Za-z0-9_-]+")
_PLACEHOLDER = re.compile(r"\{([^{}]*)\}")
_JSON_TYPE = re.compile(r"application/(?:[^;]+\+)?json(?:\s*;.*)?", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Operation:
    """An operation that is a tool."""

    spec: ToolSpec
    #: In upper case.
    method: str
    base_url: str
    #: With `{name}` where a parameter stands.
    path: str
    parameters: tuple[Parameter, ...]
    #: Of the JSON body; None when it takes none.
    media_type: str | None
    #: Checks the arguments; kept, since to make one takes longer than to use it.
    validator: Draft202012Validator = field(repr=False, compare=False)

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


@dataclass(frozen=True, slots=True)
class SkippedOperation:
    """An operation that cannot be a tool."""

    name: str
    reason: str


@dataclass(frozen=True, slots=True)
class Hidden:
    """Names (in lower case) of what the developer sends along, which a model never sees."""

    headers: frozenset[str]
    query: frozenset[str]

    def hides(self, place: Place, name: str) -> bool:
        match place:
            case Place.header:
                return name.lower() in self.headers | _OUR_HEADERS
            case Place.query:
                return name.lower() in self.query
            case Place.path:
                return False


def name_of(method: str, path: str, operation: Mapping[str, Any]) -> str:
    """The operation's id, or method and path, as a name that every vendor takes."""
    given = operation.get("operationId")
    name = _ILLEGAL.sub("_", given if isinstance(given, str) and given.strip() else f"{method} {path}").strip("_-")
    if len(name) <= _NAME_LENGTH:
        return name or method
    return f"{name[: _NAME_LENGTH - 9]}_{sha256(name.encode()).hexdigest()[:8]}"


def read_operation(
    document: OpenApiDocument, method: str, path: str, operation: Mapping[str, Any], hidden: Hidden
) -> Operation:
    """Raises:
    Unusable: it cannot be a tool.
    """
    if not path.startswith("/") or any(part in (".", "..") for part in path.split("/")) or {*path} & {*"?#\\"}:
        raise Unusable("its path is none that can be called")
    given = _parameters(document, operation, hidden)
    media_type, body, body_required = _body(document, operation)
    parameters = _named(given, taken={BODY} if media_type is not None else set())
    placed = {parameter.name for parameter in parameters if parameter.place is Place.path}
    if missing := set(_PLACEHOLDER.findall(path)) - placed:
        raise Unusable(f"its path needs {sorted(missing)[0]!r}, which is no parameter of it")
    schemas = {each.argument: _schema_of(source) for each, source in zip(parameters, given, strict=True)}
    required = [
        each.argument
        for each, source in zip(parameters, given, strict=True)
        if each.place is Place.path or source.get("required") is True
    ]
    if media_type is not None:
        schemas[BODY] = body
        required += [BODY] if body_required else []
    schema = _arguments_schema(document, schemas, required)
    return Operation(
        spec=ToolSpec(
            name=name_of(method, path, operation),
            description=_description(method, path, operation),
            parameters=schema,
            side_effect=method not in _READS,
            on_unknown=OnUnknown.retry if method in _IDEMPOTENT else OnUnknown.ask,
        ),
        method=method.upper(),
        base_url=document.base_of(operation),
        path=path,
        parameters=tuple(parameters),
        media_type=media_type,
        validator=_validator(schema),
    )


def _parameters(document: OpenApiDocument, operation: Mapping[str, Any], hidden: Hidden) -> list[Mapping[str, Any]]:
    """The parameter objects that a model is asked for; those of the operation stand in for those of its path."""
    found: dict[tuple[str, str], Mapping[str, Any]] = {}
    for each in operation["parameters"]:
        parameter = document.resolved(each)
        name, place = parameter.get("name"), str(parameter.get("in"))
        is_placed = place in (*Place, "cookie")
        if not isinstance(name, str) or not is_placed or (place == "header" and not HEADER_NAME.fullmatch(name)):
            raise Unusable(f"one of its parameters is none: {each!r:.200}")
        if place == "cookie":
            if parameter.get("required") is True:
                raise Unusable(f"it needs the cookie {name!r}")
        elif not hidden.hides(Place(place), name):
            found[place, name] = parameter
    return list(found.values())


def _body(document: OpenApiDocument, operation: Mapping[str, Any]) -> tuple[str | None, object, bool]:
    """Media type, schema, and whether it is required; no media type when there is no JSON body to send."""
    if (body := operation.get("requestBody")) is None:
        return None, None, False
    body = document.resolved(body)
    content = body.get("content")
    required = body.get("required") is True
    for media_type, described in content.items() if isinstance(content, Mapping) else ():
        media_type = str(media_type)
        if media_type in ("*/*", "application/*") or _JSON_TYPE.fullmatch(media_type):
            sent = "application/json" if "*" in media_type else media_type
            return sent, _schema_of(document.resolved(described)), required
    if required:
        raise Unusable(f"its body is no JSON: {', '.join(map(str, content or ())) or 'nothing is said of it'}")
    return None, None, False


def _named(given: Sequence[Mapping[str, Any]], taken: set[str]) -> list[Parameter]:
    """The parameters, each under an argument name of its own: `id`, and `id_in_query` where both are there."""
    parameters: list[Parameter] = []
    for source in given:
        place, name = Place(source["in"]), source["name"]
        style, explode = styled(place, source)
        argument = legal = _ILLEGAL.sub("_", name).strip("_-")[:48] or place.value
        if argument in taken:
            argument = legal = f"{legal}_in_{place}"
        number = 1
        while argument in taken:
            number += 1
            argument = f"{legal}_{number}"
        taken.add(argument)
        parameters.append(Parameter(argument, name, place, style, explode, as_json="content" in source))
    return parameters


def _schema_of(described: Mapping[str, Any]) -> object:
    """The schema of a parameter or a media type, with the description that stands beside it."""
    content = described.get("content")
    if isinstance(content, Mapping) and content:
        inner = next(iter(content.values()))
        schema = inner.get("schema", {}) if isinstance(inner, Mapping) else {}
    else:
        schema = described.get("schema", {})
    text = described.get("description")
    if isinstance(text, str) and isinstance(schema, Mapping) and "$ref" not in schema:
        return {**schema, "description": schema.get("description", text)}
    return schema


def _arguments_schema(document: OpenApiDocument, schemas: Mapping[str, object], required: list[str]) -> JsonObject:
    properties, definitions = stand_alone(document, schemas)
    schema: JsonObject = {"type": "object", "properties": properties, "additionalProperties": False}
    if required:
        schema["required"] = required
    if definitions:
        schema["$defs"] = definitions
    try:
        text = json.dumps(schema, allow_nan=False)
        if len(text) > _LARGEST_SCHEMA_BYTES:
            raise Unusable(f"its schema has {len(text)} bytes, more than {_LARGEST_SCHEMA_BYTES}")
        # A copy: the document is the caller's.
        written: JsonObject = json.loads(text)
    except (TypeError, ValueError, RecursionError) as error:
        raise error if isinstance(error, Unusable) else Unusable(f"its schema is no JSON: {error!s:.200}") from error
    return written


def _validator(schema: JsonObject) -> Draft202012Validator:
    # Imported on first use: most agents have no tools that need it.
    from jsonschema import Draft202012Validator
    from referencing import Registry

    # An empty registry: nothing is fetched.
    registry: Registry[bool | Mapping[str, Any]] = Registry()
    return Draft202012Validator(schema, registry=registry)


def _description(method: str, path: str, operation: Mapping[str, Any]) -> str:
    said = [operation.get(key) for key in ("summary", "description")]
    text = "\n\n".join(dict.fromkeys(each.strip() for each in said if isinstance(each, str) and each.strip()))
    text = text or f"{method.upper()} {path}"
    return text if len(text) <= _DESCRIPTION_LENGTH else f"{text[: _DESCRIPTION_LENGTH - 1]}…"
