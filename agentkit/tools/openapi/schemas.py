"""Schemas of an OpenAPI document as JSON Schema that stands alone: references within it, nothing of OpenAPI's own."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from agentkit.tools.openapi.document import OpenApiDocument, Unusable
from agentkit.transcript import JsonObject

#: Schemas within schemas, before and after references are written out. Past the first, each becomes a definition.
_MOST_NODES_INLINE = 1_500
_MOST_NODES = 20_000
_DEEPEST = 60

_ONE = frozenset(
    (
        *("items", "contains", "unevaluatedItems", "additionalProperties", "propertyNames", "unevaluatedProperties"),
        *("not", "if", "then", "else", "contentSchema"),
    )
)
_SEVERAL = frozenset(("allOf", "anyOf", "oneOf", "prefixItems"))
_NAMED = frozenset(("properties", "patternProperties", "dependentSchemas"))
#: What a model needs not, and what only means something in the document.
_DROPPED = frozenset(
    (
        *("$schema", "$comment", "$vocabulary", "$defs", "definitions", "dependencies"),
        *("discriminator", "xml", "externalDocs", "example", "nullable", "readOnly", "writeOnly"),
    )
)
#: They change what a `$ref` points to.
_REFUSED = frozenset(("$id", "$anchor", "$dynamicRef", "$dynamicAnchor", "$recursiveRef", "$recursiveAnchor"))
_ANNOTATIONS = frozenset(("title", "description", "default", "examples", "deprecated"))
_ILLEGAL = re.compile(r"[^A-Za-z0-9_.-]+")
_TYPES = frozenset(("array", "boolean", "integer", "null", "number", "object", "string"))
_COUNTS = tuple(f"{bound}{of}" for bound in ("min", "max") for of in ("Length", "Items", "Properties", "Contains"))
_TEXTS = ("title", "description", "pattern", "format", "contentEncoding", "contentMediaType")
_BOUNDS = ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum")


class _TooLarge(Unusable):
    """Written out, the schemas are too large or too deep."""


def stand_alone(document: OpenApiDocument, schemas: Mapping[str, object]) -> tuple[JsonObject, JsonObject]:
    """The schemas by the same names, and the definitions they refer to by `#/$defs/…`.

    References are written out, except those that lead back to themselves, and all of them where that would be large.

    Raises:
        Unusable: a schema is none, refers outside the document, or is too large.
    """
    kept: frozenset[str] | None = frozenset()
    while True:
        writer = _Writer(document, kept)
        try:
            written = {name: writer.write(schema) for name, schema in schemas.items()}
            writer.write_definitions()
        except _TooLarge:
            if kept is None:
                raise
            kept = None
            continue
        if not writer.recursive:
            return written, writer.definitions
        kept = (kept or frozenset()) | writer.recursive


class _Writer:
    def __init__(self, document: OpenApiDocument, kept: frozenset[str] | None) -> None:
        """`kept` are the references that become definitions; None for all."""
        self._document = document
        self._kept = kept
        self._nodes = 0
        #: References that were found within what they lead to, and have not been kept.
        self.recursive: set[str] = set()
        self.definitions: JsonObject = {}
        self._names: dict[str, str] = {}
        self._unwritten: list[str] = []

    def write(self, schema: object, within: tuple[str, ...] = (), depth: int = 0) -> Any:
        self._nodes += 1
        if depth > _DEEPEST or self._nodes > (_MOST_NODES if self._kept is None else _MOST_NODES_INLINE):
            raise _TooLarge("its schema is too large or nested too deeply")
        if isinstance(schema, bool):
            return schema
        if not isinstance(schema, Mapping):
            raise Unusable(f"{schema!r:.200} stands where a schema should")
        if "$ref" in schema:
            return self._referred(schema, within, depth)
        if refused := sorted(_REFUSED & schema.keys()):
            raise Unusable(f"its schema uses {refused[0]}, which is not supported")
        written = {
            key: self._keyword(key, value, within, depth)
            for key, value in schema.items()
            if isinstance(key, str) and key not in _DROPPED and not key.startswith("x-")
        }
        if "example" in schema:
            written.setdefault("examples", [schema["example"]])
        self._drop_read_only(schema, written)
        if not self._document.is_3_0:
            return _checked(written)
        return _nullable(schema, _checked(_with_bounds(written)))

    def write_definitions(self) -> None:
        """One after the other, not one within the other: they may be a thousand in a chain."""
        while self._unwritten:
            reference = self._unwritten.pop()
            self.definitions[self._names[reference]] = self.write(self._document.target(reference))

    def _keyword(self, key: str, value: Any, within: tuple[str, ...], depth: int) -> Any:
        if key in _ONE:
            return self.write(value, within, depth + 1)
        if key in _SEVERAL:
            return [self.write(each, within, depth + 1) for each in _required_kind(key, value, list)]
        if key in _NAMED:
            named = _required_kind(key, value, Mapping)
            return {str(name): self.write(each, within, depth + 1) for name, each in named.items()}
        return value

    def _referred(self, schema: Mapping[str, Any], within: tuple[str, ...], depth: int) -> Any:
        reference = schema["$ref"]
        target = self._document.target(reference)
        if self._kept is None or reference in self._kept:
            written: Any = {"$ref": f"#/$defs/{self._definition_name(reference)}"}
        elif reference in within:
            self.recursive.add(reference)
            return {}
        else:
            written = self.write(target, (*within, reference), depth + 1)
        # In 3.0 what stands beside a reference is ignored.
        beside = {} if self._document.is_3_0 else {key: value for key, value in schema.items() if key != "$ref"}
        if not beside:
            return written
        if isinstance(written, dict) and beside.keys() <= _ANNOTATIONS:
            return _checked({**written, **beside})
        return {"allOf": [written, self.write(beside, within, depth + 1)]}

    def _definition_name(self, reference: str) -> str:
        if reference not in self._names:
            name = plain = _ILLEGAL.sub("_", reference.rpartition("/")[2]) or "schema"
            number = 1
            while name in self._names.values():
                number += 1
                name = f"{plain}_{number}"
            self._names[reference] = name
            self._unwritten.append(reference)
        return self._names[reference]

    def _drop_read_only(self, schema: Mapping[str, Any], written: JsonObject) -> None:
        """Properties that only an answer has."""
        properties = schema.get("properties")
        if not isinstance(properties, Mapping):
            return
        # A list, since what is required may be anything.
        read_only = [str(name) for name, each in properties.items() if self._is_read_only(each)]
        written["properties"] = {name: each for name, each in written["properties"].items() if name not in read_only}
        if isinstance(required := written.get("required"), list):
            written["required"] = [name for name in required if name not in read_only]

    def _is_read_only(self, schema: object) -> bool:
        return isinstance(schema, Mapping) and self._document.resolved(schema).get("readOnly") is True


def _with_bounds(written: JsonObject) -> JsonObject:
    """In 3.0 a bound is exclusive by a flag."""
    for exclusive, bound in (("exclusiveMinimum", "minimum"), ("exclusiveMaximum", "maximum")):
        if isinstance(flag := written.get(exclusive), bool):
            del written[exclusive]
            if flag and bound in written:
                written[exclusive] = written.pop(bound)
    return written


def _nullable(schema: Mapping[str, Any], written: JsonObject) -> JsonObject:
    """In 3.0 null is allowed by a flag."""
    if schema.get("nullable") is not True or not written:
        return written
    if isinstance(kind := written.get("type"), str):
        nothing = {"enum": [*written["enum"], None]} if "enum" in written else {}
        return {**written, "type": [kind, "null"] if kind != "null" else kind, **nothing}
    return {"anyOf": [written, {"type": "null"}]}


def _checked(schema: JsonObject) -> JsonObject:
    """The schema, if each of its keywords holds what it may. By a table: to check it against the schema of schemas
    takes ten milliseconds, and a document has a thousand.

    Raises:
        Unusable
    """
    for key, fits in _FITTING.items():
        if key in schema and not fits(schema[key]):
            raise _no_schema(key, schema[key])
    if "required" in schema:
        schema["required"] = list(dict.fromkeys(schema["required"]))
    return schema


def _required_kind(key: str, value: Any, kind: Any) -> Any:
    if not isinstance(value, kind) or (kind is list and not value):
        raise _no_schema(key, value)
    return value


def _no_schema(key: str, value: object) -> Unusable:
    return Unusable(f"its schema is no JSON Schema: {key} cannot be {value!r:.100}")


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_count(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value == value // 1


def _is_type(value: object) -> bool:
    names = value if isinstance(value, list) and value else [value]
    return all(isinstance(name, str) and name in _TYPES for name in names) and len({*names}) == len(names)


def _are_names(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(name, str) for name in value)


def _are_own_names(value: object) -> bool:
    return _are_names(value) and len({*value}) == len(value)  # type: ignore[misc,arg-type]  # a list of texts


_FITTING: dict[str, Callable[[Any], bool]] = {
    "type": _is_type,
    "required": _are_names,
    "enum": lambda value: isinstance(value, list),
    "multipleOf": lambda value: _is_number(value) and value > 0,
    "examples": lambda value: isinstance(value, list),
    "uniqueItems": lambda value: isinstance(value, bool),
    "deprecated": lambda value: isinstance(value, bool),
    "dependentRequired": lambda value: isinstance(value, Mapping) and all(map(_are_own_names, value.values())),
    **dict.fromkeys(_TEXTS, lambda value: isinstance(value, str)),
    **dict.fromkeys(_COUNTS, _is_count),
    **dict.fromkeys(_BOUNDS, _is_number),
}
