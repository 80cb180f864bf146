"""JSON to and from protobuf's Struct and Value, which know doubles only and nest less deep than JSON may."""

from __future__ import annotations

import json
import sys
from typing import Any

from google.protobuf.struct_pb2 import ListValue, Struct, Value

from ops_core.domain.task import JsonObject, JsonValue
from ops_core.errors import FieldProblem, InvalidInput, MalformedRequest

#: Integers up to this, either way, are exact as doubles, and so are their neighbours.
MAX_EXACT_INTEGER = 2**53 - 1
#: Objects and lists within one another that a Struct of ours may have. protobuf's parsers give up at 100 messages
#: within one another, and an object takes three of them.
MAX_STRUCT_DEPTH = 30


class _NotExact(Exception):
    """A Struct cannot hold this value as it is."""


def struct_from_json(value: JsonObject) -> Struct | None:
    """The object as a Struct; None when a Struct cannot hold it exactly, and JSON text has to be sent instead."""
    struct = Struct()
    try:
        _fill_struct(struct, value, depth=1)
    except _NotExact:
        return None
    return struct


def value_from_json(value: JsonValue) -> Value | None:
    """The value as a Value; None when it cannot hold it exactly, and JSON text has to be sent instead."""
    message = Value()
    try:
        _fill_value(message, value, depth=0)
    except _NotExact:
        return None
    return message


def put_object(message: Any, name: str, value: JsonObject | None) -> None:
    """Set the field to the object, or where a Struct cannot hold it exactly `<name>_json` to its text; None to none."""
    if value is None:
        return
    if (struct := struct_from_json(value)) is not None:
        getattr(message, name).CopyFrom(struct)
    else:
        setattr(message, f"{name}_json", json_text(value))


def put_value(message: Any, name: str, value: JsonValue) -> None:
    """As `put_object`, for any JSON; None is null."""
    if (wrapped := value_from_json(value)) is not None:
        getattr(message, name).CopyFrom(wrapped)
    else:
        setattr(message, f"{name}_json", json_text(value))


def json_text(value: JsonValue) -> str:
    """The value as JSON text, exactly."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _fill_struct(struct: Struct, value: JsonObject, *, depth: int) -> None:
    if depth > MAX_STRUCT_DEPTH:
        raise _NotExact
    for key, item in value.items():
        _fill_value(struct.fields[key], item, depth=depth)


def _fill_list(target: ListValue, value: list[JsonValue] | tuple[JsonValue, ...], *, depth: int) -> None:
    if depth > MAX_STRUCT_DEPTH:
        raise _NotExact
    for item in value:
        _fill_value(target.values.add(), item, depth=depth)


def _fill_value(message: Value, value: JsonValue, *, depth: int) -> None:
    match value:
        case None:
            message.null_value = 0  # type: ignore[assignment]  # NullValue.NULL_VALUE
        case bool():
            message.bool_value = value
        case int():
            if abs(value) > MAX_EXACT_INTEGER:
                raise _NotExact
            message.number_value = value
        case float():
            message.number_value = value
        case str():
            message.string_value = value
        case dict():
            message.struct_value.SetInParent()
            _fill_struct(message.struct_value, value, depth=depth + 1)
        case list() | tuple():
            message.list_value.SetInParent()
            _fill_list(message.list_value, value, depth=depth + 1)
        case _:
            raise TypeError(f"not JSON: {type(value).__name__}")


def object_of(request: Any, name: str, *, pointer: str = "") -> JsonObject | None:
    """The object in the field or, as text, in `<name>_json`; None when neither is set.

    Raises:
        InvalidInput, MalformedRequest: it is none.
    """
    match request.WhichOneof(f"{name}_form"):
        case None:
            return None
        case field if field == name:
            return json_from_struct(getattr(request, name), pointer=f"{pointer}/{name}")
        case field:
            return object_from_json_text(getattr(request, field), pointer=f"{pointer}/{field}")


def value_of(request: Any, name: str) -> JsonValue:
    """As `object_of`, for any JSON; None also for null."""
    match request.WhichOneof(f"{name}_form"):
        case None:
            return None
        case field if field == name:
            return _json_from_value(getattr(request, name), f"/{name}")
        case field:
            return _value_from_json_text(getattr(request, field), pointer=f"/{field}")


def json_from_struct(struct: Struct, *, pointer: str) -> JsonObject:
    """The object that was meant; whole numbers become integers, as they would from JSON.

    Raises:
        InvalidInput: a Value in it says nothing, not even null.
    """
    return {key: _json_from_value(item, f"{pointer}/{_escape(key)}") for key, item in struct.fields.items()}


def _json_from_value(value: Value, pointer: str) -> JsonValue:
    match value.WhichOneof("kind"):
        case "null_value":
            return None
        case "bool_value":
            return value.bool_value
        case "number_value":
            return _number(value.number_value)
        case "string_value":
            return value.string_value
        case "struct_value":
            return json_from_struct(value.struct_value, pointer=pointer)
        case "list_value":
            return [_json_from_value(item, f"{pointer}/{i}") for i, item in enumerate(value.list_value.values)]
        case _:
            detail = "has no kind: set one, and null_value for null"
            raise InvalidInput(f"`{_shown(pointer)}` {detail}.", problems=[FieldProblem(pointer, detail)])


def _number(number: float) -> int | float:
    return int(number) if number.is_integer() and abs(number) <= MAX_EXACT_INTEGER else number


def object_from_json_text(text: str, *, pointer: str) -> JsonObject:
    """The JSON object that the text holds.

    Raises:
        InvalidInput: it holds something else.
        MalformedRequest: it is not JSON, or nested deeper than can be read.
    """
    value = _value_from_json_text(text, pointer=pointer)
    if not isinstance(value, dict):
        detail = f"must hold a JSON object, not {type(value).__name__}"
        raise InvalidInput(f"`{_shown(pointer)}` {detail}.", problems=[FieldProblem(pointer, detail)])
    return value


def _value_from_json_text(text: str, *, pointer: str) -> JsonValue:
    try:
        return json.loads(text)
    except RecursionError as error:
        raise _malformed(pointer, "is nested too deep to be read") from error
    except ValueError as error:
        # JSONDecodeError says where; the other one is an integer of thousands of digits.
        limit = sys.get_int_max_str_digits()
        why = str(error) if isinstance(error, json.JSONDecodeError) else f"an integer has more than {limit} digits"
        raise _malformed(pointer, f"is not JSON: {why}") from error


def _malformed(pointer: str, detail: str) -> MalformedRequest:
    return MalformedRequest(f"`{_shown(pointer)}` {detail}.", problems=[FieldProblem(pointer, detail)])


def _shown(pointer: str) -> str:
    return pointer[1:].replace("/", ".")


def _escape(token: str) -> str:
    return token.replace("~", "~0").replace("/", "~1")
