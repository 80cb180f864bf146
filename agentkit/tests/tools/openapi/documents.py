"""OpenAPI documents for the tests."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from agentkit import JsonObject
from agentkit.tools.openapi import OpenApiTools

BASE = "https://api.example.com/v1"


def document(paths: Mapping[str, Any], *, version: str = "3.1.0", **parts: Any) -> JsonObject:
    return {
        "openapi": version,
        "info": {"title": "Pets", "version": "1"},
        "servers": [{"url": BASE}],
        "paths": dict(paths),
        **parts,
    }


def taking(schema: Any, **parts: Any) -> JsonObject:
    """A document with one operation, `take`, whose body has this schema."""
    body = {"required": True, "content": {"application/json": {"schema": schema}}}
    return document({"/take": {"post": {"operationId": "take", "requestBody": body}}}, **parts)


def parameter(name: str, place: str = "query", **more: Any) -> JsonObject:
    return {"name": name, "in": place, "schema": {"type": "string"}, **more}


async def body_schema(given: JsonObject) -> JsonObject:
    """The schema of the body of `take`, and the definitions beside it."""
    parameters = await arguments_schema(given)
    return {
        "body": parameters["properties"]["body"],
        **({"$defs": parameters["$defs"]} if "$defs" in parameters else {}),
    }


async def arguments_schema(given: JsonObject) -> JsonObject:
    (spec,) = await OpenApiTools(given).specs()
    return spec.parameters


PETS: JsonObject = document(
    {
        "/pets": {
            "get": {
                "operationId": "listPets",
                "summary": "List pets",
                "description": "All of them.",
                "parameters": [parameter("tags", schema={"type": "array", "items": {"type": "string"}})],
            },
            "post": {
                "operationId": "createPet",
                "requestBody": {
                    "required": True,
                    "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Pet"}}},
                },
            },
        },
        "/pets/{petId}": {
            "parameters": [parameter("petId", "path", required=True, description="Which pet")],
            "get": {"operationId": "getPet"},
            "head": {},
            "put": {
                "operationId": "putPet",
                "requestBody": {"content": {"application/json": {"schema": {"type": "object"}}}},
            },
            "delete": {"operationId": "deletePet"},
            "patch": {
                "operationId": "patchPet",
                "requestBody": {"content": {"application/merge-patch+json": {"schema": {"type": "object"}}}},
            },
            "options": {"operationId": "optionsPet"},
            "trace": {"operationId": "tracePet"},
        },
    },
    components={
        "schemas": {
            "Pet": {
                "type": "object",
                "required": ["id", "name"],
                "properties": {
                    "id": {"type": "integer", "readOnly": True},
                    "name": {"type": "string"},
                    "owner": {"$ref": "#/components/schemas/Owner"},
                },
            },
            "Owner": {"type": "object", "properties": {"email": {"type": "string", "format": "email"}}},
        }
    },
)
