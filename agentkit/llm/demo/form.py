"""How the demo model fills in an output schema: its answer goes into the texts, its numbers into the numbers."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence

from agentkit.transcript import JsonObject, JsonValue, Message, SystemMessage

_SCHEMA = re.compile(r"fits this JSON Schema:\n(\{.*\})")


def output_schema_in(messages: Sequence[Message]) -> JsonObject | None:
    """The JSON Schema that the instructions ask the answer to fit."""
    for message in messages:
        if isinstance(message, SystemMessage) and (found := _SCHEMA.search(message.text)):
            try:
                schema = json.loads(found.group(1))
            except ValueError:
                return None
            return schema if isinstance(schema, dict) else None
    return None


def in_form(answer: str, schema: JsonObject) -> str:
    """The answer as JSON in the shape of a plain schema; richer schemas are beyond the demo model."""
    return json.dumps(_value(answer, schema), ensure_ascii=False)


def _value(answer: str, schema: JsonObject) -> JsonValue:
    if "const" in schema or schema.get("enum"):
        value: JsonValue = schema["const"] if "const" in schema else schema["enum"][0]
        return value
    match schema.get("type"):
        case "object":
            properties = schema.get("properties", {})
            names = schema.get("required") or list(properties)
            return {name: _value(answer, properties.get(name, {})) for name in names}
        case "array":
            return [_value(answer, schema.get("items", {}))]
        case "number":
            return float(_number(answer))
        case "integer":
            return int(float(_number(answer)))
        case "boolean":
            return True
        case "null":
            return None
        case _:
            return answer


def _number(answer: str) -> str:
    """The last number in the answer, which is the result where there is one."""
    found = re.findall(r"-?\d+(?:\.\d+)?", answer)
    return found[-1] if found else "0"
