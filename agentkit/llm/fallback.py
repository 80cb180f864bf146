"""A model with others to ask in its place."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from agentkit.errors import BadCredentials, LlmError, LlmUnavailable, MalformedReply, RateLimited
from agentkit.llm.base import BaseLlmClient, LlmResponse
from agentkit.llm.told_once import ToldOnce
from agentkit.llm.wrapper import LlmCall, LlmWrapper

#: Errors that are the model's or its provider's own trouble, so that another may do better with the same question.
_THEIR_OWN_TROUBLE = (BadCredentials, RateLimited, LlmUnavailable, MalformedReply)


class FallbackLlm(LlmWrapper):
    """Asks the first model, and the next one when it cannot be asked.

    It carries the first one's name. Who answered is in the response (`provider`, `model`). It has native tools only if
    all have them, so that whoever is asked understands the same conversation; an output schema goes to those that take
    one. What a vendor wants back unchanged stays in the conversation, and each client reads only its own.

    The time of the call is that of all models together: without `attempt_seconds` one that hangs leaves none for the
    next. A streamed answer that broke off is told as by `RetryingLlm`: nothing is told twice, and since another model
    seldom begins with the same words, mostly no more than the first one's beginning.

    When none can be asked, the first error that says it may pass is raised, or else the first model's; the others are
    its notes.
    """

    def __init__(
        self,
        first: BaseLlmClient,
        *others: BaseLlmClient,
        on: tuple[type[LlmError], ...] = _THEIR_OWN_TROUBLE,
        attempt_seconds: float | None = None,
    ) -> None:
        """
        Args:
            on: The errors after which the next model is asked. Not among them unless asked for: `LlmRequestInvalid`,
                which hides a mistake; `ContextTooLong`, for a next model that reads more; `Refused`.
            attempt_seconds: The longest that a model may take, the last one excepted.
        """
        super().__init__(first)
        self._models = (first, *others)
        self.native_tools = all(model.native_tools for model in self._models)
        self.native_output = any(model.native_output for model in self._models)
        self._on = on
        self._attempt_seconds = attempt_seconds

    def __repr__(self) -> str:
        return f"FallbackLlm({', '.join(map(repr, self._models))})"

    async def aclose(self) -> None:
        # Each once, also when it stands in several places.
        models = {id(model): model for model in self._models}
        await asyncio.gather(*(model.aclose() for model in models.values()))

    async def _answer(self, call: LlmCall) -> LlmResponse:
        now = asyncio.get_running_loop().time
        ends = now() + call.timeout_seconds
        reader = ToldOnce(call.on_text) if call.on_text else None
        failed: list[tuple[BaseLlmClient, LlmError]] = []
        for number, model in enumerate(self._models, 1):
            left = ends - now()
            if failed and left <= 0:
                break
            seconds = left if number == len(self._models) else min(left, self._attempt_seconds or left)
            one_try = call.within(seconds).told_to(reader.tell if reader else None)
            try:
                return await _taken_by(model, one_try).put_to(model)
            except LlmError as error:
                failed.append((model, error))
                if not isinstance(error, self._on):
                    break
            if reader:
                reader.next_try()
        raise _most_hopeful(failed)


def _taken_by(model: BaseLlmClient, call: LlmCall) -> LlmCall:
    return call if model.native_output else replace(call, output_schema=None)


def _most_hopeful(failed: list[tuple[BaseLlmClient, LlmError]]) -> LlmError:
    chosen = next((error for _, error in failed if error.retryable), failed[0][1])
    for model, error in failed:
        if error is not chosen:
            chosen.add_note(f"{model.provider}/{model.model} failed too: {type(error).__name__}: {error}")
    return chosen
