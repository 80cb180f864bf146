"""HTTP whose every connection goes to an address that was checked, the name being looked up once and for all."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from http.cookiejar import CookieJar
from ipaddress import ip_address
from typing import Any, Protocol
from weakref import WeakKeyDictionary

import httpcore2
import httpx2

from agentkit.security.addresses import DestinationCheck, DestinationRefused, IpAddress
from agentkit.tools.threads import DaemonThreads

#: Addresses of one name that are tried, one after the other.
_ADDRESSES_TRIED = 4
#: For what must be bounded when the caller gave no time.
_CONNECT_SECONDS = 30.0
_LOOKUPS_AT_ONCE = 64
_URL_LENGTH = 8_000
_DEFAULT_PORTS = {"http": 80, "https": 443}


class Resolver(Protocol):
    """Who knows the addresses of a name."""

    async def addresses(self, host: str, port: int) -> Sequence[IpAddress]:
        """All addresses of the name, the preferred ones first.

        Raises:
            OSError: the name is not known, or nobody could be asked.
        """


class SystemResolver:
    """Asks the operating system, in threads that hold up nobody when it does not answer."""

    def __init__(self) -> None:
        # One set of threads per event loop: a place whose loop ended while it was taken never comes free.
        self._threads: WeakKeyDictionary[asyncio.AbstractEventLoop, DaemonThreads] = WeakKeyDictionary()

    async def addresses(self, host: str, port: int) -> Sequence[IpAddress]:
        threads = self._threads.setdefault(asyncio.get_running_loop(), DaemonThreads(limit=_LOOKUPS_AT_ONCE))
        found = await threads.run(lambda: socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
        return tuple(dict.fromkeys(ip_address(str(address[0])) for *_, address in found))


def guarded_client(
    check: DestinationCheck,
    *,
    resolver: Resolver | None = None,
    network: httpcore2.AsyncNetworkBackend | None = None,
    ssl_context: ssl.SSLContext | None = None,
    **options: Any,
) -> httpx2.AsyncClient:
    """A client that connects only where `check` allows. It follows no redirect, heeds no proxy and keeps no cookie.

    A request to anywhere else raises DestinationRefused. To be closed by the caller. `options` are those of the client.
    """
    guarded = GuardedNetwork(check, resolver or SystemResolver(), network)
    transport = GuardedTransport(guarded, ssl_context=ssl_context)
    return httpx2.AsyncClient(
        **{"follow_redirects": False, **options}, transport=transport, trust_env=False, cookies=_NoCookies()
    )


class _NoCookies(CookieJar):
    def extract_cookies(self, response: object, request: object) -> None:
        """Nothing is kept, nor even read: it is a stranger's."""


def checked_url(url: str, check: DestinationCheck) -> httpx2.URL:
    """The URL as it will be asked. What its name leads to is checked when the connection is made.

    Raises:
        DestinationRefused: it is no http or https URL, hides something, or names a host or port that is not allowed.
    """
    if len(url) > _URL_LENGTH:
        raise DestinationRefused(f"the URL is longer than {_URL_LENGTH} characters")
    if not url.isprintable() or any(character.isspace() or character == "\\" for character in url):
        raise DestinationRefused("the URL holds a blank, a control character or a backslash")
    try:
        parsed = httpx2.URL(url)
        has_host = bool(parsed.host)
    except (httpx2.InvalidURL, UnicodeError) as error:
        raise DestinationRefused(f"this is not a URL: {error}") from error
    if parsed.scheme not in _DEFAULT_PORTS or not has_host:
        raise DestinationRefused("only URLs like https://host/path can be asked")
    if parsed.userinfo:
        raise DestinationRefused("the URL holds a user name or a password")
    port = _DEFAULT_PORTS[parsed.scheme] if parsed.port is None else parsed.port
    # What is looked up, not how it is displayed: `host` turns punycode back into letters.
    check.check_host(parsed.raw_host.decode("ascii"), port)
    return parsed


class GuardedNetwork(httpcore2.AsyncNetworkBackend):
    """Looks a name up, checks every address it has, and connects to one of these: no second lookup, no rebinding."""

    def __init__(
        self, check: DestinationCheck, resolver: Resolver, network: httpcore2.AsyncNetworkBackend | None = None
    ) -> None:
        self._check = check
        self._resolver = resolver
        #: Is given addresses only, so it has nothing to look up.
        self._network = network or httpcore2.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore2.SOCKET_OPTION] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        """
        Raises:
            DestinationRefused: the host, the port, or any address of the name is not allowed. A name that leads
                inside and outside is an attack or a mistake, and which of its addresses is meant cannot be known.
            httpcore2.ConnectError, httpcore2.ConnectTimeout
        """
        seconds = _CONNECT_SECONDS if timeout is None else timeout
        try:
            async with asyncio.timeout(seconds) as limit:
                addresses = (await self._checked(host, port))[:_ADDRESSES_TRIED]
                deadline = limit.when()
                assert deadline is not None
                return await self._connect_to_one_of(addresses, port, deadline, local_address, socket_options)
        except TimeoutError as error:
            raise httpcore2.ConnectTimeout(f"no connection to {host} within {seconds:g} s") from error

    async def connect_unix_socket(
        self, path: str, timeout: float | None = None, socket_options: Iterable[httpcore2.SOCKET_OPTION] | None = None
    ) -> httpcore2.AsyncNetworkStream:
        raise DestinationRefused("a socket of this machine must not be connected to")

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    async def _checked(self, host: str, port: int) -> Sequence[IpAddress]:
        self._check.check_host(host, port)
        try:
            addresses = await self._resolver.addresses(host, port)
        except (OSError, UnicodeError) as error:
            raise httpcore2.ConnectError(f"the name {host!r} is not known ({error})") from error
        if not addresses:
            raise httpcore2.ConnectError(f"the name {host!r} has no address")
        for address in addresses:
            self._check.check_address(host, address)
        return addresses

    async def _connect_to_one_of(
        self,
        addresses: Sequence[IpAddress],
        port: int,
        deadline: float,
        local_address: str | None,
        socket_options: Iterable[httpcore2.SOCKET_OPTION] | None,
    ) -> httpcore2.AsyncNetworkStream:
        failure: Exception = httpcore2.ConnectError("there is no address to connect to")
        for tried, address in enumerate(addresses):
            # The time left is shared, so that an address that swallows packets leaves some to the next.
            left = max(0.0, deadline - asyncio.get_running_loop().time()) / (len(addresses) - tried)
            try:
                return await self._network.connect_tcp(
                    str(address), port, timeout=left, local_address=local_address, socket_options=socket_options
                )
            except (httpcore2.ConnectError, httpcore2.ConnectTimeout) as error:
                failure = error
        raise failure


class GuardedTransport(httpx2.AsyncBaseTransport):
    """Sends requests over a guarded network. TLS and the Host header keep the name.

    Not a subclass of httpx2's own transport with another pool inside: were that attribute renamed, nothing would fail
    and nothing be guarded.
    """

    def __init__(
        self,
        network: GuardedNetwork,
        *,
        ssl_context: ssl.SSLContext | None = None,
        limits: httpx2.Limits | None = None,
    ) -> None:
        limits = limits or httpx2.Limits(max_connections=100, max_keepalive_connections=20, keepalive_expiry=5.0)
        self._pool = httpcore2.AsyncConnectionPool(
            ssl_context=ssl_context or httpx2.create_ssl_context(),
            max_connections=limits.max_connections,
            max_keepalive_connections=limits.max_keepalive_connections,
            keepalive_expiry=limits.keepalive_expiry,
            network_backend=network,
        )

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """
        Raises:
            DestinationRefused: the connection must not be made.
            httpx2.TransportError
        """
        assert isinstance(request.stream, httpx2.AsyncByteStream)  # an async client makes no other
        url = httpcore2.URL(
            scheme=request.url.raw_scheme,
            host=request.url.raw_host,
            port=request.url.port,
            target=request.url.raw_path,
        )
        asked = httpcore2.Request(
            request.method, url, headers=request.headers.raw, content=request.stream, extensions=request.extensions
        )
        with _translated():
            answer = await self._pool.handle_async_request(asked)
        assert isinstance(answer.stream, AsyncIterable)
        return httpx2.Response(
            answer.status, headers=answer.headers, stream=_Body(answer), extensions=answer.extensions
        )

    async def aclose(self) -> None:
        await self._pool.aclose()


class _Body(httpx2.AsyncByteStream):
    def __init__(self, answer: httpcore2.Response) -> None:
        self._answer = answer

    async def __aiter__(self) -> AsyncIterator[bytes]:
        with _translated():
            async for part in self._answer.aiter_stream():
                yield part

    async def aclose(self) -> None:
        with _translated():
            await self._answer.aclose()


@contextmanager
def _translated() -> Iterator[None]:
    """The errors of the layer below as those that users of a client know, which have the same names."""
    try:
        yield
    except (
        httpcore2.TimeoutException,
        httpcore2.NetworkError,
        httpcore2.ProtocolError,
        httpcore2.UnsupportedProtocol,
    ) as error:
        known: type[httpx2.TransportError] = getattr(httpx2, type(error).__name__, httpx2.TransportError)
        raise known(str(error)) from error
