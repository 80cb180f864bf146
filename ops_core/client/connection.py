"""One HTTP connection pool to one server: asks, tries again where that is harmless, and turns problems into errors."""

from __future__ import annotations

import json
import random
import ssl
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache, lru_cache
from ipaddress import ip_address
from typing import Any, Final

import httpx2

from ops_core import __version__
from ops_core.client.errors import (
    AnswerNotUnderstood,
    ClientError,
    RequestRefused,
    RequestUnsendable,
    ServerUnreachable,
)
from ops_core.domain.task import JsonObject

#: Tries of one request, the first included.
TRIES: Final = 4
#: Longest pause that a server's Retry-After may ask of us.
MAX_PAUSE_SECONDS: Final = 30.0
#: Status codes that may be another the next time.
TRY_AGAIN: Final = frozenset({429, 502, 503, 504})
#: Characters of a foreign answer that an error shows.
_SHOWN_CHARS: Final = 200
# Most requests go to the same few places, and reading a URL is a tenth of what a request costs.
_url = lru_cache(maxsize=64)(httpx2.URL)


class Connection:
    """Asks one server. Not for several threads at once."""

    def __init__(
        self,
        url: str,
        *,
        api_key: str | None,
        timeout_seconds: float,
        transport: httpx2.BaseTransport | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.url = url.rstrip("/")
        self.timeout_seconds = timeout_seconds
        self.sleep = sleep
        headers = {"User-Agent": f"ops-core-client/{__version__}", "Accept": "application/json"}
        if api_key is not None:
            headers["Authorization"] = f"Bearer {api_key}"
        try:
            target = httpx2.URL(self.url)
            self._http = httpx2.Client(
                headers=headers,
                timeout=timeout_seconds,
                transport=transport,
                verify=_certificates(target),
                # A proxy of the environment cannot know what runs on this machine.
                trust_env=not _is_this_machine(target.host),
            )
        except (httpx2.InvalidURL, ValueError) as error:
            raise ClientError(f"{url!r} is not the URL of a server: {error}") from error

    def close(self) -> None:
        self._http.close()

    def get(
        self,
        path: str,
        *,
        params: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        timeout_seconds: float | None = None,
    ) -> Any:
        """The JSON of the answer.

        Raises:
            RequestRefused, ServerUnreachable, AnswerNotUnderstood.
        """
        return self._ask_until_answered("GET", path, params=params, headers=headers, timeout_seconds=timeout_seconds)

    def post_repeatable(
        self, path: str, body: JsonObject | None = None, *, headers: Mapping[str, str] | None = None
    ) -> Any:
        """Post what is harmless twice (mostly for its idempotency key): tried again when the answer is lost.

        Raises:
            RequestRefused, ServerUnreachable, AnswerNotUnderstood.
        """
        return self._ask_until_answered("POST", path, body=body, headers=headers)

    def patch_once(self, path: str, body: JsonObject) -> Any:
        """As `post_once`, for a change."""
        return _json_of(self._ask("PATCH", path, body=body))

    def delete_once(self, path: str) -> None:
        """As `post_once`, for a deletion; there is no answer but that it is done."""
        self._ask("DELETE", path)

    def post_once(self, path: str, body: JsonObject | None = None) -> Any:
        """Post what must not be sent twice: an answer that is lost is an error.

        Raises:
            RequestRefused, ServerUnreachable, AnswerNotUnderstood.
        """
        return _json_of(self._ask("POST", path, body=body))

    @contextmanager
    def stream(self, path: str, *, headers: Mapping[str, str], timeout_seconds: float) -> Iterator[httpx2.Response]:
        """An answer whose body is still to be read; it has been checked to be no problem.

        Raises:
            RequestRefused, ServerUnreachable, AnswerNotUnderstood.
        """
        timeout = httpx2.Timeout(self.timeout_seconds, read=timeout_seconds)
        with (
            self._translated(),
            self._http.stream("GET", self.url + path, headers=headers, timeout=timeout) as response,
        ):
            if response.status_code >= 300:
                response.read()
                raise _refusal(response)
            yield response

    def _ask_until_answered(self, method: str, path: str, **request: Any) -> Any:
        for attempt in range(1, TRIES + 1):
            try:
                response = self._ask(method, path, accept=TRY_AGAIN if attempt < TRIES else frozenset(), **request)
            except ServerUnreachable:
                if attempt == TRIES:
                    raise
                self.sleep(_pause_seconds(attempt))
                continue
            if response.status_code not in TRY_AGAIN:
                return _json_of(response)
            self.sleep(max(_pause_seconds(attempt), _retry_after_seconds(response)))
        raise AssertionError("the last try returns or raises")

    def _ask(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, Any] | None = None,
        body: JsonObject | None = None,
        headers: Mapping[str, str] | None = None,
        timeout_seconds: float | None = None,
        accept: frozenset[int] = frozenset(),
    ) -> httpx2.Response:
        """The answer, if it is a success or one of the status codes to accept."""
        timeout = httpx2.Timeout(self.timeout_seconds, read=timeout_seconds or self.timeout_seconds)
        try:
            request = self._http.build_request(
                method, _url(self.url + path), params=params, json=body, headers=headers, timeout=timeout
            )
        except (ValueError, TypeError, RecursionError) as error:
            # UnicodeEncodeError is a ValueError: bytes of a command line that were no UTF-8, or half a surrogate pair.
            raise RequestUnsendable(f"the request cannot be written as JSON in UTF-8: {error}") from error
        with self._translated():
            response = self._http.send(request)
        if response.status_code >= 300 and response.status_code not in accept:
            raise _refusal(response)
        return response

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except (httpx2.ConnectError, httpx2.ConnectTimeout) as error:
            raise ServerUnreachable(f"no server answers at {self.url}: {error}") from error
        except httpx2.TimeoutException as error:
            raise ServerUnreachable(f"{self.url} did not answer in time") from error
        except httpx2.TransportError as error:
            raise ServerUnreachable(f"the connection to {self.url} broke: {error}") from error
        except httpx2.DecodingError as error:
            raise AnswerNotUnderstood(f"{self.url} sent what cannot be decoded: {error}") from error


def _refusal(response: httpx2.Response) -> ClientError:
    """The problem in an answer, or that it holds none: then it is not our server's."""
    try:
        body = response.json()
    except (json.JSONDecodeError, UnicodeDecodeError):
        body = None
    if isinstance(body, dict) and "code" in body:
        return RequestRefused.from_json(body, status=response.status_code)
    where = f"{response.request.method} {response.request.url.path}"
    if response.status_code in TRY_AGAIN:
        return ServerUnreachable(f"{where} was answered {response.status_code} by something before the server")
    return AnswerNotUnderstood(
        f"{where} was answered {response.status_code} without a problem document, so this is no Opspawn Core server, "
        f"or a proxy stands before it: {response.text[:_SHOWN_CHARS]!r}"
    )


def _json_of(response: httpx2.Response) -> Any:
    try:
        return response.json()
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise AnswerNotUnderstood(f"{response.request.url} answered what is not JSON: {error}") from error


def _pause_seconds(attempt: int) -> float:
    # Jitter needs spread, not secrecy.
    return 0.2 * 2.0 ** (attempt - 1) * random.uniform(0.5, 1.5)  # noqa: S311


def _retry_after_seconds(response: httpx2.Response) -> float:
    value = response.headers.get("retry-after", "")
    return min(float(value), MAX_PAUSE_SECONDS) if value.isascii() and value.isdigit() else 0.0


def _certificates(url: httpx2.URL) -> ssl.SSLContext | bool:
    """Whom to trust. To read all of it takes as long as dozens of requests, so it is done once, and if it is of use."""
    if url.scheme == "http" and _is_this_machine(url.host):
        return False
    return _read_certificates()


@cache
def _read_certificates() -> ssl.SSLContext:
    return httpx2.create_ssl_context()


def _is_this_machine(host: str) -> bool:
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False
