"""The client of Anthropic's messages API."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from agentkit.errors import ConfigurationError, LlmError, LlmTimeout
from agentkit.llm.allowance import allowance_from_headers
from agentkit.llm.anthropic_format import PROVIDER, read_message, write_messages, write_tools
from agentkit.llm.anthropic_stream import MessagePieces
from agentkit.llm.base import BaseLlmClient, LlmResponse
from agentkit.llm.tool_names import LegalNames, call_ids, tool_names
from agentkit.llm.vendor_errors import error_for_status, retry_after_seconds
from agentkit.llm.vendor_reply import RawReply
from agentkit.llm.vendor_schemas import RefusedSchemas
from agentkit.llm.vendor_stream import StreamedReply
from agentkit.tools.base import ToolSpec
from agentkit.transcript import JsonObject, Message, without_system

if TYPE_CHECKING:
    import anthropic

_LONGEST_CALL_ID = 64
_OUTPUT_TOKENS = 4096


class AnthropicClient(BaseLlmClient):
    """Asks a Claude model."""

    provider = PROVIDER
    native_output = True

    def __init__(
        self, model: str, *, api_key: str, base_url: str | None = None, max_output_tokens: int | None = None
    ) -> None:
        """Anthropic's API demands a limit on output tokens; None is 4096, and a longer answer is cut short there.

        Raises:
            ConfigurationError: the package is missing, or the key or the URL cannot be used.
        """
        self.model = model
        self._max_output_tokens = max_output_tokens or _OUTPUT_TOKENS
        self._refused_schemas = RefusedSchemas()
        self._key, self._sdk = _connect(api_key, base_url)

    def __repr__(self) -> str:
        return f"AnthropicClient({self.model!r})"

    async def complete(
        self,
        messages: Sequence[Message],
        *,
        tools: Sequence[ToolSpec] = (),
        output_schema: JsonObject | None = None,
        timeout_seconds: float,
    ) -> LlmResponse:
        async def ask(schema: JsonObject | None) -> LlmResponse:
            names, request = _request(messages, tools, schema)
            async with self._guarded(timeout_seconds):
                return self._read(names, await self._ask(request, timeout_seconds))

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
            names, request = _request(messages, tools, schema)
            streamed = StreamedReply(PROVIDER, MessagePieces(), on_text)
            async with self._guarded(timeout_seconds):
                response = self._read(names, await self._ask_to_stream(request, timeout_seconds, streamed))
            streamed.tell_if_untold(response.message.text)
            return response

        return await self._refused_schemas.ask(output_schema, ask)

    async def aclose(self) -> None:
        await self._sdk.close()

    def _read(self, names: LegalNames, reply: RawReply) -> LlmResponse:
        response = read_message(self.model, names, reply.body)
        return replace(response, allowance=allowance_from_headers(reply.headers, provider=PROVIDER))

    async def _ask(self, request: JsonObject, timeout_seconds: float) -> RawReply:
        reply = await self._sdk.messages.with_raw_response.create(
            model=self.model,
            max_tokens=self._max_output_tokens,
            # Through `extra_body`: typed messages are walked field by field, the longer the dearer.
            messages=[],
            extra_body=request,
            timeout=timeout_seconds,
        )
        return RawReply(await reply.read(), reply.headers)

    async def _ask_to_stream(self, request: JsonObject, timeout_seconds: float, streamed: StreamedReply) -> RawReply:
        async with self._sdk.messages.with_streaming_response.create(
            model=self.model,
            max_tokens=self._max_output_tokens,
            messages=[],
            stream=True,
            extra_body=request,
            timeout=timeout_seconds,
        ) as reply:
            return RawReply(await streamed.read(reply.http_response), reply.headers)

    @asynccontextmanager
    async def _guarded(self, timeout_seconds: float) -> AsyncIterator[None]:
        """Bounds a call through the SDK, and translates its errors."""
        import anthropic

        from agentkit.llm.vendor_http import cause_without_key, time_limit, transport_errors, without_key

        try:
            with transport_errors(PROVIDER, timeout_seconds):
                async with time_limit(PROVIDER, timeout_seconds):
                    yield
        except anthropic.APIError as exc:
            error = _translated(exc, timeout_seconds)
            raise without_key(error, self._key) from cause_without_key(exc, self._key)
        except LlmError as error:
            without_key(error, self._key)
            raise


def _request(
    messages: Sequence[Message], tools: Sequence[ToolSpec], output_schema: JsonObject | None
) -> tuple[LegalNames, JsonObject]:
    names = tool_names(messages, tools)
    ids = call_ids(messages, longest=_LONGEST_CALL_ID)
    system, turns = without_system(messages)
    request: JsonObject = {"messages": write_messages(turns, names, ids)}
    if system.strip():
        request["system"] = system
    if tools:
        request["tools"] = write_tools(tools, names)
    if output_schema is not None and (schema := _accepted(output_schema)) is not None:
        request["output_config"] = {"format": {"type": "json_schema", "schema": schema}}
    return names, request


def _accepted(schema: JsonObject) -> JsonObject | None:
    """The schema in the part of JSON Schema that the API knows; None where it cannot be said in it."""
    import anthropic

    try:
        return anthropic.transform_schema(schema)
    except (ValueError, TypeError, RecursionError):
        return None


def _connect(api_key: str, base_url: str | None) -> tuple[str, anthropic.AsyncAnthropic]:
    try:
        import anthropic
    except ModuleNotFoundError as exc:
        raise ConfigurationError(
            "the model provider 'anthropic' needs the package anthropic: pip install 'opspawn[anthropic]'"
        ) from exc
    from agentkit.llm.vendor_connections import bounded_http_client
    from agentkit.llm.vendor_http import checked_base_url, checked_key

    key = checked_key(PROVIDER, api_key)
    sdk = anthropic.AsyncAnthropic(
        api_key=key,
        base_url=checked_base_url(PROVIDER, base_url),
        max_retries=0,
        http_client=bounded_http_client(),
    )
    return key, sdk


def _translated(exc: anthropic.APIError, timeout_seconds: float) -> LlmError:
    import anthropic

    from agentkit.llm.vendor_http import unreachable

    match exc:
        case anthropic.APITimeoutError():
            return LlmTimeout(f"{PROVIDER} did not answer within {timeout_seconds:g} s")
        case anthropic.APIStatusError():
            return error_for_status(
                PROVIDER,
                exc.status_code,
                exc.api_message if isinstance(exc.api_message, str) else exc.response.text,
                code=exc.error_code or str(exc.type or ""),
                retry_after_seconds=retry_after_seconds(exc.response.headers),
            )
        case _:
            return unreachable(PROVIDER, exc.__cause__)
