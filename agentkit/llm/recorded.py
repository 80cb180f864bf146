"""Models that record what a real one says, and say it again."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from agentkit import errors
from agentkit.errors import LlmError
from agentkit.llm.base import BaseLlmClient, LlmResponse
from agentkit.llm.cassette import Cassette, Redact, append_call, redacted, request_of
from agentkit.llm.payload import response_from_json, response_to_json
from agentkit.llm.wrapper import LlmCall, LlmWrapper
from agentkit.tools.base import ToolSpec
from agentkit.transcript import JsonObject, Message

#: The errors that can be told apart in a recording, by their code.
_KINDS: Mapping[str, type[LlmError]] = {
    kind.code: kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, LlmError)
}


class RecordingLlm(LlmWrapper):
    """Writes each call to a file, one JSON line a call, with what came of it: the answer, its pieces, or the error.

    Keys and headers are not in a call, and so never in the file. The conversation is: messages, arguments and results
    of tools, answers. What must not be kept of it is made unreadable by `redact`, which sees each text by itself; with
    it the pieces of a streamed answer are joined first, or a secret could be hidden in the seam.

    Calls are added to a file that exists; delete it to record afresh. One file holds the calls of one model.
    """

    def __init__(self, inner: BaseLlmClient, path: str | Path, *, redact: Redact | None = None) -> None:
        super().__init__(inner)
        self._path = Path(path)
        self._redact = redact
        self._writing = asyncio.Lock()

    async def _answer(self, call: LlmCall) -> LlmResponse:
        pieces: list[str] = []

        def tell(text: str) -> None:
            pieces.append(text)
            if call.on_text is not None:
                call.on_text(text)

        try:
            response = await call.told_to(tell).put_to(self._inner)
        except LlmError as error:
            await self._write(call, pieces, error=_error_to_json(error))
            raise
        await self._write(call, pieces, response=_without_vendor(response_to_json(response)))
        return response

    async def _write(self, call: LlmCall, pieces: list[str], **outcome: JsonObject) -> None:
        body: dict[str, Any] = {**outcome, "pieces": pieces}
        if self._redact is not None:
            body = redacted({**outcome, "pieces": ["".join(pieces)] if pieces else []}, self._redact)
        who = {"provider": self.provider, "model": self.model}
        can = {"native_tools": self.native_tools, "native_output": self.native_output}
        request = request_of(call, self._redact)
        async with self._writing:
            await asyncio.to_thread(append_call, self._path, request=request, **who, **can, **body)


class ReplayingLlm(BaseLlmClient):
    """Answers as recorded, without any model: the same requests get the same answers and errors, in the same order.

    A request is the same when its messages, tools and output schema are, whatever time it has. Streamed, an answer
    comes in the pieces that were recorded, or whole.
    """

    def __init__(self, path: str | Path, *, redact: Redact | None = None) -> None:
        """
        Args:
            redact: The one it was recorded with.

        Raises:
            ConfigurationError: there is no such file, or it is not a recording.
        """
        self._cassette = Cassette(Path(path))
        self._redact = redact
        first = self._cassette.calls[0].body
        self.provider, self.model = first["provider"], first["model"]
        self.native_tools, self.native_output = first["native_tools"], first["native_output"]

    def __repr__(self) -> str:
        return f"ReplayingLlm({self._cassette.path.name!r})"

    async def complete(
        self,
        messages: Sequence[Message],
        *,
        tools: Sequence[ToolSpec] = (),
        output_schema: JsonObject | None = None,
        timeout_seconds: float,
    ) -> LlmResponse:
        return await self._answer(LlmCall(tuple(messages), tuple(tools), output_schema, timeout_seconds))

    async def stream(
        self,
        messages: Sequence[Message],
        *,
        tools: Sequence[ToolSpec] = (),
        output_schema: JsonObject | None = None,
        timeout_seconds: float,
        on_text: Callable[[str], None],
    ) -> LlmResponse:
        return await self._answer(LlmCall(tuple(messages), tuple(tools), output_schema, timeout_seconds, on_text))

    async def _answer(self, call: LlmCall) -> LlmResponse:
        """
        Raises:
            LlmError: as recorded; or the request was not recorded, and the message says what differs.
        """
        recorded = self._cassette.next_for(request_of(call, self._redact)).body
        await asyncio.sleep(0)  # a model call is a point where others may run
        if "error" in recorded:
            _tell(call, recorded["pieces"])
            raise _error_from_json(recorded["error"])
        response = response_from_json(recorded["response"])
        _tell(call, recorded["pieces"] or ([response.message.text] if response.message.text else []))
        return response


def _tell(call: LlmCall, pieces: Iterable[str]) -> None:
    if call.on_text is not None:
        for piece in pieces:
            call.on_text(piece)


def _without_vendor(response: JsonObject) -> JsonObject:
    message = {key: value for key, value in response["message"].items() if key != "vendor"}
    return response | {"message": message}


def _error_to_json(error: LlmError) -> JsonObject:
    own = max((kind for kind in _KINDS.values() if isinstance(error, kind)), key=lambda kind: len(kind.__mro__))
    return {"code": own.code, "message": str(error), "retry_after_seconds": error.retry_after_seconds}


def _error_from_json(body: JsonObject) -> LlmError:
    return _KINDS.get(body["code"], LlmError)(body["message"], retry_after_seconds=body["retry_after_seconds"])
