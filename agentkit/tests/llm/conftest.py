"""One server and one client per test, for each vendor in turn, asked for whole answers and for streamed ones."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from agentkit.llm.base import BaseLlmClient
from agentkit.tests.llm.vendor_server import VendorServer
from agentkit.tests.llm.vendors import VENDORS, Streaming, Vendor


@pytest.fixture
async def server() -> AsyncIterator[VendorServer]:
    async with VendorServer() as server:
        yield server


@pytest.fixture(params=VENDORS, ids=str)
def vendor(request: pytest.FixtureRequest) -> Vendor:
    chosen: Vendor = request.param
    return chosen


@pytest.fixture(params=["whole", "streamed"])
async def client(vendor: Vendor, server: VendorServer, request: pytest.FixtureRequest) -> AsyncIterator[BaseLlmClient]:
    made = vendor.client(server)
    client = made if request.param == "whole" else Streaming(made)
    yield client
    await client.aclose()
