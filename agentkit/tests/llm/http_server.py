"""A small HTTP/1.1 server on a real port that can also misbehave: hang, hang up mid-body, never end."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self


@dataclass(frozen=True)
class Request:
    method: str
    path: str
    #: Names in lower case.
    headers: dict[str, str]
    body: bytes


@dataclass(frozen=True)
class Reply:
    status: int = 200
    body: bytes = b""
    content_type: str = "application/json"
    headers: dict[str, str] = field(default_factory=dict)
    #: How long to think before the first byte.
    delay_seconds: float = 0.0
    #: Hang up after so many bytes of the body, having promised all of it.
    cut_after: int | None = None
    #: Never answer; wait for the client to give up.
    hang: bool = False
    #: Repeat the body until the client hangs up.
    endless: bool = False


def json_reply(body: Any, status: int = 200, headers: dict[str, str] | None = None) -> Reply:
    return Reply(status, json.dumps(body, ensure_ascii=False).encode(), headers=headers or {})


class HttpServer:
    """Answers on 127.0.0.1 with what `answer` returns, connections kept alive."""

    def __init__(self, answer: Callable[[Request], Awaitable[Reply]], port: int = 0) -> None:
        self._answer = answer
        self._port = port
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()
        #: Connections made so far.
        self.accepted = 0
        #: Requests left hanging now, and those of them whose client has hung up.
        self.hanging = 0
        self.hung_up = 0

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self._port, backlog=4096)
        self._port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._server.close()
        for task in self._connections:
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)
        await self._server.wait_closed()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        self.accepted += 1
        try:
            while (request := await _read(reader)) is not None:
                if not await self._respond(await self._answer(request), reader, writer):
                    break
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # the client hung up, or the server ends
        finally:
            self._connections.discard(task)
            writer.close()

    async def _respond(self, reply: Reply, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Whether the connection may serve another request."""
        if reply.hang:
            self.hanging += 1
            try:
                await reader.read()
            finally:
                self.hanging -= 1
            self.hung_up += 1
            return False
        if reply.delay_seconds:
            await asyncio.sleep(reply.delay_seconds)
        promised = 1 << 40 if reply.endless else len(reply.body)
        headers = {"content-type": reply.content_type, "content-length": str(promised)} | reply.headers
        head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        writer.write(f"HTTP/1.1 {reply.status} Said\r\n{head}\r\n".encode() + reply.body[: reply.cut_after])
        await writer.drain()
        while reply.endless:
            writer.write(reply.body)
            await writer.drain()
            await asyncio.sleep(0)  # drain() alone lets nobody else run while there is room to write
        return reply.cut_after is None


async def _read(reader: asyncio.StreamReader) -> Request | None:
    """The next request; None when the client has closed the connection."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError:
        return None
    first, *lines = head.decode("latin-1").split("\r\n")
    method, path, _ = first.split(" ", 2)
    headers = {
        name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines if line)
    }
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    return Request(method, path, headers, body)
