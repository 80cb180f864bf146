"""The client of Google's Gemini API."""

from __future__ import annotations

import json
import math
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from agentkit.errors import ConfigurationError, LlmError
from agentkit.llm.base import BaseLlmClient, LlmResponse
from agentkit.llm.gemini_format import PROVIDER, read_content, write_contents, write_tools
from agentkit.llm.gemini_stream import ContentPieces
from agentkit.llm.tool_names import LegalNames, tool_names
from agentkit.llm.vendor_errors import error_for_status, retry_after_seconds, seconds_in
from agentkit.llm.vendor_schemas import RefusedSchemas, without_dialect
from agentkit.llm.vendor_stream import StreamedReply
from agentkit.tools.base import ToolSpec
from agentkit.transcript import JsonObject, Message, without_system

if TYPE_CHECKING:
    import httpx2
    from google import genai
    from google.genai import errors, types

#: v1, the SDK's own default, lacks preview models and refuses tools to some others.
DEFAULT_API_VERSION = "v1beta"
DEFAULT_BASE_URL = "https://generativelanguage.googleapis.com"


class GeminiClient(BaseLlmClient):
    """Asks a Gemini model through the Gemini API (not Vertex AI)."""

    provider = PROVIDER
    native_output = True

    def __init__(
        self,
        model: str,
        *,
        api_key: str,
        base_url: str | None = None,
        api_version: str = DEFAULT_API_VERSION,
        max_output_tokens: int | None = None,
    ) -> None:
        """
        Raises:
            ConfigurationError: the package is missing, or the key or the URL cannot be used.
        """
        self.model = model
        self._max_output_tokens = max_output_tokens
        self._refused_schemas = RefusedSchemas()
        # Settled here: the SDK would otherwise look for another in the environment.
        base_url = DEFAULT_BASE_URL if base_url is None else base_url
        self._key, self._http, self._sdk = _connect(api_key, base_url, api_version)
        self._api_url = f"{base_url.rstrip('/')}/{api_version}"

    def __repr__(self) -> str:
        return f"GeminiClient({self.model!r})"

    async def complete(
        self,
        messages: Sequence[Message],
        *,
        tools: Sequence[ToolSpec] = (),
        output_schema: JsonObject | None = None,
        timeout_seconds: float,
    ) -> LlmResponse:
        async def ask(schema: JsonObject | None) -> LlmResponse:
            names, request = self._request(messages, tools, schema)
            async with self._guarded(timeout_seconds):
                return read_content(self.model, names, await self._ask(request, timeout_seconds))

        return await self._refused_schemas.ask(output_schema, ask)

    async def stream(
        self,
        messages: Sequence[Message],
        *,
        tools: Sequence[ToolSpec] = (),
        output_schema: JsonObject | None = None,
        timeout_seconds: float,
        on_text: Callable[[str], None],
    ) -> LlmResponse:
        async def ask(schema: JsonObject | None) -> LlmResponse:
            names, request = self._request(messages, tools, schema)
            streamed = StreamedReply(PROVIDER, ContentPieces(_reported), on_text)
            async with self._guarded(timeout_seconds):
                body = await self._ask_to_stream(request, timeout_seconds, streamed)
                response = read_content(self.model, names, body)
            streamed.tell_if_untold(response.message.text)
            return response

        return await self._refused_schemas.ask(output_schema, ask)

    async def aclose(self) -> None:
        await self._sdk.aio.aclose()
        self._sdk.close()
        await self._http.aclose()  # ours, so the SDK leaves it open

    def _request(
        self, messages: Sequence[Message], tools: Sequence[ToolSpec], output_schema: JsonObject | None
    ) -> tuple[LegalNames, JsonObject]:
        names = tool_names(messages, tools)
        system, turns = without_system(messages)
        request: JsonObject = {"contents": write_contents(self.model, turns, names)}
        if system.strip():
            request["systemInstruction"] = {"parts": [{"text": system}]}
        if tools:
            request["tools"] = write_tools(tools, names)
        settings: JsonObject = {}
        if self._max_output_tokens is not None:
            settings["maxOutputTokens"] = self._max_output_tokens
        if output_schema is not None:
            settings |= {"responseMimeType": "application/json", "responseJsonSchema": without_dialect(output_schema)}
        return names, request | ({"generationConfig": settings} if settings else {})

    async def _ask(self, request: JsonObject, timeout_seconds: float) -> bytes:
        reply = await self._sdk.aio.models.generate_content(
            model=self.model,
            contents="replaced by extra_body",
            config=_config(request, timeout_seconds),
        )
        http = reply.sdk_http_response
        return (http.body or "").encode() if http else b""

    async def _ask_to_stream(self, request: JsonObject, timeout_seconds: float, streamed: StreamedReply) -> bytes:
        """Not through the SDK: it has no raw form of a stream, and its models lose what they do not know."""
        from google.genai import errors

        async with self._http.stream(
            "POST",
            f"{self._api_url}/{_resource(self.model)}:streamGenerateContent",
            params={"alt": "sse"},
            headers={"x-goog-api-key": self._key, "content-type": "application/json"},
            # ASCII, as the SDK writes it.
            content=json.dumps(request).encode(),
            timeout=timeout_seconds,
        ) as response:
            await errors.APIError.raise_for_async_response(response)
            return await streamed.read(response)

    @asynccontextmanager
    async def _guarded(self, timeout_seconds: float) -> AsyncIterator[None]:
        """Bounds a call, and translates its errors."""
        from google.genai import errors

        from agentkit.llm.vendor_http import cause_without_key, time_limit, transport_errors, without_key

        try:
            with transport_errors(PROVIDER, timeout_seconds):
                async with time_limit(PROVIDER, timeout_seconds):
                    yield
        except errors.APIError as exc:
            error = _translated(exc)
            raise without_key(error, self._key) from cause_without_key(exc, self._key)
        except LlmError as error:
            without_key(error, self._key)
            raise


def _connect(api_key: str, base_url: str, api_version: str) -> tuple[str, httpx2.AsyncClient, genai.Client]:
    try:
        from google import genai
        from google.genai import types
    except ModuleNotFoundError as exc:
        raise ConfigurationError(
            "the model provider 'gemini' needs the package google-genai: pip install 'opspawn[gemini]'"
        ) from exc
    from agentkit.llm.vendor_connections import bounded_http_client
    from agentkit.llm.vendor_http import checked_base_url, checked_key

    key = checked_key(PROVIDER, api_key)
    http = bounded_http_client()
    sdk = genai.Client(
        api_key=key,
        # Said here, since the SDK would otherwise let the environment send the key to Vertex AI.
        enterprise=False,
        http_options=types.HttpOptions(
            base_url=checked_base_url(PROVIDER, base_url),
            api_version=api_version,
            # Not only for its bounds: with aiohttp installed the SDK's own client retries by itself, seconds later.
            httpx_async_client=http,
        ),
    )
    return key, http, sdk


def _config(request: JsonObject, timeout_seconds: float) -> types.GenerateContentConfig:
    """The request goes out, and the reply comes back, in the API's own JSON.

    The SDK's models refuse fields they do not know yet; through them a content could not go back unchanged.
    """
    from google.genai import types

    return types.GenerateContentConfig(
        http_options=types.HttpOptions(timeout=math.ceil(timeout_seconds * 1000), extra_body=request),
        automatic_function_calling=types.AutomaticFunctionCallingConfig(disable=True),
        automatic_continuation=False,
        should_return_http_response=True,
    )


def _resource(model: str) -> str:
    """The model's name as Google's paths have it."""
    named = model if model.startswith(("models/", "tunedModels/")) else f"models/{model}"
    return quote(named)


def _reported(error: JsonObject) -> LlmError:
    """The error that an error in the middle of a stream stands for."""
    from google.genai import errors

    code = error.get("code")
    return _translated(errors.APIError(code if isinstance(code, int) else 500, {"error": error}))


def _translated(exc: errors.APIError) -> LlmError:
    details = list(_details_of(exc))
    reasons = [detail["reason"] for detail in details if isinstance(detail.get("reason"), str)]
    delays = [seconds_in(delay[:-1]) for detail in details if isinstance(delay := detail.get("retryDelay"), str)]
    return error_for_status(
        PROVIDER,
        exc.code,
        exc.message if isinstance(exc.message, str) else "",
        code=reasons[0] if reasons else exc.status or "",
        retry_after_seconds=next(iter(delays), retry_after_seconds(exc.response.headers if exc.response else {})),
    )


def _details_of(exc: errors.APIError) -> Iterator[dict[str, Any]]:
    """Google's typed details of an error: `ErrorInfo` has a reason, `RetryInfo` a delay such as `34.07s`."""
    body = exc.details
    error = body.get("error") if isinstance(body, dict) else None
    details = error.get("details") if isinstance(error, dict) else None
    for detail in details if isinstance(details, list) else []:
        if isinstance(detail, dict):
            yield detail
