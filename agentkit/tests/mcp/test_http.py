"""Connections to servers over streamable HTTP: a real one on a port, and scripted ones that misbehave."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

import pytest

from agentkit.errors import ToolFailed, ToolTimeout
from agentkit.mcp import HttpServer, McpConnections

#: Takes the JSON-RPC request and the headers; gives status, headers and body.
Script = Callable[[dict[str, Any], dict[str, str]], Awaitable[tuple[int, dict[str, str], bytes]]]


@pytest.fixture(scope="module")
def port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class HttpHandbook:
    """The demo server as a process on a port."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.start()

    def start(self) -> None:
        command = [sys.executable, "-m", "agentkit.mcp.demo_server", "--http", str(self.port)]
        self.process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 30
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
                return
            except OSError:
                assert time.monotonic() < deadline, "the demo server did not start"
                time.sleep(0.05)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


@pytest.fixture(scope="module")
def handbook(port: int) -> Iterator[HttpHandbook]:
    running = HttpHandbook(port)
    yield running
    running.kill()


@pytest.fixture
async def connections(handbook: HttpHandbook) -> AsyncIterator[McpConnections]:
    url = f"http://127.0.0.1:{handbook.port}/mcp"
    opened = McpConnections({"handbook": HttpServer(name="handbook", url=url, headers={"Authorization": "Bearer t"})})
    yield opened
    await opened.aclose()


async def read(connections: McpConnections, name: str = "on-call") -> str:
    return (await connections.call("handbook", "read", {"name": name})).text


async def test_tools_of_a_remote_server_are_listed_and_called(connections: McpConnections) -> None:
    assert [tool.name for tool in await connections.tools("handbook")] == ["read", "search"]
    assert "Dana Okafor" in await read(connections)


async def test_fifty_calls_run_at_once(connections: McpConnections) -> None:
    texts = await asyncio.gather(*(read(connections) for _ in range(50)))
    assert len(texts) == 50
    assert len(set(texts)) == 1


async def test_a_remote_server_that_goes_and_comes_back_is_used_again(
    connections: McpConnections, handbook: HttpHandbook
) -> None:
    assert await read(connections)
    handbook.kill()
    with pytest.raises(ToolFailed, match=f"http://127.0.0.1:{handbook.port} cannot be reached"):
        await read(connections)
    with pytest.raises(ToolFailed, match="cannot be reached"):
        await read(connections)
    with pytest.raises(ToolFailed, match="it is tried again in"):
        await read(connections)
    handbook.start()
    deadline = time.monotonic() + 10
    while not connections.status()[0].connected:
        assert time.monotonic() < deadline, "the server came back and was not used again"
        with contextlib.suppress(ToolFailed):
            await read(connections)
        await asyncio.sleep(0.02)


@contextlib.asynccontextmanager
async def scripted(script: Script, **options: Any) -> AsyncIterator[McpConnections]:
    """Connections to a server named `bad` that answers each POST as the script says."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                lines = head.decode().split("\r\n")[1:]
                headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
                body = await reader.readexactly(int(headers.get("content-length", "0")))
                status, answered, content = await script(json.loads(body or b"{}"), headers)
                sent = {"content-length": str(len(content)), "content-type": "application/json"} | answered
                described = "".join(f"{name}: {value}\r\n" for name, value in sent.items())
                writer.write(f"HTTP/1.1 {status} Said\r\n{described}\r\n".encode() + content)
                await writer.drain()
                if "connection" in sent:
                    break
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/mcp?token=secret"
    connections = McpConnections({"bad": HttpServer(name="bad", url=url, headers={"X-Key": "k"})}, **options)
    try:
        yield connections
    finally:
        await connections.aclose()
        server.close()


def legacy(on_call: Script) -> Script:
    """A server with sessions, as they were before 2026; `on_call` answers tools/call."""

    async def script(request: dict[str, Any], headers: dict[str, str]) -> tuple[int, dict[str, str], bytes]:
        match request.get("method"):
            case "initialize":
                said = {"protocolVersion": "2025-06-18", "capabilities": {"tools": {}}}
                result: dict[str, Any] = {**said, "serverInfo": {"name": "legacy", "version": "1"}}
                return 200, {"mcp-session-id": "s"}, reply(request, result)
            case "tools/list":
                return 200, {}, reply(request, {"tools": [{"name": "act", "inputSchema": {"type": "object"}}]})
            case "tools/call":
                return await on_call(request, headers)
            case "notifications/initialized":
                return 202, {}, b""
            case _:
                return 405, {}, b""

    return script


def reply(request: dict[str, Any], result: dict[str, Any]) -> bytes:
    return json.dumps({"jsonrpc": "2.0", "id": request["id"], "result": result}).encode()


def text_reply(request: dict[str, Any], text: str) -> bytes:
    return reply(request, {"content": [{"type": "text", "text": text}]})


@pytest.mark.parametrize(
    ("status", "said"),
    [
        (401, "answered HTTP 401 Said; check its headers in the configuration"),
        (403, "answered HTTP 403 Said; check its headers"),
        (500, "answered HTTP 500 Said"),
        (503, "answered HTTP 503 Said"),
    ],
)
async def test_an_error_page_is_told_by_its_status_and_shows_no_secret(status: int, said: str) -> None:
    async def script(request: dict[str, Any], headers: dict[str, str]) -> tuple[int, dict[str, str], bytes]:
        assert headers["x-key"] == "k"
        return status, {"content-type": "text/html"}, b"<h1>sorry</h1>"

    async with scripted(script) as connections:
        with pytest.raises(ToolFailed, match=said) as failed:
            await connections.tools("bad")
        assert "secret" not in str(failed.value)


@pytest.mark.parametrize("body", [b"<h1>hello</h1>", b"{", b"[]", b'{"jsonrpc": "2.0"}', b""])
@pytest.mark.parametrize("content_type", ["text/html", "application/json", "text/event-stream"])
async def test_rubbish_instead_of_an_answer_is_a_failed_call(body: bytes, content_type: str) -> None:
    async def script(request: dict[str, Any], headers: dict[str, str]) -> tuple[int, dict[str, str], bytes]:
        return 200, {"content-type": content_type}, body

    async with scripted(script, connect_timeout_seconds=5) as connections:
        with pytest.raises(ToolFailed):
            await connections.tools("bad")


async def test_an_answer_that_breaks_off_fails_its_call_and_not_the_others() -> None:
    release = asyncio.Event()

    async def on_call(request: dict[str, Any], headers: dict[str, str]) -> tuple[int, dict[str, str], bytes]:
        if request["params"]["arguments"].get("break"):
            return 200, {"content-length": "1000", "connection": "close"}, b'{"jsonrpc"'
        await release.wait()
        return 200, {}, text_reply(request, "fine")

    async with scripted(legacy(on_call)) as connections:
        await connections.tools("bad")
        other = asyncio.create_task(connections.call("bad", "act", {}))
        with pytest.raises(ToolFailed, match="the answer broke off"):
            await connections.call("bad", "act", {"break": True})
        release.set()
        assert (await other).text == "fine"


async def test_an_endless_answer_fails_its_call() -> None:
    async def on_call(request: dict[str, Any], headers: dict[str, str]) -> tuple[int, dict[str, str], bytes]:
        return 200, {}, text_reply(request, "x" * 34_000_000)

    async with scripted(legacy(on_call)) as connections:
        with pytest.raises(ToolFailed, match="the answer is longer than"):
            await connections.call("bad", "act", {})


async def test_a_slow_answer_is_a_timeout() -> None:
    async def on_call(request: dict[str, Any], headers: dict[str, str]) -> tuple[int, dict[str, str], bytes]:
        await asyncio.sleep(30)
        return 200, {}, b""

    async with scripted(legacy(on_call)) as connections:
        await connections.tools("bad")
        with pytest.raises(ToolTimeout):
            await connections.call("bad", "act", {}, timeout_seconds=0.3)


async def test_a_session_the_server_has_forgotten_is_opened_anew() -> None:
    calls = 0

    async def on_call(request: dict[str, Any], headers: dict[str, str]) -> tuple[int, dict[str, str], bytes]:
        nonlocal calls
        calls += 1
        return (404, {}, b"") if calls == 1 else (200, {}, text_reply(request, "fine"))

    async with scripted(legacy(on_call), first_retry_seconds=0.0) as connections:
        with pytest.raises(ToolFailed, match="Session terminated"):
            await connections.call("bad", "act", {})
        assert (await connections.call("bad", "act", {})).text == "fine"


async def test_calls_under_way_finish_when_their_connection_is_replaced() -> None:
    release = asyncio.Event()

    async def on_call(request: dict[str, Any], headers: dict[str, str]) -> tuple[int, dict[str, str], bytes]:
        match request["params"]["arguments"]:
            case {"lose": True}:
                return 404, {}, b""
            case {"wait": True}:
                await release.wait()
        return 200, {}, text_reply(request, "fine")

    async with scripted(legacy(on_call), first_retry_seconds=0.0) as connections:
        await connections.tools("bad")
        waiting = asyncio.create_task(connections.call("bad", "act", {"wait": True}))
        with pytest.raises(ToolFailed):
            await connections.call("bad", "act", {"lose": True})
        assert (await connections.call("bad", "act", {})).text == "fine"
        release.set()
        assert (await waiting).text == "fine"


async def test_an_address_where_nobody_listens_is_named() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        free = probe.getsockname()[1]
    connections = McpConnections({"bad": HttpServer(name="bad", url=f"http://127.0.0.1:{free}/mcp")})
    with pytest.raises(ToolFailed, match=f"http://127.0.0.1:{free} cannot be reached"):
        await connections.tools("bad")
    await connections.aclose()
