"""Calls of operations, over real sockets: what is sent, what the model is told, and what it never sees."""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import httpx2
import pytest

from agentkit import (
    Agent,
    BadToolArguments,
    JsonObject,
    MemoryJournal,
    ReActPlanner,
    RunSuspended,
    ToolCall,
    ToolContext,
    ToolError,
    ToolFailed,
    ToolMessage,
    ToolTimeout,
    UnknownTool,
)
from agentkit.testing import ScriptedLlm, call_of
from agentkit.tests.llm.http_server import HttpServer, Reply, Request, json_reply
from agentkit.tests.tools.openapi.documents import PETS, document, parameter
from agentkit.tools.openapi import OpenApiTools

CONTEXT = ToolContext("run-1", "1/tool/1", "run-1:1/tool/1", timeout_seconds=10)
SECRET = "sk-very-secret-0123456789"


class Api:
    """A server that notes what it is asked, and tools that ask it."""

    def __init__(self, server: HttpServer, asked: list[Request]) -> None:
        self.server, self.asked = server, asked
        self.tools: OpenApiTools

    async def call(self, name: str, *, context: ToolContext = CONTEXT, **arguments: object) -> str:
        return (await self.tools.call(ToolCall("call_1", name, arguments), context)).content

    async def error(self, name: str, *, context: ToolContext = CONTEXT, **arguments: object) -> ToolError:
        with pytest.raises(ToolError) as error:
            await self.call(name, context=context, **arguments)
        return error.value


@asynccontextmanager
async def api(
    answer: Reply | Callable[[Request], Reply] = Reply(body=b"{}"),  # noqa: B008  a value, and frozen
    given: JsonObject = PETS,
    *,
    path: str = "/v1",
    **options: Any,
) -> AsyncIterator[Api]:
    asked: list[Request] = []

    async def respond(request: Request) -> Reply:
        asked.append(request)
        return answer if isinstance(answer, Reply) else answer(request)

    async with HttpServer(respond) as server:
        found = Api(server, asked)
        found.tools = OpenApiTools(given, base_url=server.url + path, **options)
        try:
            yield found
        finally:
            await found.tools.aclose()


async def test_the_result_is_status_and_body() -> None:
    async with api(json_reply({"name": "Rex"})) as pets:
        assert await pets.call("getPet", petId="7") == 'HTTP 200 Said\n{"name": "Rex"}'
    assert [(request.method, request.path) for request in pets.asked] == [("GET", "/v1/pets/7")]


async def test_an_answer_without_a_body_is_its_status() -> None:
    async with api(Reply(204)) as pets:
        assert await pets.call("deletePet", petId="7") == "HTTP 204 Said"


async def test_where_a_new_thing_is_found_is_told() -> None:
    async with api(Reply(201, headers={"Location": "/pets/8"})) as pets:
        assert await pets.call("createPet", body={"name": "Rex"}) == "HTTP 201 Said\nlocation: /pets/8"


async def test_of_the_answer_to_a_head_its_headers_are_told() -> None:
    async with api(Reply(headers={"ETag": '"7"', "X-Other": "no"})) as pets:
        told = await pets.call("head_pets_petId", petId="7")
    assert 'etag: "7"' in told
    assert "no" not in told


async def test_a_body_is_sent_as_json() -> None:
    async with api() as pets:
        await pets.call("createPet", body={"name": "Rëx", "owner": {"email": "a@b.c"}})
        await pets.call("patchPet", petId="7", body={"name": None})
    assert [request.headers["content-type"] for request in pets.asked] == [
        "application/json",
        "application/merge-patch+json",
    ]
    assert json.loads(pets.asked[0].body) == {"name": "Rëx", "owner": {"email": "a@b.c"}}
    assert pets.asked[1].body == b'{"name":null}'


async def test_parameters_go_where_they_belong_and_into_no_other_place() -> None:
    operation = {
        "operationId": "take",
        "parameters": [
            parameter("id", "path", required=True),
            parameter("id", "query"),
            parameter("X-Note", "header"),
            parameter("tags", schema={"type": "array", "items": {"type": "string"}}, explode=False),
        ],
    }
    async with api(given=document({"/things/{id}/x": {"get": operation}})) as things:
        arguments: JsonObject = {"id": "a/b?c=d#e", "id_in_query": "f&g=h", "X-Note": "note", "tags": ["i,j", "k"]}
        await things.call("take", **arguments)
        await things.call("take", id="ü %2e")
    assert things.asked[0].path == "/v1/things/a%2Fb%3Fc%3Dd%23e/x?id=f%26g%3Dh&tags=i%2Cj,k"
    assert things.asked[0].headers["x-note"] == "note"
    assert things.asked[1].path == "/v1/things/%C3%BC%20%252e/x"


async def test_null_in_a_header_or_a_query_is_not_sent() -> None:
    schema = {"anyOf": [{"type": "string"}, {"type": "null"}]}
    operation = {"parameters": [parameter(place, place, schema=schema) for place in ("header", "query")]}
    async with api(given=document({"/a": {"get": operation}})) as things:
        await things.call("get_a", header=None, query=None)
    assert "header" not in things.asked[0].headers
    assert things.asked[0].path == "/v1/a"


@pytest.mark.parametrize("value", ["..", ".", "../admin", "a/../../b", "a\\..\\b", "%2e%2e/..", "x/.."])
async def test_no_value_leads_to_another_path(value: str) -> None:
    async with api() as pets:
        assert isinstance(await pets.error("getPet", petId=value), BadToolArguments)
    assert pets.asked == []


def test_the_negative_control_such_a_value_would_lead_to_another_path() -> None:
    assert httpx2.URL("http://h/v1/pets/../admin").path == "/v1/admin"


@pytest.mark.parametrize(
    ("tool", "arguments", "problem"),
    [
        ("getPet", {}, "'petId' is a required property"),
        ("getPet", {"petId": 7}, "argument 'petId': 7 is not of type 'string'"),
        ("getPet", {"petId": "7", "more": 1}, "'more' was unexpected"),
        ("getPet", {"petId": ""}, "'petId' must not be empty"),
        ("createPet", {"body": {"owner": {}}}, "argument 'body': 'name' is a required property"),
        ("createPet", {"body": "Rex"}, "argument 'body': 'Rex' is not of type 'object'"),
        ("createPet", {"body": {"name": "Rex", "age": float("nan")}}, "they are no JSON"),
        ("createPet", {"body": {"name": "Rex", "age": float("inf")}}, "they are no JSON"),
        ("createPet", {"body": {"name": "\ud800"}}, "they are no JSON"),
        ("listPets", {"tags": "a"}, "argument 'tags': 'a' is not of type 'array'"),
        ("listPets", {"tags": ["x" * 70_000]}, "make no address that can be asked"),
    ],
    ids=lambda value: str(value)[:40],
)
async def test_wrong_arguments_are_told_and_nothing_is_sent(tool: str, arguments: JsonObject, problem: str) -> None:
    async with api() as pets:
        error = await pets.error(tool, **arguments)
    assert isinstance(error, BadToolArguments)
    assert problem in str(error)
    assert pets.asked == []


async def test_arguments_of_ten_thousand_levels_are_told_and_nothing_is_sent() -> None:
    deep: object = "x"
    for _ in range(10_000):
        deep = [deep]
    async with api() as pets:
        error = await pets.error("createPet", body={"name": "Rex", "deep": deep})
    assert isinstance(error, BadToolArguments)
    assert "nested too deeply" in str(error)
    assert pets.asked == []


async def test_a_recursive_schema_is_checked_too() -> None:
    node = {"type": "object", "properties": {"next": {"$ref": "#/components/schemas/N"}, "n": {"type": "integer"}}}
    body = {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/N"}}}}
    given = document(
        {"/n": {"post": {"operationId": "take", "requestBody": body}}}, components={"schemas": {"N": node}}
    )
    async with api(given=given) as things:
        await things.call("take", body={"next": {"next": {"n": 1}}})
        error = await things.error("take", body={"next": {"next": {"n": "one"}}})
    assert "argument 'body.next.next.n': 'one' is not of type 'integer'" in str(error)


async def test_another_name_is_unknown() -> None:
    async with api() as pets:
        assert isinstance(await pets.error("optionsPet"), UnknownTool)


@pytest.mark.parametrize(
    ("status", "told"),
    [
        (400, "the API refuses the request; its answer may say why."),
        (401, "the API does not accept the credentials of this tool for this"),
        (403, "the API does not accept the credentials of this tool for this"),
        (404, "the API refuses the request"),
        (422, "the API refuses the request"),
        (429, "the API wants to be asked later."),
        (500, "the API has a fault of its own."),
        (503, "the API has a fault of its own."),
        (302, "the API points to another address, which is not followed."),
    ],
)
async def test_an_http_error_is_told_with_what_the_api_says(status: int, told: str) -> None:
    async with api(json_reply({"detail": "no name"}, status, {"Retry-After": "7"})) as pets:
        error = await pets.error("getPet", petId="7")
    assert isinstance(error, ToolFailed)
    assert told in str(error)
    assert f"HTTP {status} Said\nretry-after: 7\n" in str(error)
    assert "no name" in str(error)


@pytest.mark.parametrize(("tool", "doubted"), [("getPet", False), ("deletePet", True), ("patchPet", True)])
async def test_after_a_fault_of_the_api_a_side_effect_is_in_doubt(tool: str, doubted: bool) -> None:
    async with api(Reply(500)) as pets:
        error = await pets.error(tool, petId="7")
    assert ("may or may not have taken effect" in str(error)) is doubted


async def test_the_body_of_an_error_is_cut() -> None:
    async with api(Reply(500, b"x" * 100_000, "text/plain")) as pets:
        assert len(str(await pets.error("getPet", petId="7"))) < 5_000


async def test_a_body_is_read_up_to_a_size_and_says_so() -> None:
    async with api(Reply(body=b"x" * 200_000, content_type="text/plain"), result_bytes=1_000) as pets:
        told = await pets.call("listPets")
    assert told == f"HTTP 200 Said\n{'x' * 1_000}\n[cut: only the first 1000 bytes of the answer are shown]"


async def test_a_body_that_never_ends_is_not_read_to_its_end() -> None:
    async with api(Reply(body=b"y" * 10_000, content_type="text/plain", endless=True), result_bytes=1_000) as pets:
        assert "[cut:" in await pets.call("listPets")


@pytest.mark.parametrize(
    ("body", "kind", "told"),
    [
        (b"\x89PNG\x00\xff", "image/png", "[image/png, 6 bytes, not shown]"),
        (b"\xff\xfe\x00\x01\x02\x03\x04", "application/octet-stream", "[application/octet-stream, 7 bytes, not shown]"),
        (b"plain", "application/octet-stream", "plain"),
        ("grün".encode("latin-1"), "text/plain; charset=latin-1", "grün"),
        ("grün".encode(), "text/plain; charset=no-such", "grün"),
        (b"a\x00b", "text/plain", "a\ufffdb"),
        (b'{"a":1}', "application/problem+json", '{"a":1}'),
    ],
)
async def test_text_is_shown_and_anything_else_named(body: bytes, kind: str, told: str) -> None:
    async with api(Reply(body=body, content_type=kind)) as pets:
        assert await pets.call("listPets") == f"HTTP 200 Said\n{told}"


async def test_what_the_developer_sends_along_reaches_the_api() -> None:
    async with api(headers={"Authorization": f"Bearer {SECRET}", "Accept": "text/csv"}) as pets:
        await pets.call("getPet", petId="7")
    assert pets.asked[0].headers["authorization"] == f"Bearer {SECRET}"
    assert pets.asked[0].headers["accept"] == "text/csv"


def echo(request: Request) -> Reply:
    """As a debugging endpoint, or a careless error page, would."""
    return json_reply(request.headers, 200 if "good" in request.path else 500, {"Location": "/?k=" + SECRET})


async def test_credentials_that_an_api_sends_back_are_shown_neither_in_results_nor_in_errors() -> None:
    async with api(echo, headers={"Authorization": f"Bearer {SECRET}"}) as pets:
        told = [await pets.call("getPet", petId="good"), str(await pets.error("getPet", petId="bad"))]
    assert all("[hidden]" in each and SECRET not in each for each in told)
    assert SECRET in json.dumps(pets.asked[0].headers)


@pytest.mark.parametrize("size", range(60, 130, 3))
async def test_not_even_the_beginning_of_a_credential_is_shown_where_a_body_is_cut(size: int) -> None:
    body = f"{'x' * 40} {SECRET} {SECRET} {'y' * 200}".encode()
    async with api(Reply(body=body, content_type="text/plain"), headers={"X-Key": SECRET}, result_bytes=size) as pets:
        told = await pets.call("listPets")
    assert SECRET[:4] not in told


async def test_what_a_client_of_the_developers_sends_is_sent_and_hidden_too() -> None:
    operation = {"operationId": "take", "parameters": [parameter("appid", required=True), parameter("q")]}
    async with httpx2.AsyncClient(params={"appid": SECRET}, headers={"X-Mine": "mine-0123456789"}) as client:
        async with api(echo, document({"/good": {"get": operation}}), client=client) as weather:
            (spec,) = await weather.tools.specs()
            told = await weather.call("take", q="a,b c")
        assert list(spec.parameters["properties"]) == ["q"]
        assert weather.asked[0].path == f"/v1/good?q=a%2Cb%20c&appid={SECRET}"
        assert "mine-0123456789" not in told
        assert not client.is_closed


@pytest.mark.parametrize(
    ("tool", "sent"), [("createPet", True), ("patchPet", True), ("putPet", False), ("getPet", False)]
)
async def test_post_and_patch_carry_the_key_of_the_call(tool: str, sent: bool) -> None:
    arguments = {"body": {"name": "Rex"}} if tool == "createPet" else {"petId": "7"}
    async with api() as pets:
        await pets.call(tool, **arguments)
        await pets.call(tool, context=replace(CONTEXT, idempotency_key="a\r\nX-Evil: ü"), **arguments)
    keys = [request.headers.get("idempotency-key") for request in pets.asked]
    assert keys == (["run-1:1/tool/1", "a%0D%0AX-Evil:%20%C3%BC"] if sent else [None, None])


async def test_a_redirect_within_the_api_is_followed_for_a_get() -> None:
    def moved(request: Request) -> Reply:
        return Reply(307, headers={"Location": "/v1/pets/8"}) if request.path.endswith("7") else Reply(body=b"eight")

    async with api(moved, headers={"Authorization": f"Bearer {SECRET}"}) as pets:
        assert "eight" in await pets.call("getPet", petId="7")
    assert pets.asked[1].headers["authorization"] == f"Bearer {SECRET}"


@pytest.mark.parametrize("follow", [None, True])
async def test_a_redirect_to_another_host_is_never_followed(follow: bool | None) -> None:
    """Also by a client that would."""
    client = httpx2.AsyncClient(follow_redirects=True) if follow else None
    async with api() as other:
        moved = Reply(307, headers={"Location": f"{other.server.url}/v1/pets/7"})
        async with api(moved, headers={"X-Key": SECRET}, client=client) as pets:
            error = await pets.error("getPet", petId="7")
    assert other.asked == []
    assert "points to another address, which is not followed" in str(error)
    if client is not None:
        await client.aclose()


async def test_a_redirect_of_a_change_is_not_followed() -> None:
    async with api(Reply(307, headers={"Location": "/v1/pets/8"})) as pets:
        await pets.error("deletePet", petId="7")
    assert len(pets.asked) == 1


async def test_redirects_in_a_circle_end() -> None:
    async with api(Reply(307, headers={"Location": "/v1/pets/7"})) as pets:
        assert "HTTP 307" in str(await pets.error("getPet", petId="7"))
    assert len(pets.asked) == 4


async def test_cookies_are_not_kept_from_call_to_call() -> None:
    async with api(Reply(headers={"Set-Cookie": "session=of-somebody-else; Path=/"})) as pets:
        for _ in range(2):
            await pets.call("listPets")
    assert "cookie" not in pets.asked[1].headers


async def test_an_operation_with_a_server_of_its_own_on_the_same_host_is_called_there() -> None:
    given = document({"/a": {"servers": [{"url": "/v2"}], "get": {"operationId": "take"}}})
    async with api(given=given) as things:
        await things.call("take")
    assert things.asked[0].path == "/v2/a"


async def test_an_api_that_does_not_answer_in_time_is_a_timeout() -> None:
    async with api(Reply(hang=True)) as pets:
        error = await pets.error("getPet", petId="7", context=replace(CONTEXT, timeout_seconds=0.2))
        assert isinstance(error, ToolTimeout)
        assert str(error) == "The tool 'getPet' had no answer from the API within 0.2 s."


@pytest.mark.parametrize(("tool", "doubted"), [("getPet", False), ("deletePet", True)])
async def test_an_api_that_hangs_up_fails_the_call(tool: str, doubted: bool) -> None:
    async with api(Reply(body=b"x" * 1_000, cut_after=10)) as pets:
        error = await pets.error(tool, petId="7")
    assert "cannot reach the API: RemoteProtocolError" in str(error)
    assert ("may or may not have taken effect" in str(error)) is doubted


async def test_an_api_that_cannot_be_reached_has_done_nothing() -> None:
    async with api() as pets:
        pass
    error = await pets.error("deletePet", petId="7")
    assert "cannot reach the API: ConnectError" in str(error)
    assert "taken effect" not in str(error)
    await pets.tools.aclose()


async def test_an_interrupted_put_is_made_again_and_of_an_interrupted_post_a_person_decides() -> None:
    for tool, arguments in (("putPet", {"petId": "7"}), ("createPet", {"body": {"name": "Rex"}})):
        async with api() as pets:
            journal = MemoryJournal()
            llm = ScriptedLlm([[call_of(tool, **arguments)], "done", "done"])
            agent = Agent(planner=ReActPlanner(llm), tools=pets.tools, journal=journal)
            await agent.run("go", run_id="r")
            # As a process that died would leave it: begun, and without a result.
            journal.results = {key: each for key, each in journal.results.items() if key == "1/llm"}
            if tool == "createPet":
                with pytest.raises(RunSuspended):
                    await agent.run("go", run_id="r")
            else:
                await agent.run("go", run_id="r")
            assert len(pets.asked) == (2 if tool == "putPet" else 1)


async def test_the_model_goes_on_after_an_error_of_the_api() -> None:
    async with api(json_reply({"detail": "gone"}, 404)) as pets:
        llm = ScriptedLlm([[call_of("getPet", petId="7")], "gone"])
        report = await Agent(planner=ReActPlanner(llm), tools=pets.tools).run("go")
    message = next(message for message in report.transcript if isinstance(message, ToolMessage))
    assert message.results[0].is_error
    assert "gone" in message.results[0].content


async def test_closing_twice_is_harmless_and_a_call_opens_it_again() -> None:
    async with api() as pets:
        await pets.call("listPets")
        await pets.tools.aclose()
        await pets.tools.aclose()
        await pets.call("listPets")
    assert len(pets.asked) == 2


async def test_nothing_of_the_credentials_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        async with api(headers={"Authorization": f"Bearer {SECRET}"}) as pets:
            await pets.call("listPets")
    assert SECRET not in caplog.text
