"""Which operations of a document become tools, under which names, and what a model is told of them."""

from __future__ import annotations

import logging
import random
from typing import Any

import pytest

from agentkit import ConfigurationError, JsonObject, OnUnknown
from agentkit.tests.tools.openapi.documents import BASE, PETS, arguments_schema, document, parameter, taking
from agentkit.tools.openapi import OpenApiTools


async def test_each_operation_is_a_tool_and_options_and_trace_are_none() -> None:
    specs = await OpenApiTools(PETS).specs()
    assert [(spec.name, spec.side_effect, spec.on_unknown) for spec in specs] == [
        ("listPets", False, OnUnknown.ask),
        ("createPet", True, OnUnknown.ask),
        ("getPet", False, OnUnknown.ask),
        ("head_pets_petId", False, OnUnknown.ask),
        ("putPet", True, OnUnknown.retry),
        ("deletePet", True, OnUnknown.retry),
        ("patchPet", True, OnUnknown.ask),
    ]


async def test_a_model_is_told_summary_and_description_or_else_method_and_path() -> None:
    told = {spec.name: spec.description for spec in await OpenApiTools(PETS).specs()}
    assert told["listPets"] == "List pets\n\nAll of them."
    assert told["getPet"] == "GET /pets/{petId}"


async def test_a_long_description_is_cut() -> None:
    given = document({"/a": {"get": {"description": "x" * 100_000}}})
    assert len((await OpenApiTools(given).specs())[0].description) == 1_024


async def test_only_what_fits_a_pattern_becomes_a_tool() -> None:
    specs = await OpenApiTools(PETS, include=["get*", "listPets"]).specs()
    assert [spec.name for spec in specs] == ["listPets", "getPet"]


@pytest.mark.parametrize(
    ("operation_id", "name"),
    [
        ("pets.list", "pets_list"),
        ("pets/list all", "pets_list_all"),
        ("", "get_a_b"),
        ("  ", "get_a_b"),
        (3, "get_a_b"),
        ("ü", "get"),
        ("x" * 100, "x" * 55 + "_"),
    ],
)
async def test_a_name_is_one_that_vendors_take(operation_id: Any, name: str) -> None:
    (spec,) = await OpenApiTools(document({"/a/{b}": {"get": _with_b(operation_id)}})).specs()
    assert spec.name[:56] == name
    assert len(spec.name) <= 64


def _with_b(operation_id: Any) -> JsonObject:
    return {"operationId": operation_id, "parameters": [parameter("b", "path", required=True)]}


async def test_parameters_of_path_query_and_header_and_the_body_are_one_object() -> None:
    operation = {
        "operationId": "take",
        "parameters": [
            parameter("id", "path", required=True, description="Which one"),
            parameter("id", "query"),
            parameter("X-Trace", "header", schema={"type": "integer"}, required=True),
            parameter("filter[name]", "query"),
            parameter("body", "query"),
            parameter("where", "query", schema=None, content={"application/json": {"schema": {"type": "object"}}}),
        ],
        "requestBody": {"content": {"application/json; charset=utf-8": {"schema": {"type": "array"}}}},
    }
    assert await arguments_schema(document({"/take/{id}": {"post": operation}})) == {
        "type": "object",
        "properties": {
            "id": {"type": "string", "description": "Which one"},
            "id_in_query": {"type": "string"},
            "X-Trace": {"type": "integer"},
            "filter_name": {"type": "string"},
            "body_in_query": {"type": "string"},
            "where": {"type": "object"},
            "body": {"type": "array"},
        },
        "additionalProperties": False,
        "required": ["id", "X-Trace"],
    }


async def test_a_parameter_of_the_operation_stands_in_for_that_of_its_path() -> None:
    item = {
        "parameters": [parameter("n", schema={"type": "string"}), {"$ref": "#/components/parameters/Page"}],
        "get": {"operationId": "take", "parameters": [parameter("n", schema={"type": "integer"})]},
    }
    given = document({"/a": item}, components={"parameters": {"Page": parameter("page", required=True)}})
    schema = await arguments_schema(given)
    assert schema["properties"] == {"n": {"type": "integer"}, "page": {"type": "string"}}
    assert schema["required"] == ["page"]


async def test_a_path_item_may_be_a_reference() -> None:
    given = document({"/a": {"$ref": "#/components/pathItems/A"}}, components={"pathItems": {"A": {"get": {}}}})
    assert [spec.name for spec in await OpenApiTools(given).specs()] == ["get_a"]


async def test_headers_that_are_not_the_models_to_send_are_no_arguments() -> None:
    names = ["Authorization", "accept", "Cookie", "Host", "Idempotency-Key", "x-api-key", "X-Tenant", "X-Mine"]
    operation = {"parameters": [parameter(name, "header", required=True) for name in names]}
    given = document(
        {"/a": {"get": {**operation, "parameters": [*operation["parameters"], parameter("token", required=True)]}}},
        components={
            "securitySchemes": {
                "key": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
                "token": {"type": "apiKey", "in": "query", "name": "token"},
            }
        },
    )
    (spec,) = await OpenApiTools(given, headers={"x-tenant": "seven"}).specs()
    assert spec.parameters["properties"] == {"X-Mine": {"type": "string"}}


@pytest.mark.parametrize(
    ("path", "operation", "reason"),
    [
        ("/a/{b}", {}, "its path needs 'b', which is no parameter of it"),
        ("/a", {"parameters": [parameter("session", "cookie", required=True)]}, "it needs the cookie 'session'"),
        ("/a", {"parameters": [parameter("x", "body")]}, "one of its parameters is none"),
        ("/a", {"parameters": [{"in": "query"}]}, "one of its parameters is none"),
        ("/a", {"parameters": ["x"]}, "'x' stands where an object should"),
        ("/a", {"parameters": [parameter("a\r\nb", "header")]}, "one of its parameters is none"),
        ("/a", {"parameters": [{"$ref": "http://evil.example/p.json"}]}, "does not point into this document"),
        ("/a", {"parameters": [parameter("x", style="label")]}, "the style 'label' does not exist in a query"),
        ("/a", {"requestBody": {"required": True, "content": {"text/csv": {}}}}, "its body is no JSON: text/csv"),
        ("/a", {"requestBody": {"required": True}}, "its body is no JSON"),
        ("/a", {"servers": [{"url": "https://evil.example"}]}, "it is served by another host, 'https://evil.example'"),
        ("/a", {"servers": [{"url": "http://api.example.com/v1"}]}, "it is served by another host"),
        ("/a", {"servers": [{"url": "https://user:pw@api.example.com"}]}, "must hold no credentials"),
        ("/a?b=c", {}, "its path is none that can be called"),
        ("/../admin", {}, "its path is none that can be called"),
        ("a", {}, "its path is none that can be called"),
    ],
)
async def test_an_operation_that_cannot_be_a_tool_is_left_out_listed_and_logged(
    path: str, operation: JsonObject, reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    given = document({path: {"post": {"operationId": "odd", **operation}}, "/fine": {"get": {}}})
    with caplog.at_level(logging.WARNING):
        tools = OpenApiTools(given)
    assert [spec.name for spec in await tools.specs()] == ["get_fine"]
    (skipped,) = tools.skipped
    assert skipped.name == "odd"
    assert reason in skipped.reason
    assert reason in caplog.text


async def test_of_two_operations_of_one_name_the_first_is_the_tool() -> None:
    given = document({"/a": {"get": {"operationId": "take"}}, "/b": {"get": {"operationId": "take"}}})
    tools = OpenApiTools(given)
    assert [spec.description for spec in await tools.specs()] == ["GET /a"]
    assert [(each.name, each.reason) for each in tools.skipped] == [("take", "GET /a has the same name")]


async def test_an_optional_body_or_cookie_that_cannot_be_sent_is_simply_not_sent() -> None:
    operation = {
        "parameters": [parameter("session", "cookie")],
        "requestBody": {"content": {"multipart/form-data": {"schema": {}}}},
    }
    schema = await arguments_schema(document({"/a": {"post": operation}}))
    assert schema["properties"] == {}


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({}, "not an OpenAPI document of version 3.0 or 3.1"),
        ([], "not an OpenAPI document"),
        (None, "not an OpenAPI document"),
        ({"swagger": "2.0"}, "not an OpenAPI document"),
        ({**PETS, "openapi": "4.0.0"}, "not an OpenAPI document"),
        ({**PETS, "openapi": 3.1}, None),
        ({**PETS, "paths": []}, "has no paths"),
        ({**PETS, "paths": {}}, r"fits \*; there are none"),
        ({**PETS, "paths": {"/a": 3, "/b": {"get": 3}}}, r"fits \*; there are none"),
        ({**PETS, "servers": []}, "give base_url"),
        ({**PETS, "servers": [{"url": "/v1"}]}, "servers begin with '/v1' does not say where its API is"),
        ({**PETS, "servers": [{"url": "ftp://h/"}]}, "give base_url"),
        ({**PETS, "servers": [{"url": "https://{host}"}]}, "give base_url"),
        ({**PETS, "servers": [{"url": "https://h:x/"}]}, "give base_url"),
        ({**PETS, "servers": [{"url": "https://me:pw@h/"}]}, "must hold no credentials"),
        ({**PETS, "servers": [{"url": "https://h/?a=b"}]}, "must have no query"),
    ],
)
def test_a_document_that_cannot_be_used_is_refused_with_the_reason(given: Any, reason: str | None) -> None:
    if reason is None:
        assert OpenApiTools(given)
        return
    with pytest.raises(ConfigurationError, match=reason):
        OpenApiTools(given)


def test_credentials_in_a_base_url_are_not_repeated() -> None:
    with pytest.raises(ConfigurationError) as error:
        OpenApiTools(PETS, base_url="https://me:hunter2@h/")
    assert "hunter2" not in str(error.value)


def test_a_pattern_that_fits_nothing_names_what_there_is() -> None:
    with pytest.raises(ConfigurationError, match=r"fits nope.*there are listPets, createPet"):
        OpenApiTools(PETS, include=["nope"])


@pytest.mark.parametrize("headers", [{"X-A": "a\r\nb"}, {"X-A": "geheim-ü"}, {"X A": "geheim"}, {"X-A": " geheim"}])
def test_a_header_that_cannot_be_sent_is_refused_without_its_value(headers: dict[str, str]) -> None:
    with pytest.raises(ConfigurationError) as error:
        OpenApiTools(PETS, headers=headers)
    assert "geheim" not in str(error.value)


def test_variables_of_a_server_have_their_defaults() -> None:
    servers = [{"url": "https://{region}.example.com", "variables": {"region": {"default": "eu"}}}]
    assert OpenApiTools({**PETS, "servers": servers})


_ODD: list[Any] = [
    None,
    3,
    "x",
    [],
    {},
    True,
    {"$ref": "#/paths"},
    {"$ref": "#/nothing"},
    [[]],
    {"a": {}},
    "../..",
    -1.5,
]


@pytest.mark.parametrize("seed", range(100))
def test_whatever_stands_anywhere_in_a_document_is_at_worst_refused(seed: int) -> None:
    chance = random.Random(seed)

    def spoiled(node: Any) -> Any:
        if chance.random() < 0.04:
            return chance.choice(_ODD)
        if isinstance(node, dict):
            return {key: spoiled(each) for key, each in node.items()}
        return [spoiled(each) for each in node] if isinstance(node, list) else node

    try:
        OpenApiTools(spoiled({**PETS, **taking({"type": "object"})} if chance.random() < 0.2 else PETS), base_url=BASE)
    except ConfigurationError:
        return
