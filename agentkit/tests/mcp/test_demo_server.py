"""The demo MCP server: what its handbook answers, in process."""

from __future__ import annotations

import subprocess
import sys

import pytest
from mcp import Client
from mcp.types import CallToolResult

from agentkit.mcp.demo_server import build_server

DOCUMENTS = ["on-call", "opening-hours", "refund-policy", "shipping-policy", "widget-prices"]


async def call(tool: str, arguments: dict[str, str]) -> CallToolResult:
    async with Client(build_server()) as client:
        return await client.call_tool(tool, arguments)


@pytest.mark.parametrize(
    ("query", "first"),
    [
        ("refund policy", "refund-policy"),
        ("What is our REFUND policy?", "refund-policy"),
        ("How long does express shipping take?", "shipping-policy"),
        ("price of the Widget Pro", "widget-prices"),
        ("when is support open on Saturday", "opening-hours"),
        ("who is on-call", "on-call"),
    ],
)
async def test_the_document_that_fits_best_is_found_first(query: str, first: str) -> None:
    found = await call("search", {"query": query})
    assert found.structured_content is not None
    assert found.structured_content["result"][0]["name"] == first
    assert found.structured_content["result"][0]["summary"]


@pytest.mark.parametrize("query", ["", "xylophone", "what is the", "?" * 10_000])
async def test_a_search_for_nothing_it_has_finds_nothing(query: str) -> None:
    found = await call("search", {"query": query})
    assert (found.is_error, found.structured_content) == (False, {"result": []})


@pytest.mark.parametrize("name", [*DOCUMENTS, "Refund-Policy.md"])
async def test_a_document_is_read_by_its_name(name: str) -> None:
    answered = await call("read", {"name": name})
    assert answered.structured_content is not None
    assert answered.structured_content["result"].startswith("# ")


@pytest.mark.parametrize("name", ["", "salaries", "../config", "/etc/passwd"])
async def test_an_unknown_document_lists_those_there_are(name: str) -> None:
    answered = await call("read", {"name": name})
    assert answered.is_error
    assert ", ".join(DOCUMENTS) in str(answered.content)


def test_importing_agentkit_mcp_does_not_import_the_sdk() -> None:
    check = "import sys, agentkit.mcp; sys.exit(any(name in sys.modules for name in ('mcp', 'anyio', 'httpx2')))"
    assert subprocess.run([sys.executable, "-c", check], timeout=60, check=False).returncode == 0
