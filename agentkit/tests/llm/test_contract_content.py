"""What every vendor's client does with images, files and output schemas, through the real SDK against a real port."""

from __future__ import annotations

import base64
import json
from datetime import date
from typing import Any

import pytest
from pydantic import BaseModel

from agentkit.agent import Agent
from agentkit.attachments import Attachment
from agentkit.errors import LlmRequestInvalid
from agentkit.llm.base import BaseLlmClient, LlmResponse
from agentkit.planners.one_call import OneCallPlanner
from agentkit.planners.react import ReActPlanner
from agentkit.report import Finished
from agentkit.tests.llm.script import Call, Fail, Fault, Json, Say
from agentkit.tests.llm.vendor_server import VendorServer
from agentkit.tests.llm.vendors import VENDORS, Vendor
from agentkit.tools.calculator import calculator
from agentkit.tools.registry import ToolRegistry
from agentkit.transcript import UserMessage

PNG = Attachment.of(b"\x89PNG\r\n\x1a\nnot much of one", "image/png", name="dot.png")
PDF = Attachment.of(b"%PDF-1.7 not much of one", "application/pdf", name="bill.pdf")
CSV = Attachment.of("größe,zahl\n1,2\n".encode(), "text/csv", name="numbers.csv")
PICTURE_ELSEWHERE = Attachment("image/jpeg", url="https://example.com/cat.jpg")
SOUND = Attachment.of(b"RIFF", "audio/wav")

SCHEMA: Json = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "properties": {"total": {"type": "integer", "minimum": 0}},
    "required": ["total"],
}


class Bill(BaseModel):
    total: int
    due: date


async def show(client: BaseLlmClient, *attachments: Attachment) -> LlmResponse:
    return await client.complete([UserMessage("What is this?", attachments)], timeout_seconds=20)


async def ask_for(client: BaseLlmClient, schema: Json) -> LlmResponse:
    return await client.complete([UserMessage("How much?")], output_schema=schema, timeout_seconds=20)


@pytest.mark.parametrize("attachment", [PNG, PDF], ids=["image", "pdf"])
async def test_an_image_and_a_pdf_arrive_byte_for_byte(
    client: BaseLlmClient, server: VendorServer, attachment: Attachment
) -> None:
    await show(client, attachment)

    (sent,) = server.requests[0].attachments
    assert base64.b64decode(sent.rpartition(",")[2]) == attachment.content()


async def test_the_type_of_an_image_is_told(client: BaseLlmClient, server: VendorServer) -> None:
    await show(client, PNG)

    assert "image/png" in json.dumps(server.requests[0].body)


async def test_a_picture_elsewhere_is_given_by_its_address(client: BaseLlmClient, server: VendorServer) -> None:
    await show(client, PICTURE_ELSEWHERE)

    assert server.requests[0].attachments == ("https://example.com/cat.jpg",)


async def test_a_text_file_is_shown_as_text_with_its_name(client: BaseLlmClient, server: VendorServer) -> None:
    await show(client, CSV)

    assert server.requests[0].attachments == ()
    sent = json.dumps(server.requests[0].body, ensure_ascii=False)
    assert "größe,zahl" in sent
    assert "numbers.csv" in sent


async def test_several_attachments_keep_their_order(client: BaseLlmClient, server: VendorServer) -> None:
    other = Attachment.of(b"another", "image/png")

    await show(client, PNG, PDF, other)

    sent = [base64.b64decode(each.rpartition(",")[2]) for each in server.requests[0].attachments]
    assert sent == [PNG.content(), PDF.content(), b"another"]


async def test_an_attachment_without_words_is_a_question_too(client: BaseLlmClient, server: VendorServer) -> None:
    await client.complete([UserMessage("", (PNG,))], timeout_seconds=20)

    assert len(server.requests[0].attachments) == 1


@pytest.mark.parametrize("vendor", [v for v in VENDORS if v.name in ("openai", "anthropic")], ids=str)
async def test_what_a_vendor_cannot_be_shown_is_refused_before_it_is_sent(
    client: BaseLlmClient, server: VendorServer
) -> None:
    with pytest.raises(LlmRequestInvalid, match="audio/wav"):
        await show(client, SOUND)
    assert server.received == 0


async def test_a_text_file_that_is_no_text_is_refused_before_it_is_sent(
    client: BaseLlmClient, server: VendorServer
) -> None:
    with pytest.raises(LlmRequestInvalid, match="UTF-8"):
        await show(client, Attachment.of(b"\xff\xfe", "text/plain"))
    assert server.received == 0


async def test_the_model_is_held_to_the_schema(client: BaseLlmClient, server: VendorServer) -> None:
    server.then(Say('{"total": 3}'))

    response = await ask_for(client, SCHEMA)

    assert response.message.text == '{"total": 3}'
    held_to = server.requests[0].output_schema
    assert held_to is not None
    assert held_to["required"] == ["total"]


async def test_a_schema_that_the_vendor_refuses_is_left_out_and_not_tried_again(
    client: BaseLlmClient, server: VendorServer
) -> None:
    server.then(Fail(Fault.bad_request, "that schema is not supported"), Say('{"total": 3}'), Say('{"total": 4}'))

    first, second = await ask_for(client, SCHEMA), await ask_for(client, SCHEMA)

    assert [first.message.text, second.message.text] == ['{"total": 3}', '{"total": 4}']
    assert [asked.output_schema is not None for asked in server.requests] == [True, False, False]


async def test_a_request_that_is_wrong_for_another_reason_does_not_cost_the_schema(
    client: BaseLlmClient, server: VendorServer
) -> None:
    server.then(Fail(Fault.bad_request, "no"), Fail(Fault.bad_request, "no"), Say('{"total": 3}'))

    with pytest.raises(LlmRequestInvalid):
        await ask_for(client, SCHEMA)
    await ask_for(client, SCHEMA)

    assert server.requests[-1].output_schema is not None


async def test_an_agent_gives_back_a_value_of_its_output_type(client: BaseLlmClient, server: VendorServer) -> None:
    server.then(Say('{"total": "three"}'), Say('{"total": 3, "due": "2026-12-24"}'))
    agent = Agent(planner=OneCallPlanner(client), output=Bill)

    report = await agent.run("How much is the bill?", attachments=[PDF])

    assert isinstance(report.outcome, Finished)
    assert report.outcome.value == Bill(total=3, due=date(2026, 12, 24))
    assert report.outcome.output == {"total": 3, "due": "2026-12-24"}
    assert [len(asked.attachments) for asked in server.requests] == [1, 1]
    assert all(asked.output_schema is not None for asked in server.requests)


@pytest.mark.parametrize("vendor", [v for v in VENDORS if v.name != "compatible"], ids=str)
async def test_a_model_with_tools_is_held_to_the_schema_too(client: BaseLlmClient, server: VendorServer) -> None:
    server.then(Call((("calculator", {"expression": "1 + 2"}),)), Say('{"total": 3}'))
    agent = Agent(planner=ReActPlanner(client), tools=ToolRegistry([calculator]), output=SCHEMA)

    report = await agent.run("How much?")

    assert isinstance(report.outcome, Finished)
    assert report.outcome.output == {"total": 3}
    assert all(asked.output_schema is not None for asked in server.requests)


@pytest.mark.parametrize("vendor", [v for v in VENDORS if v.name == "compatible"], ids=str)
async def test_a_local_model_with_tools_is_not_since_it_could_not_call_them(
    client: BaseLlmClient, vendor: Vendor, server: VendorServer
) -> None:
    agent = Agent(planner=ReActPlanner(client), tools=ToolRegistry([calculator]), output=SCHEMA)
    server.then(Say('{"total": 3}'))

    await agent.run("How much?")

    assert server.requests[0].output_schema is None


@pytest.mark.parametrize(
    ("schema", "strict"),
    [
        ({"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]}, False),
        (SCHEMA | {"additionalProperties": False}, True),
        ({"type": "object", "properties": {"a": {}}, "additionalProperties": False}, False),
        (Bill.model_json_schema() | {"additionalProperties": False}, True),
    ],
    ids=["open", "closed", "with an optional part", "of a model"],
)
async def test_openai_is_told_to_be_strict_only_where_it_can_be(
    server: VendorServer, schema: dict[str, Any], strict: bool
) -> None:
    vendor = next(v for v in VENDORS if v.name == "openai-responses")
    client = vendor.client(server)

    await ask_for(client, schema)

    assert server.requests[0].body["text"]["format"]["strict"] is strict
    await client.aclose()
