"""Asks the model for one step: replayed when journaled, else asked once, bounded in time, and journaled."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from typing import TypedDict

from agentkit.decisions import Answer, Decision, Plan
from agentkit.errors import LlmTimeout, LlmUnavailable, StepMismatch
from agentkit.foreign import CancelledItself, await_foreign
from agentkit.hooks import FinishedStep, RunHooks
from agentkit.journal import Journal, StepKind, StepResult, fingerprint
from agentkit.llm.base import BaseLlmClient, LlmResponse
from agentkit.llm.payload import response_from_json, response_to_json
from agentkit.planners.base import Prompt
from agentkit.recording import record_even_if_cancelled
from agentkit.transcript import JsonObject


class _HeldTo(TypedDict, total=False):
    """Of a client's `complete` and `stream`."""

    output_schema: JsonObject | None


@dataclass(frozen=True, slots=True)
class Answered:
    """What the model said, what is to be done about it, and how long it took when it was asked."""

    response: LlmResponse
    #: None for an answer that is no turn of the conversation.
    decision: Decision | None
    seconds: float


class ModelCaller:
    """Makes the model calls of one run."""

    def __init__(
        self,
        *,
        llm: BaseLlmClient,
        definition: str,
        output_schema: JsonObject | None = None,
        timeout_seconds: float,
        journal: Journal,
        hooks: RunHooks,
    ) -> None:
        """
        Args:
            output_schema: What the model is held to where it can be.
        """
        self._llm = llm
        #: Not named to a client that does not know of it.
        self._held_to: _HeldTo = {"output_schema": output_schema} if output_schema and llm.native_output else {}
        self._fingerprint = _fingerprint_of(definition)
        self._timeout_seconds = timeout_seconds
        self._journal = journal
        self._hooks = hooks

    async def ask(
        self,
        key: str,
        make_prompt: Callable[[], Awaitable[Prompt]],
        decide: Callable[[LlmResponse], Decision | None],
    ) -> Answered:
        """The answer of this step. The prompt is made only when the model has to be asked; `decide` is pure, so that a
        replay decides the same.

        Raises:
            LlmError: nothing was recorded; a resume asks again.
            StepMismatch: the journaled answer belongs to another definition of the agent.
            RunRevoked
        """
        known = self._journal.recall(key)
        if known is not None and not known.fits(self._fingerprint):
            raise StepMismatch(
                key,
                journaled=f"agent definition {known.fingerprint[:8]}",
                now=f"agent definition {self._fingerprint[:8]}",
            )
        if isinstance(known, StepResult):
            response = response_from_json(known.payload)
            answered = Answered(response, decide(response), known.seconds)
            self._tell(answered, key, replayed=True)
            return answered
        prompt = await make_prompt()
        self._journal.check()
        self._hooks.step_started(key, StepKind.llm, self._llm.model)
        try:
            answered = await self._asked(key, prompt, decide)
        except BaseException as error:
            self._hooks.step_broken_off(key, error)
            raise
        self._tell(answered, key, is_last=isinstance(answered.decision, Answer))
        return answered

    async def _asked(self, key: str, prompt: Prompt, decide: Callable[[LlmResponse], Decision | None]) -> Answered:
        """The answer, journaled."""
        started = time.monotonic()
        response = await self._complete(key, prompt)
        if self._hooks.wants_text:
            self._hooks.text_ended(key)
        seconds = time.monotonic() - started
        result = StepResult(
            key=key,
            kind=StepKind.llm,
            fingerprint=self._fingerprint,
            payload=response_to_json(response),
            seconds=seconds,
        )
        try:
            answered = Answered(response, decide(response), seconds)
        except Exception:
            # Whatever it is worth, it is paid for.
            await record_even_if_cancelled(self._journal, result)
            raise
        if isinstance(answered.decision, Answer):
            self._journal.conclude(result)
            return answered
        if isinstance(answered.decision, Plan):
            # For whoever reads along; a replay reads it off the answer again.
            result = replace(result, payload=result.payload | {"plan": list(answered.decision.steps)})
        await record_even_if_cancelled(self._journal, result)
        return answered

    def _tell(self, answered: Answered, key: str, *, replayed: bool = False, is_last: bool = False) -> None:
        self._hooks.step_finished(
            FinishedStep(
                key=key,
                kind=StepKind.llm,
                name=answered.response.model,
                seconds=answered.seconds,
                replayed=replayed,
                is_error=False,
                is_last=is_last,
                response=answered.response,
            )
        )

    async def _complete(self, key: str, prompt: Prompt) -> LlmResponse:
        limit = self._timeout_seconds
        try:
            async with asyncio.timeout(limit):
                return await await_foreign(self._call(key, prompt, limit))
        except TimeoutError as error:
            raise LlmTimeout(f"the model did not answer within {limit:g} s") from error
        except CancelledItself as error:
            raise LlmUnavailable(f"the call of the model failed: {error}") from error

    def _call(self, key: str, prompt: Prompt, limit: float) -> Awaitable[LlmResponse]:
        if not self._hooks.wants_text:
            return self._llm.complete(prompt.messages, tools=prompt.tools, timeout_seconds=limit, **self._held_to)
        told = partial(self._hooks.text_received, key)
        return self._llm.stream(
            prompt.messages, tools=prompt.tools, timeout_seconds=limit, on_text=told, **self._held_to
        )


@lru_cache(maxsize=1024)
def _fingerprint_of(definition: str) -> str:
    """The same for all runs of a definition."""
    return fingerprint("llm", definition)
