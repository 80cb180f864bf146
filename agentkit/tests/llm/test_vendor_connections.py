"""How connections are spread and bounded."""

from __future__ import annotations

import asyncio

from agentkit.llm.vendor_connections import bounded_http_client
from agentkit.tests.llm.http_server import HttpServer, Reply, Request


async def test_more_calls_at_once_than_one_pool_takes_are_all_in_flight() -> None:
    in_flight, all_here = 0, asyncio.Event()

    async def answer(_: Request) -> Reply:
        nonlocal in_flight
        in_flight += 1
        if in_flight == 200:
            all_here.set()
        await asyncio.wait_for(all_here.wait(), 30)
        return Reply(body=b"{}")

    async with HttpServer(answer) as server, bounded_http_client() as client:
        replies = await asyncio.gather(*(client.get(server.url, timeout=60) for _ in range(200)))

    assert {reply.status_code for reply in replies} == {200}


async def test_calls_one_after_another_share_a_connection() -> None:
    async def answer(_: Request) -> Reply:
        return Reply(body=b"{}")

    async with HttpServer(answer) as server, bounded_http_client() as client:
        for _ in range(5):
            await client.get(server.url)
        assert server.accepted == 1
