"""The tool that reads web pages: what it reaches, what it reads, and what it makes of it."""

from __future__ import annotations

import asyncio
import gzip
import subprocess
import sys
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentkit import BadToolArguments, ConfigurationError, ToolContext, ToolFailed, ToolRegistry, ToolTimeout
from agentkit.security.addresses import DestinationCheck, HostPolicy
from agentkit.security.guarded_http import guarded_client
from agentkit.testing import call_of
from agentkit.tests.llm.http_server import HttpServer, Reply, Request
from agentkit.tests.security.certificates import certified
from agentkit.tests.security.diverted import PUBLIC, AllowEverything, DivertedNetwork, Names
from agentkit.tests.tools.hostile_urls import INSIDE, MALFORMED, NAMELESS, NAMES, ODD
from agentkit.tools.http_fetch import http_fetch, http_fetch_by, make_http_fetch
from agentkit.tools.web_page import PageFetcher, PageLimits

CONTEXT = ToolContext("run-1", "1/tool/1", "run-1:1/tool/1", timeout_seconds=30)

Answer = Callable[[Request], Awaitable[Reply]]


class Web:
    """The tool on a network of one local server, which stands for all of the internet and all that is inside."""

    def __init__(self, answer: Reply | Answer, check: DestinationCheck | None = None, **limits: Any) -> None:
        self.requests: list[Request] = []
        self._reply = answer
        self.server = HttpServer(self._answer)
        self.names = Names(NAMES)
        self._check = check or HostPolicy()
        self._limits = PageLimits(**limits)

    async def __aenter__(self) -> Web:
        await self.server.__aenter__()
        self.network = DivertedNetwork(int(self.server.url.rpartition(":")[2]))
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.server.__aexit__(None, None, None)

    async def get(self, url: str = "http://public.example/", **arguments: Any) -> str:
        fetcher = PageFetcher(self._check, limits=self._limits, open_client=self._client)
        return await call(http_fetch_by(fetcher), url=url, **arguments)

    def _client(self, check: DestinationCheck) -> httpx2.AsyncClient:
        return guarded_client(
            check,
            resolver=self.names,
            network=self.network,
            ssl_context=NO_CERTIFICATES,
            timeout=self._limits.silent_seconds,
        )

    async def _answer(self, request: Request) -> Reply:
        self.requests.append(request)
        return self._reply if isinstance(self._reply, Reply) else await self._reply(request)


#: To load the machine's certificates for each of a hundred URLs would take most of the time.
NO_CERTIFICATES = httpx2.create_ssl_context(verify=False)


async def call(tool: Any, **arguments: Any) -> str:
    return (await ToolRegistry([tool]).call(call_of(tool.spec.name, **arguments), CONTEXT)).content


def text_reply(body: str | bytes, content_type: str = "text/plain", **headers: str) -> Reply:
    return Reply(body=body.encode() if isinstance(body, str) else body, content_type=content_type, headers=headers)


def html_reply(body: str) -> Reply:
    return text_reply(body, "text/html; charset=utf-8")


def redirect(location: str, status: int = 302) -> Reply:
    return Reply(status, headers={"location": location})


@pytest.fixture
async def canary() -> AsyncIterator[Web]:
    async with Web(text_reply("the canary sang")) as web:
        yield web


@pytest.fixture
async def unguarded() -> AsyncIterator[Web]:
    async with Web(text_reply("the canary sang"), AllowEverything(), silent_seconds=1.0) as web:
        yield web


def test_there_are_at_least_sixty_hostile_urls_of_either_kind_together() -> None:
    assert len({*INSIDE, *MALFORMED}) == len(INSIDE) + len(MALFORMED) >= 60


@pytest.mark.parametrize("url", [*INSIDE, *MALFORMED, *ODD])
async def test_no_hostile_url_reaches_the_canary(canary: Web, url: str) -> None:
    with pytest.raises(ToolFailed, match="is not fetched"):
        await canary.get(url)
    assert (canary.server.accepted, canary.network.connected) == (0, [])


@pytest.mark.parametrize("url", INSIDE)
async def test_with_the_guard_off_the_same_url_reaches_the_canary(unguarded: Web, url: str) -> None:
    try:
        await unguarded.get(url)
    except (ToolFailed, ToolTimeout):
        assert url.startswith("https")  # the canary speaks no TLS, but was reached
    assert unguarded.server.accepted == 1


@pytest.mark.parametrize("url", MALFORMED)
async def test_with_the_guard_off_a_malformed_url_is_refused_all_the_same(unguarded: Web, url: str) -> None:
    with pytest.raises(ToolFailed):
        await unguarded.get(url)
    assert unguarded.server.accepted == 0


@pytest.mark.parametrize(
    "url", [url for url in (*INSIDE, *MALFORMED) if url.isprintable() and "://" in url and url not in NAMELESS]
)
@pytest.mark.parametrize("status", [301, 307])
async def test_no_redirect_reaches_the_canary(url: str, status: int) -> None:
    async with Web(redirect(url, status)) as web:
        with pytest.raises(ToolFailed, match="redirects"):
            await web.get()
        assert (web.server.accepted, web.network.connected) == (1, [f"{PUBLIC}:80"])
        assert {each.headers["host"] for each in web.requests} == {"public.example"}


async def test_with_the_guard_off_a_redirect_reaches_the_canary() -> None:
    async def answer(request: Request) -> Reply:
        inside = request.headers["host"] == "10.0.0.1"
        return text_reply("the canary sang") if inside else redirect("http://10.0.0.1/")

    async with Web(answer, AllowEverything()) as web:
        assert "the canary sang" in await web.get()


async def test_the_last_of_a_chain_of_redirects_is_checked_like_the_first() -> None:
    async def answer(request: Request) -> Reply:
        hop = int(request.path.strip("/") or "0")
        return redirect(f"/{hop + 1}" if hop < 4 else "http://ten.attacker.example/")

    async with Web(answer) as web:
        with pytest.raises(ToolFailed, match=r"'ten\.attacker\.example' does not lead"):
            await web.get()
        assert [each.path for each in web.requests] == ["/", "/1", "/2", "/3", "/4"]
        assert set(web.network.connected) == {f"{PUBLIC}:80"}


async def test_a_name_that_turns_inside_between_two_redirects_is_not_reached() -> None:
    async def answer(request: Request) -> Reply:
        return Reply(302, headers={"location": "http://turning.example/", "connection": "close"})

    async with Web(answer) as web:
        web.names = Names({"turning.example": [[PUBLIC], ["127.0.0.1"]]})
        with pytest.raises(ToolFailed, match="does not lead to a public address"):
            await web.get("http://turning.example/")
        assert web.network.connected == [f"{PUBLIC}:80"]


async def test_redirects_end_after_five() -> None:
    async def answer(request: Request) -> Reply:
        return redirect(f"/x{request.path}")

    async with Web(answer) as web:
        with pytest.raises(ToolFailed, match="redirects more than 5 times"):
            await web.get()
        assert len(web.requests) == 6


@pytest.mark.parametrize("location", ["/b", "b", "//public.example/b", "http://PUBLIC.example/b", "?b", "/b#part"])
async def test_a_redirect_on_the_public_web_is_followed(location: str) -> None:
    async def answer(request: Request) -> Reply:
        return redirect(location) if request.path == "/a" else text_reply("arrived")

    async with Web(answer) as web:
        assert (await web.get("http://public.example/a")).endswith("arrived")


async def test_a_redirect_without_a_target_is_an_answer_like_others() -> None:
    async with Web(Reply(302, body=b"no way", content_type="text/plain")) as web:
        with pytest.raises(ToolFailed, match="answered with status 302: no way"):
            await web.get()


@pytest.mark.parametrize(
    ("location", "is_followed"), [("http://secure.example/b", False), ("https://secure.example/b", True), ("/b", True)]
)
async def test_a_redirect_from_https_is_followed_only_to_https(
    tmp_path: Path, location: str, is_followed: bool
) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked = await reader.readuntil(b"\r\n\r\n")
        first = asked.startswith(b"GET /a ")
        head = f"HTTP/1.1 302 Found\r\nlocation: {location}" if first else "HTTP/1.1 200 OK\r\ncontent-type: text/plain"
        writer.write(f"{head}\r\ncontent-length: 7\r\nconnection: close\r\n\r\narrived".encode())
        await writer.drain()
        writer.close()

    server_context, client_context = certified("secure.example", tmp_path)
    async with await asyncio.start_server(answer, "127.0.0.1", 0, ssl=server_context) as server:
        network = DivertedNetwork(server.sockets[0].getsockname()[1])
        fetcher = PageFetcher(
            HostPolicy(),
            open_client=lambda check: guarded_client(
                check, resolver=Names(NAMES), network=network, ssl_context=client_context
            ),
        )
        if is_followed:
            assert (await call(http_fetch_by(fetcher), url="https://secure.example/a")).endswith("arrived")
        else:
            with pytest.raises(ToolFailed, match="not encrypted"):
                await call(http_fetch_by(fetcher), url="https://secure.example/a")
    assert set(network.connected) == {f"{PUBLIC}:443"}


async def test_nothing_is_sent_but_what_is_needed() -> None:
    async def answer(request: Request) -> Reply:
        return Reply(302, headers={"location": "/b", "set-cookie": "a=b"}) if request.path == "/" else text_reply("x")

    async with Web(answer) as web:
        await web.get()
    for request in web.requests:
        assert request.method == "GET"
        assert set(request.headers) == {"host", "accept", "accept-encoding", "connection", "user-agent"}
        assert request.headers["user-agent"] == "opspawn-agentkit"


@pytest.mark.parametrize("user_agent", ["", "a\r\nX: y", "bücher", " a"])
def test_a_user_agent_that_cannot_be_sent_is_an_error_of_configuration(user_agent: str) -> None:
    with pytest.raises(ConfigurationError):
        make_http_fetch(user_agent=user_agent)


def test_limits_of_nothing_are_an_error_of_configuration() -> None:
    with pytest.raises(ConfigurationError):
        make_http_fetch(max_bytes=0)


def test_the_tool_changes_nothing_outside() -> None:
    assert (http_fetch.spec.name, http_fetch.spec.side_effect) == ("http_fetch", False)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "127.1", "[::ffff:127.0.0.1]", "0.0.0.0"])
async def test_on_the_real_network_the_tool_as_it_comes_reaches_nothing_inside(host: str) -> None:
    async with HttpServer(lambda request: asyncio.sleep(0, text_reply("x"))) as server:
        port = int(server.url.rpartition(":")[2])
        for tool in (http_fetch, make_http_fetch(allowed_ports=[port])):
            with pytest.raises(ToolFailed, match="is not fetched"):
                await call(tool, url=f"http://{host}:{port}/")
        assert server.accepted == 0


def test_the_tool_loads_the_http_library_only_when_it_is_used() -> None:
    script = "import sys, agentkit.tools.http_fetch; print({'httpx2', 'httpcore2', 'anyio'} & {*sys.modules})"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert done.stdout == "set()\n"


async def test_a_private_host_can_be_opened_on_purpose_and_only_that_one() -> None:
    async with HttpServer(lambda request: asyncio.sleep(0, text_reply("the wiki"))) as server:
        port = int(server.url.rpartition(":")[2])
        opened = make_http_fetch(private_hosts=["127.0.0.1"], allowed_hosts=["*.example"], allowed_ports=[port])
        assert "the wiki" in await call(opened, url=f"http://127.0.0.1:{port}/")
        for other in ("localhost", "127.0.0.2", "public.test.com"):
            with pytest.raises(ToolFailed):
                await call(opened, url=f"http://{other}:{port}/")
        assert server.accepted == 1


async def test_a_page_of_html_is_made_readable() -> None:
    page = "<html><title>News</title><script>bad()</script><h1>Hello</h1><p>See <a href='/x'>this</a>.</p></html>"
    async with Web(html_reply(page)) as web:
        assert await web.get("http://public.example/a") == (
            "http://public.example/a\n\n# News\n\n# Hello\n\nSee [this](http://public.example/x)."
        )


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("application/json", '{"a": [1, 2]}'),
        ("application/problem+json; charset=utf-8", '{"a": 1}'),
        ("text/plain", "a < b"),
        ("text/markdown", "# a"),
        ("application/xml", "<a/>"),
        ("application/rss+xml", "<rss/>"),
        ("TEXT/CSV; header=present", "a,b"),
    ],
)
async def test_json_and_text_are_left_as_they_are(content_type: str, body: str) -> None:
    async with Web(text_reply(body, content_type)) as web:
        assert await web.get() == f"http://public.example/\n\n{body}"


@pytest.mark.parametrize(
    ("reply", "told"),
    [
        (text_reply(b"%PDF-1.7", "application/pdf"), r"no text but 'application/pdf' \(8 bytes\)"),
        (text_reply(b"x" * 2_000, "image/png"), r"no text but 'image/png' \(2,000 bytes\)"),
        (Reply(content_type="video/mp4", pieces=(b"x",)), r"no text but 'video/mp4' \(of unknown size\)"),
        (text_reply(b"\x7fELF\x00\x00", "text/plain"), "no text but binary data"),
        (text_reply(b"GIF89a\x00", ""), "no text but binary data"),
        (text_reply(b"\x00", "text/html; charset=utf-8"), "no text but binary data"),
    ],
)
async def test_binary_is_refused_with_its_type_and_size(reply: Reply, told: str) -> None:
    async with Web(reply) as web:
        with pytest.raises(ToolFailed, match=told):
            await web.get()


async def test_html_without_a_type_is_known_by_its_beginning() -> None:
    async with Web(text_reply("\n<!DOCTYPE html><p>Hi", "")) as web:
        assert (await web.get()).endswith("\n\nHi")


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        ("Grüße".encode(), "text/plain"),
        ("Grüße".encode(), "text/plain; charset=UTF-8"),
        ("Grüße".encode("cp1252"), "text/plain; charset=iso-8859-1"),
        ("Grüße".encode("cp1252"), "text/plain"),
        ("Grüße".encode("cp1252"), 'text/plain; charset="windows-1252"'),
        ("Grüße".encode("utf-8-sig"), "text/plain; charset=latin1"),
        ("Grüße".encode("utf-16"), "text/plain"),
        ("Grüße".encode("utf-16-le"), "text/plain; charset=utf-16le"),
        ("Grüße".encode(), "text/plain; charset=no-such-thing"),
        ("Grüße".encode(), "text/plain; charset=unicode_escape"),
        ("Grüße".encode(), "text/plain; charset=hex"),
        ("<meta charset=windows-1252>Grüße".encode("cp1252"), "text/html"),
        (
            b'<meta http-equiv=Content-Type content="text/html; charset=iso-8859-15">' + "Grüße".encode("latin-1"),
            "text/html",
        ),
    ],
)
async def test_the_charset_is_found(body: bytes, content_type: str) -> None:
    async with Web(text_reply(body, content_type)) as web:
        assert (await web.get()).endswith("\n\nGrüße")


async def test_east_asian_pages_are_read() -> None:
    async with Web(text_reply("日本語".encode("shift_jis"), "text/html; charset=Shift_JIS")) as web:
        assert (await web.get()).endswith("日本語")


async def test_a_page_that_was_cut_within_a_character_is_still_utf_8() -> None:
    async with Web(text_reply("ü" * 100), bytes=11) as web:
        assert (
            await web.get()
            == "http://public.example/\n\nüüüüü\n\n[the page is longer than the 11 bytes that were read]"
        )


async def test_an_endless_page_is_read_up_to_the_limit() -> None:
    async with Web(Reply(body=b"spam " * 1000, content_type="text/plain", endless=True), bytes=20_000) as web:
        said = await web.get(max_characters=60_000)
    assert said.endswith("[the page is longer than the 20000 bytes that were read]")
    assert len(said) < 20_200


@pytest.mark.parametrize("encoding", ["gzip", "x-gzip", "GZIP"])
async def test_a_packed_page_is_unpacked(encoding: str) -> None:
    async with Web(text_reply(gzip.compress(b"hello"), "text/plain", **{"content-encoding": encoding})) as web:
        assert (await web.get()).endswith("hello")


async def test_a_bomb_unpacks_only_up_to_the_limit() -> None:
    bomb = gzip.compress(b"0" * 50_000_000)
    async with Web(text_reply(bomb, "text/plain", **{"content-encoding": "gzip"}), bytes=50_000) as web:
        said = await web.get(max_characters=60_000)
    assert said.count("0") >= 50_000
    assert len(said) < 50_200


async def test_a_packed_page_that_never_unpacks_to_anything_ends_at_the_limit() -> None:
    header = b"\x1f\x8b\x08\x08\x00\x00\x00\x00\x00\x03"  # a file name follows, and never ends
    reply = Reply(body=b"a" * 10_000, pieces=(header, *[b"a" * 10_000] * 50), content_type="text/plain")
    packed = Reply(pieces=reply.pieces, content_type="text/plain", headers={"content-encoding": "gzip"})
    async with Web(packed, bytes=100_000) as web:
        assert "nothing to show" in await web.get()


@pytest.mark.parametrize("encoding", ["br", "zstd", "deflate", "gzip, gzip", "aes128gcm"])
async def test_a_packing_that_was_not_asked_for_is_refused(encoding: str) -> None:
    body = zlib.compress(b"hello")
    async with Web(text_reply(body, "text/plain", **{"content-encoding": encoding})) as web:
        with pytest.raises(ToolFailed, match="not asked for"):
            await web.get()


async def test_a_packed_page_that_is_broken_is_a_failure() -> None:
    async with Web(text_reply(b"no gzip at all", "text/plain", **{"content-encoding": "gzip"})) as web:
        with pytest.raises(ToolFailed, match="cannot be unpacked"):
            await web.get()


async def test_a_page_that_hangs_up_halfway_is_a_failure() -> None:
    async with Web(Reply(body=b"half of it", content_type="text/plain", cut_after=4)) as web:
        with pytest.raises(ToolFailed, match="could not be fetched"):
            await web.get()


async def test_a_server_that_never_answers_is_given_up() -> None:
    async with Web(Reply(hang=True), seconds=0.2) as web:
        with pytest.raises(ToolTimeout, match=r"was not read within 0\.2 s"):
            await web.get()


async def test_a_server_that_is_silent_is_given_up() -> None:
    async with Web(Reply(hang=True), silent_seconds=0.1) as web:
        with pytest.raises(ToolTimeout, match="did not answer in time"):
            await web.get()


async def test_a_server_that_drips_is_given_up() -> None:
    async with Web(
        Reply(pieces=(b"a",) * 1_000, piece_delay_seconds=0.02, content_type="text/plain"), seconds=0.3
    ) as web:
        with pytest.raises(ToolTimeout):
            await web.get()


@pytest.mark.parametrize("status", [404, 500, 403])
async def test_an_error_of_the_server_is_told_with_what_it_said(status: int) -> None:
    async with Web(Reply(status, body=b"<p>It is <b>gone</b>." + b"x" * 9_000, content_type="text/html")) as web:
        with pytest.raises(ToolFailed, match=f"answered with status {status}: It is gone") as failed:
            await web.get()
    assert len(str(failed.value)) < 700


async def test_an_error_of_the_server_that_is_no_text_is_still_told_by_its_status() -> None:
    async with Web(Reply(404, body=b"x", content_type="image/png")) as web:
        with pytest.raises(ToolFailed, match="status 404, and what it sent is no text but 'image/png'"):
            await web.get()


async def test_an_empty_page_is_told_as_such() -> None:
    async with Web(text_reply("")) as web:
        assert await web.get() == "http://public.example/: nothing to show, it holds no text."


async def test_a_long_page_is_read_in_parts_that_together_are_the_page() -> None:
    whole = "".join(f"{n} " for n in range(3_000))
    async with Web(text_reply(whole)) as web:
        parts = [await web.get(offset=offset, max_characters=5_000) for offset in range(0, len(whole), 5_000)]
    assert parts[0].endswith(f"[characters 0 to 5000 of {len(whole)}; ask with offset=5000 for more]")
    assert "ask with" not in parts[-1]
    assert "".join(part.split("\n\n")[1] for part in parts) == whole


async def test_an_offset_past_the_end_is_told() -> None:
    async with Web(text_reply("abc")) as web:
        assert "it has 3 characters, and the offset is 9" in await web.get(offset=9)


@pytest.mark.parametrize("arguments", [{"offset": -1}, {"max_characters": 0}, {"max_characters": 10**9}])
async def test_arguments_out_of_range_are_refused(canary: Web, arguments: dict[str, Any]) -> None:
    with pytest.raises(BadToolArguments):
        await canary.get(**arguments)


async def test_a_password_in_a_url_is_not_repeated(canary: Web) -> None:
    with pytest.raises(ToolFailed) as failed:
        await canary.get("http://user:secret@public.example/")
    assert "secret" not in str(failed.value)


@given(st.text(max_size=60), st.sampled_from(["", "http://", "https://", "http://127.0.0.1", "http://localhost"]))
async def test_any_text_at_all_is_fetched_or_refused_and_never_leads_inside(text: str, start: str) -> None:
    async with Web(text_reply("x")) as web:
        try:
            await web.get(start + text)
        except ToolFailed:
            pass
        else:
            assert web.network.connected == [f"{PUBLIC}:80"]
        assert all(each.startswith(PUBLIC) for each in web.network.connected)
