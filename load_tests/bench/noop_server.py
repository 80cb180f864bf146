"""A FastAPI or a grpc.aio server that does nothing, and the client that calls it as fast as it goes."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import Awaitable, Callable

_IN_FLIGHT = 64
_START_SECONDS = 20.0
_METHOD = "/limits.Limits/Nothing"


async def _serve_fastapi(port: int) -> None:
    import uvicorn
    from fastapi import FastAPI

    app = FastAPI()

    @app.get("/")
    async def nothing() -> dict[str, str]:
        return {}

    await uvicorn.Server(uvicorn.Config(app, port=port, log_level="error", access_log=False)).serve()


async def _serve_grpc(port: int) -> None:
    import grpc

    async def nothing(request: bytes, _: object) -> bytes:
        return request

    server = grpc.aio.server()
    handlers = {"Nothing": grpc.unary_unary_rpc_method_handler(nothing)}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("limits.Limits", handlers),))
    server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    await server.wait_for_termination()


async def _call_fastapi(port: int, seconds: float) -> float:
    """Over plain connections: an HTTP client would cost more than the server."""
    request = b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n"
    connections = await asyncio.gather(*(_connected(port) for _ in range(_IN_FLIGHT)))
    free = list(connections)

    async def call() -> None:
        reader, writer = free.pop()
        writer.write(request)
        await reader.readuntil(b"{}")
        free.append((reader, writer))

    return await _rate(call, seconds)


async def _connected(port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    ends_at = time.monotonic() + _START_SECONDS
    while True:
        try:
            return await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            if time.monotonic() > ends_at:
                raise
            await asyncio.sleep(0.1)


async def _call_grpc(port: int, seconds: float) -> float:
    import grpc

    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        async with asyncio.timeout(_START_SECONDS):
            await channel.channel_ready()
        nothing = channel.unary_unary(_METHOD)

        async def call() -> None:
            await nothing(b"")

        return await _rate(call, seconds)


async def _rate(call: Callable[[], Awaitable[None]], seconds: float) -> float:
    done, started = 0, time.monotonic()

    async def work() -> None:
        nonlocal done
        while time.monotonic() - started < seconds:
            await call()
            done += 1

    await asyncio.gather(*(work() for _ in range(_IN_FLIGHT)))
    return done / (time.monotonic() - started)


def main() -> None:
    kind, port = sys.argv[1], int(os.environ["BENCH_PORT"])
    match kind:
        case "fastapi":
            asyncio.run(_serve_fastapi(port))
        case "grpc":
            asyncio.run(_serve_grpc(port))
        case "call-fastapi":
            print(asyncio.run(_call_fastapi(port, float(sys.argv[2]))))
        case "call-grpc":
            print(asyncio.run(_call_grpc(port, float(sys.argv[2]))))


if __name__ == "__main__":
    main()
