"""HTTP that connects only to addresses that were checked."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from ipaddress import ip_address
from pathlib import Path

import httpcore2
import httpx2
import pytest

from agentkit.security.addresses import DestinationCheck, DestinationRefused, HostPolicy, IpAddress
from agentkit.security.guarded_http import GuardedNetwork, SystemResolver, checked_url, guarded_client
from agentkit.tests.llm.http_server import HttpServer, Reply, Request
from agentkit.tests.security.certificates import certified
from agentkit.tests.security.diverted import PUBLIC, AllowEverything, DivertedNetwork, Names


class Local(HttpServer):
    """Keeps the requests it was sent, and sets a cookie with each answer."""

    def __init__(self) -> None:
        super().__init__(self._answer_all)
        self.requests: list[Request] = []

    async def _answer_all(self, request: Request) -> Reply:
        self.requests.append(request)
        return Reply(body=b"hello", content_type="text/plain", headers={"set-cookie": "a=b; Path=/"})

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])


@pytest.fixture
async def local() -> AsyncIterator[Local]:
    async with Local() as server:
        yield server


def client_of(local: Local, names: Names, check: DestinationCheck | None = None) -> httpx2.AsyncClient:
    return guarded_client(check or HostPolicy(), resolver=names, network=DivertedNetwork(local.port))


async def test_a_public_host_is_asked_by_its_name_at_the_address_that_was_checked(local: Local) -> None:
    names, network = Names({"example.com": [[PUBLIC]]}), DivertedNetwork(local.port)
    async with guarded_client(HostPolicy(), resolver=names, network=network) as client:
        assert (await client.get("http://example.com/a?b=c")).text == "hello"
    assert network.connected == [f"{PUBLIC}:80"]
    assert names.lookups == ["example.com"]
    assert (local.requests[0].headers["host"], local.requests[0].path) == ("example.com", "/a?b=c")


async def test_a_name_that_changes_its_address_is_not_looked_up_again_for_the_connection(local: Local) -> None:
    names, network = Names({"rebind.example": [[PUBLIC], ["127.0.0.1"]]}), DivertedNetwork(local.port)
    async with guarded_client(HostPolicy(), resolver=names, network=network) as client:
        await client.get("http://rebind.example/")
    assert network.connected == [f"{PUBLIC}:80"]


async def test_a_name_that_changes_its_address_is_refused_when_it_is_looked_up_next(local: Local) -> None:
    names = Names({"rebind.example": [[PUBLIC], ["127.0.0.1"]]})
    async with client_of(local, names) as client:
        await client.get("http://rebind.example/", headers={"connection": "close"})
        with pytest.raises(DestinationRefused):
            await client.get("http://rebind.example/")
    assert local.accepted == 1


async def test_without_the_guard_the_changed_address_is_reached(local: Local) -> None:
    names = Names({"rebind.example": [[PUBLIC], ["127.0.0.1"]]})
    async with client_of(local, names, AllowEverything()) as client:
        await client.get("http://rebind.example/", headers={"connection": "close"})
        await client.get("http://rebind.example/")
    assert local.accepted == 2


@pytest.mark.parametrize("answer", [[PUBLIC, "10.0.0.1"], ["::1", PUBLIC], ["127.0.0.1"], ["fe80::1%lo", PUBLIC]])
async def test_one_address_inside_refuses_the_whole_name(local: Local, answer: Sequence[str]) -> None:
    async with client_of(local, Names({"mixed.example": [answer]})) as client:
        with pytest.raises(DestinationRefused, match=r"'mixed\.example' does not lead to a public address"):
            await client.get("http://mixed.example/")
    assert local.accepted == 0


async def test_a_refused_name_is_never_looked_up(local: Local) -> None:
    names = Names({"metadata.google.internal": [[PUBLIC]]})
    async with client_of(local, names) as client:
        with pytest.raises(DestinationRefused):
            await client.get("http://metadata.google.internal/")
    assert names.lookups == []


async def test_the_next_address_is_tried_when_one_does_not_answer(local: Local) -> None:
    names = Names({"example.com": [["2606:4700::1", "1.0.0.1", PUBLIC]]})
    network = DivertedNetwork(local.port, dead=["2606:4700::1", "1.0.0.1"])
    async with guarded_client(HostPolicy(), resolver=names, network=network) as client:
        assert (await client.get("http://example.com/")).status_code == 200
    assert network.connected == ["2606:4700::1:80", "1.0.0.1:80", f"{PUBLIC}:80"]


async def test_nobody_answering_is_an_ordinary_connect_error(local: Local) -> None:
    network = DivertedNetwork(local.port, dead=[PUBLIC])
    async with guarded_client(HostPolicy(), resolver=Names({"example.com": [[PUBLIC]]}), network=network) as client:
        with pytest.raises(httpx2.ConnectError, match="nobody answers"):
            await client.get("http://example.com/")


@pytest.mark.parametrize("answers", [{}, {"unknown.example": [[]]}])
async def test_a_name_without_address_is_an_ordinary_connect_error(
    local: Local, answers: dict[str, list[list[str]]]
) -> None:
    async with client_of(local, Names(answers)) as client:
        with pytest.raises(httpx2.ConnectError, match=r"unknown\.example"):
            await client.get("http://unknown.example/")


async def test_a_lookup_that_hangs_ends_with_the_time_to_connect(local: Local) -> None:
    class Hanging:
        async def addresses(self, host: str, port: int) -> Sequence[IpAddress]:
            await asyncio.Event().wait()
            return []

    started = time.monotonic()
    async with guarded_client(HostPolicy(), resolver=Hanging(), timeout=0.05) as client:
        with pytest.raises(httpx2.ConnectTimeout):
            await client.get("http://example.com/")
    assert time.monotonic() - started < 20


async def test_a_redirect_is_not_followed_unless_asked_and_then_checked(local: Local) -> None:
    async def redirect(request: Request) -> Reply:
        return Reply(302, headers={"location": "http://10.0.0.1/"})

    async with HttpServer(redirect) as server:
        network = DivertedNetwork(int(server.url.rpartition(":")[2]))
        async with guarded_client(HostPolicy(), resolver=Names({"a.example": [[PUBLIC]]}), network=network) as client:
            assert (await client.get("http://a.example/")).status_code == 302
            with pytest.raises(DestinationRefused):
                await client.get("http://a.example/", follow_redirects=True)
        assert server.accepted == 1


async def test_no_cookie_is_kept(local: Local) -> None:
    async with client_of(local, Names({"example.com": [[PUBLIC]]})) as client:
        await client.get("http://example.com/")
        await client.get("http://example.com/")
    assert len(local.requests) == 2
    assert "cookie" not in local.requests[1].headers


async def test_no_proxy_of_the_environment_is_heeded(local: Local, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    network = DivertedNetwork(local.port)
    async with guarded_client(HostPolicy(), resolver=Names({"example.com": [[PUBLIC]]}), network=network) as client:
        await client.get("http://example.com/")
    assert network.connected == [f"{PUBLIC}:80"]


async def test_a_socket_of_the_machine_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DestinationRefused):
        await GuardedNetwork(AllowEverything(), Names()).connect_unix_socket(str(tmp_path / "s"))


async def test_the_real_network_connects_to_a_private_host_that_was_opened(local: Local) -> None:
    opened = HostPolicy(private_hosts=["localhost"], allowed_ports=[local.port])
    async with guarded_client(opened) as client:
        assert (await client.get(f"http://localhost:{local.port}/")).text == "hello"
        with pytest.raises(DestinationRefused):
            await client.get(f"http://127.0.0.1:{local.port}/")


async def test_the_operating_system_knows_the_addresses_of_a_name() -> None:
    assert ip_address("127.0.0.1") in await SystemResolver().addresses("localhost", 80)


async def test_the_operating_systems_odd_spellings_of_an_address_are_seen_as_what_they_are() -> None:
    found = await SystemResolver().addresses("127.1", 80)
    assert found == (ip_address("127.0.0.1"),)


def test_one_resolver_serves_one_event_loop_after_another() -> None:
    resolver = SystemResolver()
    for _ in range(2):
        assert asyncio.run(resolver.addresses("127.0.0.1", 80)) == (ip_address("127.0.0.1"),)


async def test_tls_is_made_with_the_name_and_not_with_the_address(tmp_path: Path) -> None:
    seen: list[str | None] = []
    server_context, client_context = certified("example.com", tmp_path)
    server_context.sni_callback = lambda _, name, __: seen.append(name)

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok")
        await writer.drain()
        writer.close()

    names = Names({"example.com": [[PUBLIC]], "other.example": [[PUBLIC]]})
    async with await asyncio.start_server(answer, "127.0.0.1", 0, ssl=server_context) as server:
        network = DivertedNetwork(server.sockets[0].getsockname()[1])
        async with guarded_client(HostPolicy(), resolver=names, network=network, ssl_context=client_context) as client:
            assert (await client.get("https://example.com/")).text == "ok"
            with pytest.raises(httpx2.ConnectError, match=r"(?i)hostname mismatch"):
                await client.get("https://other.example/")
    assert seen == ["example.com", "other.example"]
    assert network.connected == [f"{PUBLIC}:443"] * 2


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("ftp://example.com/", "only URLs like https"),
        ("example.com", "only URLs like https"),
        ("http:///path", "only URLs like https"),
        ("http://user:password@example.com/", "password"),
        ("http://example.com:8080/", "port 8080"),
        ("http://example.com:0/", "port 0"),
        ("http://exa mple.com/", "blank"),
        ("http://example.com/\r\nX: y", "blank"),
        ("http://example.com\\@127.0.0.1/", "backslash"),
        ("http://example.com/\u202e", "control character"),
        ("http://\uff11\uff12\uff17.0.0.1/", "not a URL"),
        ("http://[::1", "not a URL"),
        ("http://example.com:99999999999/", "port 99999999999"),
        ("http://example.com/" + "a" * 9_000, "longer than"),
    ],
)
def test_a_url_that_hides_something_is_refused_before_anything_is_looked_up(url: str, why: str) -> None:
    with pytest.raises(DestinationRefused, match=why):
        checked_url(url, HostPolicy())


async def test_without_time_limits_a_connection_still_has_one() -> None:
    class Slow(httpcore2.AsyncNetworkBackend):
        given: float | None = None

        async def connect_tcp(self, host: str, port: int, timeout: float | None = None, **_: object) -> None:  # type: ignore[override]  # never connects
            self.given = timeout
            raise httpcore2.ConnectError("no")

    slow = Slow()
    network = GuardedNetwork(HostPolicy(), Names({"example.com": [[PUBLIC]]}), slow)
    with pytest.raises(httpcore2.ConnectError):
        await network.connect_tcp("example.com", 80)
    assert slow.given is not None
