"""Schemas of OpenAPI documents as JSON Schema that stands alone."""

from __future__ import annotations

import json
import random
from datetime import date
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from agentkit import ConfigurationError, JsonObject
from agentkit.tests.tools.openapi.documents import PETS, body_schema, taking
from agentkit.tools.openapi import OpenApiTools
from agentkit.tools.openapi.schemas import _FITTING

REF = "#/components/schemas/"


def schemas(**named: Any) -> JsonObject:
    return {"schemas": named}


async def test_references_are_written_out_and_what_only_an_answer_has_is_left_out() -> None:
    (spec,) = await OpenApiTools(PETS, include="createPet").specs()
    assert spec.parameters == {
        "type": "object",
        "properties": {
            "body": {
                "type": "object",
                "required": ["name"],
                "properties": {
                    "name": {"type": "string"},
                    "owner": {"type": "object", "properties": {"email": {"type": "string", "format": "email"}}},
                },
            }
        },
        "additionalProperties": False,
        "required": ["body"],
    }


async def test_a_schema_that_holds_itself_becomes_a_definition() -> None:
    node = {"type": "object", "properties": {"next": {"$ref": f"{REF}Node"}}}
    given = taking({"$ref": f"{REF}Node"}, components=schemas(Node=node))
    assert await body_schema(given) == {
        "body": {"$ref": "#/$defs/Node"},
        "$defs": {"Node": {"type": "object", "properties": {"next": {"$ref": "#/$defs/Node"}}}},
    }


async def test_schemas_that_hold_each_other_become_definitions_and_what_is_beside_them_is_written_out() -> None:
    given = taking(
        {"type": "object", "properties": {"a": {"$ref": f"{REF}A"}, "plain": {"$ref": f"{REF}Plain"}}},
        components=schemas(
            A={"type": "array", "items": {"$ref": f"{REF}B"}},
            B={"type": "object", "additionalProperties": {"$ref": f"{REF}A"}},
            Plain={"type": "integer"},
        ),
    )
    found = await body_schema(given)
    assert found["body"]["properties"]["plain"] == {"type": "integer"}
    text = json.dumps(found)
    assert all(f'"#/$defs/{name}"' not in text or name in found["$defs"] for name in ("A", "B"))
    assert REF not in text


async def test_what_would_be_endless_when_written_out_stays_small() -> None:
    """Thirty schemas, each with the next one twice: written out, a thousand million."""
    named = {
        f"S{n}": {"type": "object", "properties": {key: {"$ref": f"{REF}S{n + 1}"} for key in ("a", "b")}}
        for n in range(30)
    }
    found = await body_schema(taking({"$ref": f"{REF}S0"}, components=schemas(**named, S30={"type": "string"})))
    assert len(json.dumps(found)) < 5_000
    assert len(found["$defs"]) == 31


async def test_a_chain_of_a_thousand_schemas_is_followed_to_its_end() -> None:
    named: dict[str, Any] = {f"S{n}": {"type": "array", "items": {"$ref": f"{REF}S{n + 1}"}} for n in range(1_000)}
    found = await body_schema(taking({"$ref": f"{REF}S0"}, components=schemas(**named, S1000={"type": "string"})))
    assert len(found["$defs"]) == 1_001


async def test_definitions_of_one_name_in_two_places_are_told_apart() -> None:
    given = taking(
        {"anyOf": [{"$ref": f"{REF}N"}, {"$ref": "#/components/x-more/N"}]},
        components={
            "schemas": {"N": {"type": "array", "items": {"$ref": f"{REF}N"}}},
            "x-more": {"N": {"type": "object", "properties": {"n": {"$ref": "#/components/x-more/N"}}}},
        },
    )
    found = await body_schema(given)
    assert [each["$ref"] for each in found["body"]["anyOf"]] == ["#/$defs/N", "#/$defs/N_2"]
    assert [found["$defs"][name]["type"] for name in ("N", "N_2")] == ["array", "object"]


@pytest.mark.parametrize(
    ("schema", "written"),
    [
        ({"type": "string", "nullable": True}, {"type": ["string", "null"]}),
        ({"type": "string", "nullable": True, "enum": ["a"]}, {"type": ["string", "null"], "enum": ["a", None]}),
        ({"type": "string", "nullable": False}, {"type": "string"}),
        (
            {"allOf": [{"type": "string"}], "nullable": True},
            {"anyOf": [{"allOf": [{"type": "string"}]}, {"type": "null"}]},
        ),
        ({"minimum": 1, "exclusiveMinimum": True}, {"exclusiveMinimum": 1}),
        ({"maximum": 1, "exclusiveMaximum": False}, {"maximum": 1}),
        ({"type": "string", "example": "x"}, {"type": "string", "examples": ["x"]}),
        ({"$ref": f"{REF}S", "description": "ignored"}, {"type": "integer"}),
        ({"type": "object", "xml": {}, "discriminator": {}, "externalDocs": {}, "x-own": 1}, {"type": "object"}),
    ],
)
async def test_the_dialect_of_3_0_becomes_json_schema(schema: JsonObject, written: JsonObject) -> None:
    given = taking(schema, version="3.0.3", components=schemas(S={"type": "integer"}))
    assert (await body_schema(given))["body"] == written


@pytest.mark.parametrize(
    ("schema", "written"),
    [
        ({"type": ["string", "null"]}, {"type": ["string", "null"]}),
        ({"exclusiveMinimum": 3}, {"exclusiveMinimum": 3}),
        ({"$ref": f"{REF}S", "description": "a number"}, {"type": "integer", "description": "a number"}),
        ({"$ref": f"{REF}S", "minimum": 3}, {"allOf": [{"type": "integer"}, {"minimum": 3}]}),
        (True, True),
        ({}, {}),
        (
            {"prefixItems": [{"$ref": f"{REF}S"}], "items": False},
            {"prefixItems": [{"type": "integer"}], "items": False},
        ),
        ({"properties": {"$ref": {"type": "string"}}}, {"properties": {"$ref": {"type": "string"}}}),
        ({"const": {"$ref": "data"}}, {"const": {"$ref": "data"}}),
    ],
)
async def test_schemas_of_3_1_stay_what_they_are(schema: Any, written: Any) -> None:
    assert (await body_schema(taking(schema, components=schemas(S={"type": "integer"}))))["body"] == written


def nested(levels: int) -> JsonObject:
    schema: JsonObject = {"type": "string"}
    for _ in range(levels):
        schema = {"type": "array", "items": schema}
    return schema


def circular() -> JsonObject:
    """As YAML with an anchor within itself is read."""
    schema: JsonObject = {"type": "object"}
    schema["properties"] = {"a": schema, "b": schema}
    return schema


def circular_data() -> JsonObject:
    data: list[object] = []
    data.append(data)
    return {"const": data}


@pytest.mark.parametrize(
    ("schema", "reason"),
    [
        ({"$ref": "other.yaml#/Pet"}, "does not point into this document; others are not fetched"),
        ({"$ref": "https://evil.example/pet.json"}, "does not point into this document"),
        ({"$ref": "file:///etc/passwd"}, "does not point into this document"),
        ({"$ref": "#anchor"}, "does not point into this document"),
        ({"$ref": 3}, "does not point into this document"),
        ({"$ref": f"{REF}Missing"}, "points to nothing"),
        ({"items": {"$ref": "#/info/title"}}, "'Pets' stands where a schema should"),
        ({"$dynamicRef": "#x"}, r"uses \$dynamicRef, which is not supported"),
        ("string", "'string' stands where a schema should"),
        (None, "None stands where a schema should"),
        ([], r"\[\] stands where a schema should"),
        ({"properties": {"a": 3}}, "3 stands where a schema should"),
        ({"type": "strnig"}, "is no JSON Schema: type cannot be 'strnig'"),
        ({"type": []}, "is no JSON Schema: type"),
        ({"required": "name"}, "is no JSON Schema: required cannot be 'name'"),
        ({"required": [1]}, "is no JSON Schema: required"),
        ({"minimum": "3"}, "is no JSON Schema: minimum"),
        ({"minLength": -1}, "is no JSON Schema: minLength"),
        ({"maxItems": 1.5}, "is no JSON Schema: maxItems"),
        ({"exclusiveMinimum": True}, "is no JSON Schema: exclusiveMinimum"),
        ({"multipleOf": 0}, "is no JSON Schema: multipleOf"),
        ({"enum": "a"}, "is no JSON Schema: enum"),
        ({"pattern": 3}, "is no JSON Schema: pattern"),
        ({"anyOf": {}}, "is no JSON Schema: anyOf"),
        ({"properties": []}, "is no JSON Schema: properties"),
        ({"dependentRequired": {"a": "b"}}, "is no JSON Schema: dependentRequired"),
        ({"enum": ["x" * 1_000_000]}, r"its schema has 1000\d\d\d bytes, more than 131072"),
        ({"description": "x" * 1_000_000}, "bytes, more than 131072"),
        ({"properties": {f"p{n}": {} for n in range(100_000)}}, "too large or nested too deeply"),
        (nested(10_000), "too large or nested too deeply"),
        (circular(), "too large or nested too deeply"),
        (circular_data(), "its schema is no JSON"),
        ({"enum": [date(2026, 1, 1)]}, "its schema is no JSON: Object of type date"),
        ({"maximum": float("nan")}, "its schema is no JSON"),
    ],
    ids=lambda value: str(value)[:40] if not isinstance(value, dict) else ",".join(map(str, value))[:40],
)
def test_a_schema_that_cannot_be_used_is_refused_with_the_reason(schema: Any, reason: str) -> None:
    with pytest.raises(ConfigurationError, match=reason):
        OpenApiTools(taking(schema))


def test_the_document_stays_as_it_was() -> None:
    before = json.dumps(PETS)
    OpenApiTools(PETS)
    assert json.dumps(PETS) == before


@pytest.mark.parametrize("seed", range(40))
async def test_whatever_is_accepted_is_a_json_schema(seed: int) -> None:
    """By the schema of schemas, which is too slow to be asked each time."""
    chance = random.Random(seed)
    values: list[Any] = ["string", "object", ["string"], [], {}, 3, -1, 0.5, True, "x", ["a", "a"], [1], {"a": ["b"]}]
    keywords = [*_FITTING, "items", "properties", "anyOf", "additionalProperties", "const", "default", "nullable"]
    for _ in range(50):
        schema = {key: chance.choice(values) for key in chance.sample(keywords, 2)}
        try:
            written = await body_schema(taking(schema, version=chance.choice(["3.0.0", "3.1.0"])))
        except ConfigurationError:
            continue
        Draft202012Validator.check_schema(written["body"])
