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
    #: Send these one after the other, as they come, instead of a body whose length is promised.
    pieces: tuple[bytes, ...] = ()
    #: How long to think before each piece after the first.
    piece_delay_seconds: float = 0.0
    #: Hang up after so many pieces.
    cut_after_pieces: int | None = None
    #: Say no more after so many pieces, until the client hangs up.
    stall_after_pieces: int | None = None
    #: Called with the number of each piece right before it is sent.
    on_piece: Callable[[int], None] | None = None


def json_reply(body: Any, status: int = 200, headers: dict[str, str] | None = None) -> Reply:
    return Reply(status, json.dumps(body, ensure_ascii=False).encode(), headers=headers or {})


def event(data: Any, name: str = "") -> bytes:
    """One server-sent event; `data` is JSON, or text as it is."""
    written = data if isinstance(data, str) else json.dumps(data, ensure_ascii=False)
    return (f"event: {name}\n" if name else "").encode() + f"data: {written}\n\n".encode()


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
            return await self._hang(reader)
        if reply.delay_seconds:
            await asyncio.sleep(reply.delay_seconds)
        if reply.pieces:
            return await self._respond_in_pieces(reply, reader, writer)
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

    async def _respond_in_pieces(
        self, reply: Reply, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> bool:
        headers = {"content-type": reply.content_type, "transfer-encoding": "chunked"} | reply.headers
        head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        writer.write(f"HTTP/1.1 {reply.status} Said\r\n{head}\r\n".encode())
        for number, piece in enumerate(reply.pieces):
            if number == reply.cut_after_pieces:
                await writer.drain()
                return False
            if number == reply.stall_after_pieces:
                return await self._hang(reader)
            if number and reply.piece_delay_seconds:
                await asyncio.sleep(reply.piece_delay_seconds)
            if reply.on_piece is not None:
                reply.on_piece(number)
            writer.write(f"{len(piece):x}\r\n".encode() + piece + b"\r\n")
            await writer.drain()
        writer.write(b"0\r\n\r\n")
        await writer.drain()
        return True

    async def _hang(self, reader: asyncio.StreamReader) -> bool:
        self.hanging += 1
        try:
            await reader.read()
        finally:
            self.hanging -= 1
        self.hung_up += 1
        return False


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
