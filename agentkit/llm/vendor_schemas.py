"""Holding a model to a JSON Schema where its vendor can: asked with the schema, and without one that is refused."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from agentkit.errors import ContextTooLong, LlmRequestInvalid
from agentkit.journal import fingerprint
from agentkit.llm.base import LlmResponse
from agentkit.transcript import JsonObject

#: Schemas that one client keeps in mind.
_MOST_REFUSED = 1_000
_NOT_STRICT = frozenset({"allOf", "oneOf", "not", "if", "patternProperties", "prefixItems", "dependentSchemas"})


class RefusedSchemas:
    """The schemas that one model would not take: each vendor takes another part of JSON Schema, older models none."""

    def __init__(self) -> None:
        self._refused: dict[str, None] = {}

    async def ask(
        self, schema: JsonObject | None, ask: Callable[[JsonObject | None], Awaitable[LlmResponse]]
    ) -> LlmResponse:
        """Ask with the schema, if there is one; where the vendor calls the request wrong with it and right without it,
        it is not given again.

        Raises:
            LlmError: as `ask`.
        """
        name = fingerprint(schema)
        if schema is None or name in self._refused:
            return await ask(None)
        try:
            return await ask(schema)
        except LlmRequestInvalid as refusal:
            if isinstance(refusal, ContextTooLong):
                raise
            response = await ask(None)
        while len(self._refused) >= _MOST_REFUSED:
            self._refused.pop(next(iter(self._refused)))
        self._refused[name] = None
        return response


def is_strict(schema: Any) -> bool:
    """Whether OpenAI can hold a model to every part of the schema: all objects are closed and need all they have.

    https://platform.openai.com/docs/guides/structured-outputs#supported-schemas
    """
    if not isinstance(schema, dict) or schema.keys() & _NOT_STRICT:
        return False
    properties: JsonObject = schema.get("properties", {})
    if schema.get("type") == "object" or properties:
        is_closed = schema.get("additionalProperties") is False
        if not is_closed or set(schema.get("required", ())) != set(properties):
            return False
    parts = [*properties.values(), *schema.get("$defs", {}).values(), *schema.get("anyOf", ())]
    return all(map(is_strict, [*parts, *([schema["items"]] if "items" in schema else [])]))


def without_dialect(schema: JsonObject) -> JsonObject:
    """Without `$schema` and `$id`, which vendors do not know."""
    return {key: value for key, value in schema.items() if key not in ("$schema", "$id")}
