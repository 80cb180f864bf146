"""How connections are spread and bounded."""

from __future__ import annotations

import asyncio
import contextlib

import httpx2
import pytest

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


@pytest.mark.parametrize("how", ["read", "closed", "cut"])
async def test_a_streamed_reply_takes_its_place_until_it_is_read_or_given_up(how: str) -> None:
    async def answer(_: Request) -> Reply:
        return Reply(pieces=(b"a", b"b"), cut_after_pieces=1 if how == "cut" else None)

    async with HttpServer(answer) as server, bounded_http_client() as client:
        async with client.stream("GET", server.url) as reply:
            assert in_flight(client) == 1
            if how != "closed":
                with contextlib.suppress(httpx2.RemoteProtocolError):
                    await reply.aread()
                assert in_flight(client) == 0
        assert in_flight(client) == 0


def in_flight(client: httpx2.AsyncClient) -> int:
    return sum(pool.in_flight for pool in vars(client)["_pools"])
