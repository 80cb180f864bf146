"""One server and one client per test, for each vendor in turn."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from agentkit.llm.base import BaseLlmClient
from agentkit.tests.llm.vendor_server import VendorServer
from agentkit.tests.llm.vendors import VENDORS, Vendor


@pytest.fixture
async def server() -> AsyncIterator[VendorServer]:
    async with VendorServer() as server:
        yield server


@pytest.fixture(params=VENDORS, ids=str)
def vendor(request: pytest.FixtureRequest) -> Vendor:
    chosen: Vendor = request.param
    return chosen


@pytest.fixture
async def client(vendor: Vendor, server: VendorServer) -> AsyncIterator[BaseLlmClient]:
    client = vendor.client(server)
    yield client
    await client.aclose()
