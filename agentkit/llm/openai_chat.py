"""The client of OpenAI and of every endpoint that speaks its chat completions: OpenRouter, Ollama, vLLM, LM Studio."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from agentkit.errors import ConfigurationError, LlmError, LlmTimeout
from agentkit.llm.base import BaseLlmClient, LlmResponse
from agentkit.llm.openai_format import read_completion, write_messages, write_tools
from agentkit.llm.openai_stream import CompletionPieces
from agentkit.llm.tool_names import LegalNames, call_ids, tool_names
from agentkit.llm.vendor_errors import error_for_status, retry_after_seconds
from agentkit.llm.vendor_stream import StreamedReply
from agentkit.tools.base import ToolSpec
from agentkit.transcript import JsonObject, Message

if TYPE_CHECKING:
    import openai

#: OpenAI refuses longer ids of tool calls, and other vendors make longer ones.
_LONGEST_OPENAI_CALL_ID = 40
#: Asks for the usage of a streamed answer, which comes in a chunk of its own.
_COUNT_TOKENS: JsonObject = {"stream_options": {"include_usage": True}}


class OpenAiChatClient(BaseLlmClient):
    """Asks a model through chat completions, the shape that compatible servers know too."""

    def __init__(
        self,
        model: str,
        *,
        api_key: str | None,
        base_url: str | None = None,
        provider: str = "openai",
        native_tools: bool = True,
        headers: Mapping[str, str] | None = None,
        max_output_tokens: int | None = None,
    ) -> None:
        """`api_key` may be None for a server that wants none; then `base_url` says which.

        Raises:
            ConfigurationError: the package is missing, or the key or the URL cannot be used.
        """
        self.model = model
        self.provider = provider
        self.native_tools = native_tools
        self._max_output_tokens = max_output_tokens
        self._counts_streams = True
        self._key, self._sdk = _connect(provider, api_key, base_url, headers)

    def __repr__(self) -> str:
        return f"OpenAiChatClient({self.model!r}, provider={self.provider!r})"

    async def complete(
        self, messages: Sequence[Message], *, tools: Sequence[ToolSpec] = (), timeout_seconds: float
    ) -> LlmResponse:
        names, request = self._request(messages, tools)
        async with self._guarded(timeout_seconds):
            return read_completion(self.provider, self.model, names, await self._ask(request, timeout_seconds))

    async def stream(
        self,
        messages: Sequence[Message],
        *,
        tools: Sequence[ToolSpec] = (),
        timeout_seconds: float,
        on_text: Callable[[str], None],
    ) -> LlmResponse:
        names, request = self._request(messages, tools)
        streamed = StreamedReply(self.provider, CompletionPieces(self.provider), on_text)
        async with self._guarded(timeout_seconds):
            body = await self._ask_to_stream(request, timeout_seconds, streamed)
            response = read_completion(self.provider, self.model, names, body)
        streamed.tell_if_untold(response.message.text)
        return response

    async def aclose(self) -> None:
        await self._sdk.close()

    def _limit(self) -> JsonObject:
        """OpenAI's newer models refuse the parameter that is all that many other servers know."""
        if self._max_output_tokens is None:
            return {}
        parameter = "max_completion_tokens" if self.provider == "openai" else "max_tokens"
        return {parameter: self._max_output_tokens}

    def _request(self, messages: Sequence[Message], tools: Sequence[ToolSpec]) -> tuple[LegalNames, JsonObject]:
        names = tool_names(messages, tools)
        ids = call_ids(messages, longest=_LONGEST_OPENAI_CALL_ID) if self.provider == "openai" else None
        request: JsonObject = {"messages": write_messages(self.provider, messages, names, ids)} | self._limit()
        if tools:
            request["tools"] = write_tools(tools, names)
        return names, request

    async def _ask(self, request: JsonObject, timeout_seconds: float) -> bytes:
        reply = await self._sdk.chat.completions.with_raw_response.create(
            model=self.model,
            # Through `extra_body`: typed messages are walked field by field, the longer the dearer.
            messages=[],
            extra_body=request,
            timeout=timeout_seconds,
        )
        return reply.http_response.content

    async def _ask_to_stream(self, request: JsonObject, timeout_seconds: float, streamed: StreamedReply) -> bytes:
        """Without `stream_options` the tokens are not counted; who refuses it is asked without, from then on."""
        import openai

        if self._counts_streams:
            try:
                return await self._ask_once_to_stream(request | _COUNT_TOKENS, timeout_seconds, streamed)
            except (openai.BadRequestError, openai.UnprocessableEntityError) as refused:
                if "stream_options" not in f"{refused} {refused.response.text}":
                    raise
                self._counts_streams = False
        return await self._ask_once_to_stream(request, timeout_seconds, streamed)

    async def _ask_once_to_stream(self, request: JsonObject, timeout_seconds: float, streamed: StreamedReply) -> bytes:
        async with self._sdk.chat.completions.with_streaming_response.create(
            model=self.model,
            messages=[],
            stream=True,
            extra_body=request,
            timeout=timeout_seconds,
        ) as reply:
            return await streamed.read(reply.http_response)

    @asynccontextmanager
    async def _guarded(self, timeout_seconds: float) -> AsyncIterator[None]:
        """Bounds a call through the SDK, and translates its errors."""
        import openai

        from agentkit.llm.vendor_http import cause_without_key, time_limit, transport_errors, without_key

        try:
            with transport_errors(self.provider, timeout_seconds):
                async with time_limit(self.provider, timeout_seconds):
                    yield
        except openai.APIError as exc:
            error = _translated(self.provider, exc, timeout_seconds)
            raise without_key(error, self._key) from cause_without_key(exc, self._key)
        except LlmError as error:
            without_key(error, self._key)
            raise


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
