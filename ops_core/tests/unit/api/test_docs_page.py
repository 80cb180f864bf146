from __future__ import annotations

import re
from html import escape
from html.parser import HTMLParser

import httpx2
import pytest
from fastapi import FastAPI


@pytest.fixture
async def page(client: httpx2.AsyncClient) -> str:
    answer = await client.get("/docs")
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    return answer.text


async def test_it_needs_no_script_and_no_other_host(page: str) -> None:
    assert "<script" not in page
    loaded = re.findall(r"""(?:src|href)=["']?([^"'> ]+)""", page)
    assert loaded == ["/openapi.json"]


async def test_each_operation_is_there_with_its_parameters_and_examples(page: str, app: FastAPI) -> None:
    for path, operations in app.openapi()["paths"].items():
        for method, operation in operations.items():
            assert f"<code>{method.upper()} {path}</code>" in page
            for parameter in operation.get("parameters", []):
                assert f"<code>{parameter['name']}</code>" in page
    for text in ("idempotency_key", "What is 17 * 23?", '"retry: 1000', "scratch"):
        assert escape(text).removeprefix("&quot;") in page


async def test_its_tags_are_closed(page: str) -> None:
    open_tags: list[str] = []

    class Balance(HTMLParser):
        def handle_starttag(self, tag: str, attrs: object) -> None:
            if tag in ("details", "summary", "table", "pre", "code", "p", "h1", "h2"):
                open_tags.append(tag)

        def handle_endtag(self, tag: str) -> None:
            if tag in ("details", "summary", "table", "pre", "code", "p", "h1", "h2"):
                assert open_tags.pop() == tag

    Balance().feed(page)
    assert open_tags == []


async def test_fastapis_own_pages_are_gone(client: httpx2.AsyncClient) -> None:
    for path in ("/redoc", "/docs/oauth2-redirect"):
        assert (await client.get(path)).status_code == 404
