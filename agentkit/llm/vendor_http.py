"""The guards around every call through a vendor's SDK: what goes in, how long it lasts, which errors come out."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

import httpx2

from agentkit.errors import ConfigurationError, LlmError, LlmRequestInvalid, LlmTimeout, LlmUnavailable


def checked_key(provider: str, api_key: str) -> str:
    """The key without the line break a file or a paste leaves behind.

    Raises:
        ConfigurationError: it cannot be sent in a header. The HTTP library would say so too, with the key in the
            message.
    """
    key = api_key.strip()
    if not key:
        raise ConfigurationError(f"the API key of {provider} is empty")
    if not all("!" <= character <= "~" for character in key):
        raise ConfigurationError(f"the API key of {provider} holds a blank, a line break or a non-ASCII character")
    return key


def checked_base_url(provider: str, base_url: str | None) -> str | None:
    """The URL, if it is one that can be asked.

    Raises:
        ConfigurationError: it is not an http or https URL with a host.
    """
    if base_url is None:
        return None
    try:
        url = httpx2.URL(base_url)
    except httpx2.InvalidURL as exc:
        raise ConfigurationError(f"the base URL of {provider} is not a URL: {exc}") from exc
    if url.scheme not in ("http", "https") or not url.host:
        raise ConfigurationError(
            f"the base URL of {provider} must look like https://host/path, not {_without_password(url)}"
        )
    return base_url


@asynccontextmanager
async def time_limit(provider: str, timeout_seconds: float) -> AsyncIterator[None]:
    """Bounds the whole call: the SDKs' own timeouts start anew with each byte that arrives.

    Raises:
        LlmTimeout: the time is up.
    """
    try:
        async with asyncio.timeout(timeout_seconds):
            yield
    except TimeoutError as exc:
        raise LlmTimeout(f"{provider} did not answer within {timeout_seconds:g} s") from exc


@contextmanager
def transport_errors(provider: str, timeout_seconds: float) -> Iterator[None]:
    """Translates what the HTTP library raises when no complete answer came.

    Raises:
        LlmTimeout: no connection, or no next byte, in time.
        LlmUnavailable: the connection was refused, reset or cut, or brought an error nobody can read.
        LlmRequestInvalid: the conversation cannot be written as UTF-8.
    """
    try:
        yield
    except httpx2.TimeoutException as exc:
        raise LlmTimeout(f"{provider} did not answer within {timeout_seconds:g} s") from exc
    except httpx2.RequestError as exc:
        raise unreachable(provider, exc) from exc
    except UnicodeDecodeError as exc:
        raise LlmUnavailable(f"{provider} answered with an error page that is not text") from exc
    except UnicodeEncodeError as exc:
        raise LlmRequestInvalid("the conversation holds text that is not valid Unicode (a lone surrogate)") from exc


def unreachable(provider: str, exc: BaseException | None) -> LlmError:
    """The error for a connection that could not be made or did not last.

    An error of our own is given back as it is: Anthropic's SDK takes whatever the connection raises for a failure.
    """
    if isinstance(exc, LlmError):
        return exc
    reason = f"{type(exc).__name__}: {exc}".rstrip(": ") if exc else "no reason given"
    return LlmUnavailable(f"{provider} could not be reached, or hung up ({reason})")


def without_key(error: LlmError, key: str | None) -> LlmError:
    """The error, the key cut from its message where the vendor repeated it."""
    if key and key in str(error):
        error.args = (str(error).replace(key, "[key]"),)
    return error


def cause_without_key(cause: BaseException, key: str | None) -> BaseException | None:
    """The cause to show beneath the error; none where it would show the key."""
    return None if key and key in str(cause) else cause


def _without_password(url: httpx2.URL) -> str:
    return repr(str(url.copy_with(userinfo=b""))) if url.host else repr(url.path)
