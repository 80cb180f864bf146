"""The client of OpenAI's Responses API, which keeps a model's reasoning between its tool calls."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from agentkit.llm.allowance import allowance_from_headers
from agentkit.llm.base import BaseLlmClient, LlmResponse
from agentkit.llm.openai_connection import OpenAiConnection
from agentkit.llm.openai_responses_format import PROVIDER, read_response, write_input, write_schema, write_tools
from agentkit.llm.openai_responses_stream import ResponsePieces
from agentkit.llm.tool_names import LegalNames, call_ids, tool_names
from agentkit.llm.vendor_reply import RawReply
from agentkit.llm.vendor_schemas import RefusedSchemas
from agentkit.llm.vendor_stream import StreamedReply
from agentkit.tools.base import ToolSpec
from agentkit.transcript import JsonObject, Message, without_system

_LONGEST_CALL_ID = 64
#: Nothing is kept at the vendor's: reasoning comes sealed, and goes back with the conversation.
_STATELESS: JsonObject = {"store": False, "include": ["reasoning.encrypted_content"]}


class OpenAiResponsesClient(BaseLlmClient):
    """Asks a model of OpenAI through the Responses API. The whole conversation is sent each time, so that a run can be
    resumed anywhere, from the journal alone."""

    provider = PROVIDER
    native_output = True

    def __init__(
        self,
        model: str,
        *,
        api_key: str,
        base_url: str | None = None,
        headers: Mapping[str, str] | None = None,
        max_output_tokens: int | None = None,
    ) -> None:
        """
        Raises:
            ConfigurationError: the package is missing, or the key or the URL cannot be used.
        """
        self.model = model
        self._max_output_tokens = max_output_tokens
        self._refused_schemas = RefusedSchemas()
        self._connection = OpenAiConnection(PROVIDER, api_key=api_key, base_url=base_url, headers=headers)

    def __repr__(self) -> str:
        return f"OpenAiResponsesClient({self.model!r})"

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
            names, request = self._request(messages, tools, schema)
            streamed = StreamedReply(PROVIDER, ResponsePieces(), on_text)
            async with self._connection.guarded(timeout_seconds):
                response = self._read(names, await self._ask_to_stream(request, timeout_seconds, streamed))
            streamed.tell_if_untold(response.message.text)
            return response

        return await self._refused_schemas.ask(output_schema, ask)

    async def aclose(self) -> None:
        await self._connection.aclose()

    def _read(self, names: LegalNames, reply: RawReply) -> LlmResponse:
        response = read_response(self.model, names, reply.body)
        return replace(response, allowance=allowance_from_headers(reply.headers, provider=PROVIDER))

    def _request(
        self, messages: Sequence[Message], tools: Sequence[ToolSpec], output_schema: JsonObject | None
    ) -> tuple[LegalNames, JsonObject]:
        names, ids = tool_names(messages, tools), call_ids(messages, longest=_LONGEST_CALL_ID)
        system, turns = without_system(messages)
        request: JsonObject = _STATELESS | {"input": write_input(turns, names, ids)}
        if system.strip():
            request["instructions"] = system
        if tools:
            request["tools"] = write_tools(tools, names)
        if output_schema is not None:
            request["text"] = {"format": write_schema(output_schema)}
        if self._max_output_tokens is not None:
            request["max_output_tokens"] = self._max_output_tokens
        return names, request

    async def _ask(self, request: JsonObject, timeout_seconds: float) -> RawReply:
        reply = await self._connection.sdk.responses.with_raw_response.create(
            model=self.model,
            # As in `OpenAiChatClient`.
            extra_body=request,
            timeout=timeout_seconds,
        )
        return RawReply(reply.http_response.content, reply.headers)

    async def _ask_to_stream(self, request: JsonObject, timeout_seconds: float, streamed: StreamedReply) -> RawReply:
        async with self._connection.sdk.responses.with_streaming_response.create(
            model=self.model,
            stream=True,
            extra_body=request,
            timeout=timeout_seconds,
        ) as reply:
            return RawReply(await streamed.read(reply.http_response), reply.headers)
