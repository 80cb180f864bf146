"""What a vendor says in its headers about its limits comes back with the answer."""

from __future__ import annotations

import dataclasses

import pytest

from agentkit.llm.allowance import Quota, RateAllowance
from agentkit.llm.base import BaseLlmClient
from agentkit.tests.llm.script import Say
from agentkit.tests.llm.vendor_server import VendorServer
from agentkit.tests.llm.vendors import VENDORS
from agentkit.transcript import UserMessage

OPENAI = {
    "x-ratelimit-limit-requests": "60",
    "x-ratelimit-remaining-requests": "59",
    "x-ratelimit-reset-requests": "1s",
    "x-ratelimit-limit-tokens": "150000",
    "x-ratelimit-remaining-tokens": "149984",
    "x-ratelimit-reset-tokens": "6m0s",
}
ANTHROPIC = {"anthropic-ratelimit-requests-limit": "50", "anthropic-ratelimit-requests-remaining": "49"}
EXPECTED = {
    "openai": (OPENAI, RateAllowance(Quota(60, 59, 1.0), Quota(150_000, 149_984, 360.0))),
    "openai-responses": (OPENAI, RateAllowance(Quota(60, 59, 1.0), Quota(150_000, 149_984, 360.0))),
    "openrouter": ({"x-ratelimit-limit": "20", "x-ratelimit-remaining": "7"}, RateAllowance(Quota(20, 7))),
    "anthropic": (ANTHROPIC, RateAllowance(Quota(50, 49))),
}


async def ask(client: BaseLlmClient) -> RateAllowance | None:
    return (await client.complete([UserMessage("Hi")], timeout_seconds=20)).allowance


@pytest.mark.parametrize("vendor", [v for v in VENDORS if v.name in EXPECTED], ids=str)
async def test_the_limits_in_the_headers_are_told(client: BaseLlmClient, server: VendorServer) -> None:
    await ask(client)
    asked = server.requests[-1]
    headers, expected = EXPECTED[asked.vendor]
    server.then(dataclasses.replace(server.rendered(Say(), asked), headers=headers))

    assert await ask(client) == expected


async def test_a_vendor_that_says_nothing_leaves_nothing(client: BaseLlmClient) -> None:
    assert await ask(client) is None
