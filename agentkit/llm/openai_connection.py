"""The connection to OpenAI, or to who speaks its formats: the SDK's client, bounded in time, with our errors."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from agentkit.errors import ConfigurationError, LlmError, LlmTimeout
from agentkit.llm.vendor_errors import error_for_status, retry_after_seconds

if TYPE_CHECKING:
    import openai


class OpenAiConnection:
    """The SDK's client for one provider and key."""

    def __init__(
        self,
        provider: str,
        *,
        api_key: str | None,
        base_url: str | None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """`api_key` may be None for a server that wants none; then `base_url` says which.

        Raises:
            ConfigurationError: the package is missing, or the key or the URL cannot be used.
        """
        self._provider = provider
        self._key, self.sdk = _connect(provider, api_key, base_url, headers)

    @asynccontextmanager
    async def guarded(self, timeout_seconds: float) -> AsyncIterator[None]:
        """Bounds a call through the SDK, and translates its errors.

        Raises:
            LlmError: whatever went wrong; the key is not in its message.
        """
        import openai

        from agentkit.llm.vendor_http import cause_without_key, time_limit, transport_errors, without_key

        try:
            with transport_errors(self._provider, timeout_seconds):
                async with time_limit(self._provider, timeout_seconds):
                    yield
        except openai.APIError as exc:
            error = _translated(self._provider, exc, timeout_seconds)
            raise without_key(error, self._key) from cause_without_key(exc, self._key)
        except LlmError as error:
            without_key(error, self._key)
            raise

    async def aclose(self) -> None:
        await self.sdk.close()


def _connect(
    provider: str, api_key: str | None, base_url: str | None, headers: Mapping[str, str] | None
) -> tuple[str | None, openai.AsyncOpenAI]:
    try:
        import openai
    except ModuleNotFoundError as exc:
        raise ConfigurationError(
            f"the model provider {provider!r} needs the package openai: pip install 'opspawn[openai]'"
        ) from exc
    from agentkit.llm.vendor_connections import bounded_http_client
    from agentkit.llm.vendor_http import checked_base_url, checked_key

    if api_key is None and base_url is None:
        raise ConfigurationError(f"the model provider {provider!r} needs an API key")
    key = None if api_key is None else checked_key(provider, api_key)
    sdk = openai.AsyncOpenAI(
        # Without a key the SDK would send the one in OPENAI_API_KEY to whatever server this is.
        api_key=key or "none",
        base_url=checked_base_url(provider, base_url),
        default_headers=headers,
        max_retries=0,
        http_client=bounded_http_client(),
    )
    if provider != "openai":
        # The same with OPENAI_ORG_ID and OPENAI_PROJECT_ID: they are nobody else's business.
        sdk.organization = sdk.project = None
    return key, sdk


def _translated(provider: str, exc: openai.APIError, timeout_seconds: float) -> LlmError:
    import openai

    from agentkit.llm.vendor_http import unreachable

    match exc:
        case openai.APITimeoutError():
            return LlmTimeout(f"{provider} did not answer within {timeout_seconds:g} s")
        case openai.APIStatusError():
            return error_for_status(
                provider,
                exc.status_code,
                _message_in(exc),
                code=_code_in(exc),
                retry_after_seconds=retry_after_seconds(exc.response.headers),
            )
        case _:
            return unreachable(provider, exc.__cause__)


def _message_in(exc: openai.APIStatusError) -> str:
    message = _error_body(exc).get("message")
    return message if isinstance(message, str) else exc.response.text


def _code_in(exc: openai.APIStatusError) -> str:
    """The vendor's name for the error; OpenRouter's moderation says it by its metadata only."""
    body = _error_body(exc)
    metadata = body.get("metadata")
    if isinstance(metadata, dict) and "reasons" in metadata:
        return "moderation"
    for name in (exc.code, exc.type):
        if isinstance(name, str) and not name.isdigit():
            return name
    return ""


def _error_body(exc: openai.APIStatusError) -> dict[str, Any]:
    return exc.body if isinstance(exc.body, dict) else {}
