"""Fetches one page for a tool: bounded in bytes, time and redirects, each of which is checked like the first URL."""

from __future__ import annotations

import asyncio
import re
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urljoin

from agentkit.errors import ConfigurationError, ToolFailed, ToolTimeout
from agentkit.security.addresses import DestinationCheck, DestinationRefused

if TYPE_CHECKING:
    import httpx2

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_TEXT_TYPE = re.compile(
    r"text/.*|.*\+(?:json|xml|yaml)|application/(?:json|xml|yaml|x-yaml|toml|javascript|ecmascript|x-ndjson|"
    r"jsonl|sql|graphql|x-sh|x-www-form-urlencoded)"
)
_ACCEPTED = "text/html, application/xhtml+xml, application/json, text/*, */*;q=0.1"
_USER_AGENT = re.compile(r"[!-~](?:[ -~]*[!-~])?")


@dataclass(frozen=True, slots=True, kw_only=True)
class PageLimits:
    """Bounds on fetching one page."""

    #: Bytes of a page that are read, counted as they come and once more unpacked; the rest is left.
    bytes: int = 2_000_000
    #: Redirects that are followed.
    redirects: int = 5
    #: The whole, from the first lookup of a name to the last byte.
    seconds: float = 30.0
    #: One connection, or one wait for the next bytes.
    silent_seconds: float = 15.0

    def __post_init__(self) -> None:
        if not (self.bytes > 0 and self.redirects >= 0 and self.seconds > 0 and self.silent_seconds > 0):
            raise ConfigurationError(
                "the limits of fetching a page must be greater than 0, those of redirects 0 or more"
            )


@dataclass(frozen=True, slots=True)
class Page:
    """What a server answered in the end."""

    #: Where the last redirect led.
    url: str
    status: int
    #: Lower case, without parameters; empty when the server did not say.
    media_type: str
    charset: str
    body: bytes
    #: The page is longer than what was read.
    is_cut: bool


class PageFetcher:
    """Fetches pages from where `check` allows. Holds nothing open between two of them."""

    def __init__(
        self,
        check: DestinationCheck,
        *,
        limits: PageLimits | None = None,
        user_agent: str = "opspawn-agentkit",
        open_client: Callable[[DestinationCheck], httpx2.AsyncClient] | None = None,
    ) -> None:
        """
        Args:
            open_client: Makes the guarded client for one page, such as one with a resolver of its own.

        Raises:
            ConfigurationError: the user agent cannot be sent.
        """
        if not _USER_AGENT.fullmatch(user_agent):
            raise ConfigurationError("a user agent must be written in printable ASCII characters")
        self._check = check
        self._limits = limits or PageLimits()
        self._headers = {"user-agent": user_agent, "accept": _ACCEPTED, "accept-encoding": "gzip"}
        self._open_client = open_client

    async def fetch(self, url: str) -> Page:
        """The page behind the URL and its redirects, whatever its status.

        Raises:
            ToolFailed: a URL on the way is refused, nobody answers, or the answer is no text.
            ToolTimeout: it takes too long.
        """
        import httpx2

        try:
            async with asyncio.timeout(self._limits.seconds) as limit, self._client() as client:
                return await self._follow(client, url)
        except DestinationRefused as error:
            raise ToolFailed(f"{_shown(url)} is not fetched, or what it redirects to: {error}.") from error
        except httpx2.TimeoutException as error:
            raise ToolTimeout(f"{_shown(url)} did not answer in time.") from error
        except httpx2.HTTPError as error:
            raise ToolFailed(f"{_shown(url)} could not be fetched: {error or type(error).__name__}.") from error
        except TimeoutError as error:
            if not limit.expired():
                raise
            raise ToolTimeout(f"{_shown(url)} was not read within {self._limits.seconds:g} s.") from error

    def _client(self) -> httpx2.AsyncClient:
        # Made once and on first use: loading the certificates is most of the cost of a client.
        self._open_client = self._open_client or _client_opener(self._limits.silent_seconds)
        return self._open_client(self._check)

    async def _follow(self, client: httpx2.AsyncClient, url: str) -> Page:
        from agentkit.security.guarded_http import checked_url

        target = checked_url(url, self._check)
        for _ in range(self._limits.redirects + 1):
            answer = await self._ask(client, target)
            if isinstance(answer, Page):
                return answer
            target = self._redirected(target, answer)
        raise ToolFailed(f"{_shown(url)} is not fetched: it redirects more than {self._limits.redirects} times.")

    async def _ask(self, client: httpx2.AsyncClient, url: httpx2.URL) -> Page | str:
        """The page, or where it is now."""
        async with client.stream("GET", url, headers=self._headers) as response:
            if response.status_code in _REDIRECTS and "location" in response.headers:
                return str(response.headers["location"])
            return await self._read(str(url.copy_with(fragment=None)), response)

    def _redirected(self, url: httpx2.URL, location: str) -> httpx2.URL:
        from agentkit.security.guarded_http import checked_url

        try:
            target = checked_url(urljoin(str(url), location), self._check)
        except (DestinationRefused, ValueError) as error:
            raise DestinationRefused(f"it redirects to {_shown(location)}: {error}") from error
        if url.scheme == "https" and target.scheme == "http":
            raise DestinationRefused(f"it redirects to {_shown(location)}, which is not encrypted")
        return target

    async def _read(self, url: str, response: httpx2.Response) -> Page:
        media_type, charset = _content_type(response.headers)
        if media_type and not _TEXT_TYPE.fullmatch(media_type):
            size = response.headers.get("content-length", "")
            told = f"{int(size):,} bytes" if size.isdecimal() and len(size) < 16 else "of unknown size"
            what = "" if response.is_success else f"answered with status {response.status_code}, and what it sent "
            raise ToolFailed(f"{_shown(url)} {what}is no text but {media_type!r} ({told}).")
        body = _BoundedBody(self._limits.bytes, _encoding(response.headers))
        async for chunk in response.aiter_raw():
            if not body.take(chunk):
                break
        return Page(url, response.status_code, media_type, charset, bytes(body.content), body.is_cut)


def _client_opener(silent_seconds: float) -> Callable[[DestinationCheck], httpx2.AsyncClient]:
    import httpx2

    from agentkit.security.guarded_http import SystemResolver, guarded_client

    resolver, ssl_context, timeout = SystemResolver(), httpx2.create_ssl_context(), httpx2.Timeout(silent_seconds)
    return lambda check: guarded_client(check, resolver=resolver, ssl_context=ssl_context, timeout=timeout)


class _BoundedBody:
    """Unpacks a body as it comes; never holds more than `limit` bytes of it, however little they were packed into."""

    def __init__(self, limit: int, encoding: str) -> None:
        self._limit = limit
        self._packed_left = limit
        self._unpacker = zlib.decompressobj(zlib.MAX_WBITS | 16) if encoding == "gzip" else None
        self.content = bytearray()
        self.is_cut = False

    def take(self, chunk: bytes) -> bool:
        """Whether more is wanted."""
        self._packed_left -= len(chunk)
        # One byte too many tells a page that fits from one that does not.
        room = self._limit - len(self.content) + 1
        try:
            self.content += chunk[:room] if self._unpacker is None else self._unpacker.decompress(chunk, room)
        except zlib.error as error:
            raise ToolFailed(f"The answer is said to be packed with gzip and cannot be unpacked ({error}).") from error
        self.is_cut = len(self.content) > self._limit or self._packed_left < 0
        del self.content[self._limit :]
        return not self.is_cut and not (self._unpacker and self._unpacker.eof)


def _content_type(headers: Mapping[str, str]) -> tuple[str, str]:
    """The media type and the charset, in lower case."""
    media_type, *parameters = headers.get("content-type", "")[:500].lower().split(";")
    named = dict(part.partition("=")[::2] for part in (each.strip() for each in parameters))
    return media_type.strip(), named.get("charset", "").strip().strip("\"'")


def _encoding(headers: Mapping[str, str]) -> str:
    """How the body is packed: `gzip` or not at all.

    Raises:
        ToolFailed: in another way, or several; it was not asked for.
    """
    encoding = headers.get("content-encoding", "").strip().lower()
    if encoding in ("gzip", "x-gzip"):
        return "gzip"
    if encoding in ("", "identity"):
        return ""
    raise ToolFailed(f"The answer is packed in a way that was not asked for ({encoding[:100]!r}).")


def _shown(url: str) -> str:
    """A URL as it can stand in a message: one line, not endless, without a password."""
    shown = url if url.isprintable() else ascii(url)[1:-1]
    shown = re.sub(r"//[^/?#]*@", "//", shown)
    return shown if len(shown) <= 200 else f"{shown[:200]}…"
