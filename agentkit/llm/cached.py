"""A model whose answers are kept, and given again to the same question."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import replace

from agentkit.errors import LlmError, LlmTimeout
from agentkit.journal import fingerprint
from agentkit.llm.base import BaseLlmClient, LlmResponse, StopReason, Usage
from agentkit.llm.payload import response_from_json, response_to_json
from agentkit.llm.response_store import MemoryResponseStore, ResponseStore
from agentkit.llm.wrapper import LlmCall, LlmWrapper
from agentkit.transcript import JsonObject, message_to_json

#: Part of each key: changed when what is kept under it takes another form.
_FORM = "agentkit-response-1"
#: Answers that are worth keeping: the others are cut short or bungled, and better asked again.
_WHOLE = frozenset({StopReason.end, StopReason.tool_calls})
#: A timer may go off early by this much.
_HARDLY_ANY_SECONDS = 0.01


class CachedLlm(LlmWrapper):
    """Asks each question once: the same messages, tools and output schema, of the same model.

    Whoever asks while the answer is on its way waits for it instead of asking too. A caller that is cancelled, or that
    has less time than the others, disturbs none of them: one of them asks in its place. An error is given to all who
    wait for the answer, and is not kept.

    An answer that was not asked for has no usage and is marked (`LlmResponse.from_cache`). A reader of a stream is told
    it whole.
    """

    def __init__(
        self, inner: BaseLlmClient, store: ResponseStore | None = None, *, settings: JsonObject | None = None
    ) -> None:
        """
        Args:
            store: None keeps answers in memory, for an hour.
            settings: What else answers depend on (temperature, the longest answer), where clients that differ in it
                share a store.
        """
        super().__init__(inner)
        self._store = store if store is not None else MemoryResponseStore()
        self._settings = settings or {}
        #: By key, what is being asked; None is told when its caller went away without an answer.
        self._under_way: dict[str, asyncio.Future[LlmResponse | LlmError | None]] = {}

    async def _answer(self, call: LlmCall) -> LlmResponse:
        now, key = asyncio.get_running_loop().time, self._key(call)
        ends = now() + call.timeout_seconds
        try:
            async with asyncio.timeout_at(ends) as limit:
                while (under_way := self._under_way.get(key)) is not None:
                    outcome = await asyncio.shield(under_way)
                    if isinstance(outcome, LlmError):
                        raise outcome
                    if outcome is not None:
                        return _told(call, outcome)
                return await self._find_or_ask(key, call, lambda: max(ends - now(), 0.0))
        except TimeoutError as error:
            if not limit.expired():
                raise
            raise LlmTimeout(f"no answer came within {call.timeout_seconds:g} s") from error

    async def _find_or_ask(self, key: str, call: LlmCall, seconds_left: Callable[[], float]) -> LlmResponse:
        outcome: LlmResponse | LlmError | None = None
        under_way = self._under_way[key] = asyncio.get_running_loop().create_future()
        try:
            if (kept := await self._store.find(key)) is not None:
                outcome = response_from_json(json.loads(kept))
                return _told(call, outcome)
            outcome = response = await call.within(seconds_left()).put_to(self._inner)
            if response.stop in _WHOLE:
                await self._store.keep(key, json.dumps(response_to_json(response)).encode())
            return response
        except LlmError as error:
            # When it is this caller's time that was too short, another one may have more.
            outcome = error if seconds_left() > _HARDLY_ANY_SECONDS else None
            raise
        finally:
            del self._under_way[key]
            under_way.set_result(outcome)

    def _key(self, call: LlmCall) -> str:
        return fingerprint(
            _FORM,
            self.provider,
            self.model,
            [message_to_json(message) for message in call.messages],
            [[tool.name, tool.description, tool.parameters] for tool in call.tools],
            call.output_schema,
            self._settings,
        )


def _told(call: LlmCall, response: LlmResponse) -> LlmResponse:
    call.tell_whole(response)
    return replace(response, usage=Usage(), allowance=None, from_cache=True)
