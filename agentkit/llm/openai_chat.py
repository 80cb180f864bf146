"""The client of OpenAI and of every endpoint that speaks its chat completions: OpenRouter, Ollama, vLLM, LM Studio."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from agentkit.llm.allowance import allowance_from_headers
from agentkit.llm.base import BaseLlmClient, LlmResponse
from agentkit.llm.openai_connection import OpenAiConnection
from agentkit.llm.openai_format import read_completion, write_messages, write_schema, write_tools
from agentkit.llm.openai_stream import CompletionPieces
from agentkit.llm.tool_names import LegalNames, call_ids, tool_names
from agentkit.llm.vendor_reply import RawReply
from agentkit.llm.vendor_schemas import RefusedSchemas
from agentkit.llm.vendor_stream import StreamedReply
from agentkit.tools.base import ToolSpec
from agentkit.transcript import JsonObject, Message

#: OpenAI refuses longer ids of tool calls, and other vendors make longer ones.
_LONGEST_OPENAI_CALL_ID = 40
#: Local servers hold all that the model writes to the schema, so that it could not call a tool.
_SCHEMA_BESIDE_TOOLS = frozenset({"openai", "openrouter"})
#: Asks for the usage of a streamed answer, which comes in a chunk of its own.
_COUNT_TOKENS: JsonObject = {"stream_options": {"include_usage": True}}


class OpenAiChatClient(BaseLlmClient):
    """Asks a model through chat completions, the shape that compatible servers know too."""

    native_output = True

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
        self._refused_schemas = RefusedSchemas()
        self._connection = OpenAiConnection(provider, api_key=api_key, base_url=base_url, headers=headers)

    def __repr__(self) -> str:
        return f"OpenAiChatClient({self.model!r}, provider={self.provider!r})"

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
            async with self._connection.guarded(timeout_seconds):
                reply = await self._ask(request, timeout_seconds)
                return self._read(names, reply)

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
            streamed = StreamedReply(self.provider, CompletionPieces(self.provider), on_text)
            async with self._connection.guarded(timeout_seconds):
                response = self._read(names, await self._ask_to_stream(request, timeout_seconds, streamed))
            streamed.tell_if_untold(response.message.text)
            return response

        return await self._refused_schemas.ask(output_schema, ask)

    async def aclose(self) -> None:
        await self._connection.aclose()

    def _read(self, names: LegalNames, reply: RawReply) -> LlmResponse:
        response = read_completion(self.provider, self.model, names, reply.body)
        return replace(response, allowance=allowance_from_headers(reply.headers, provider=self.provider))

    def _limit(self) -> JsonObject:
        """OpenAI's newer models refuse the parameter that is all that many other servers know."""
        if self._max_output_tokens is None:
            return {}
        parameter = "max_completion_tokens" if self.provider == "openai" else "max_tokens"
        return {parameter: self._max_output_tokens}

    def _request(
        self, messages: Sequence[Message], tools: Sequence[ToolSpec], output_schema: JsonObject | None
    ) -> tuple[LegalNames, JsonObject]:
        names = tool_names(messages, tools)
        ids = call_ids(messages, longest=_LONGEST_OPENAI_CALL_ID) if self.provider == "openai" else None
        request: JsonObject = {"messages": write_messages(self.provider, messages, names, ids)} | self._limit()
        if tools:
            request["tools"] = write_tools(tools, names)
        if output_schema is not None and (self.provider in _SCHEMA_BESIDE_TOOLS or not tools):
            request["response_format"] = write_schema(output_schema)
        return names, request

    async def _ask(self, request: JsonObject, timeout_seconds: float) -> RawReply:
        reply = await self._connection.sdk.chat.completions.with_raw_response.create(
            model=self.model,
            # Through `extra_body`: typed messages are walked field by field, the longer the dearer.
            messages=[],
            extra_body=request,
            timeout=timeout_seconds,
        )
        return RawReply(reply.http_response.content, reply.headers)

    async def _ask_to_stream(self, request: JsonObject, timeout_seconds: float, streamed: StreamedReply) -> RawReply:
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

    async def _ask_once_to_stream(
        self, request: JsonObject, timeout_seconds: float, streamed: StreamedReply
    ) -> RawReply:
        async with self._connection.sdk.chat.completions.with_streaming_response.create(
            model=self.model,
            messages=[],
            stream=True,
            extra_body=request,
            timeout=timeout_seconds,
        ) as reply:
            return RawReply(await streamed.read(reply.http_response), reply.headers)
