"""A model that is asked again when trying again can help."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass

from agentkit.errors import LlmError
from agentkit.llm.base import BaseLlmClient, LlmResponse
from agentkit.llm.told_once import ToldOnce
from agentkit.llm.wrapper import LlmCall, LlmWrapper


@dataclass(frozen=True, slots=True, kw_only=True)
class Backoff:
    """How often, how long and with what pauses a call is tried."""

    attempts: int = 4
    #: The pause before the second attempt is up to so long, and up to twice as long before each one after it.
    first_pause_seconds: float = 0.5
    longest_pause_seconds: float = 30.0
    #: The longest that one attempt may take; None gives each all the time that is left.
    attempt_seconds: float | None = None
    #: The longest that all may take together; the time of the call bounds them anyway.
    total_seconds: float | None = None

    def __post_init__(self) -> None:
        """
        Raises:
            ValueError: fewer than one attempt, or a time that is negative or nothing.
        """
        if self.attempts < 1:
            raise ValueError("attempts must be at least 1")
        if self.first_pause_seconds < 0 or self.longest_pause_seconds < 0:
            raise ValueError("pauses must not be negative")
        if any(seconds is not None and seconds <= 0 for seconds in (self.attempt_seconds, self.total_seconds)):
            raise ValueError("attempt_seconds and total_seconds must be greater than 0")

    def longest_pause_after(self, attempt: int) -> float:
        """Before jitter; attempts count from 1."""
        # No exponent that a float cannot hold.
        return min(self.first_pause_seconds * 2.0 ** min(attempt - 1, 64), self.longest_pause_seconds)


class RetryingLlm(LlmWrapper):
    """Asks again after an error that says it may pass (`retryable`), and after no other.

    Pauses grow exponentially, each is drawn from all of its length (full jitter), and where the provider asked for a
    time it comes on top of that. All of it stays within the time of the call: when the next attempt would begin after
    it, the error is raised at once.

    A streamed answer that broke off is told on from where it broke if the new one begins with the same words; if not,
    the reader is told no more of it, and the answer that is returned is what counts.

    For scripts and services of your own. The control plane tries whole tasks again, later and on any worker, and holds
    none meanwhile: under it, two attempts and pauses of a second bridge a hiccup, and the long waits are left to it.
    """

    def __init__(
        self, inner: BaseLlmClient, backoff: Backoff | None = None, *, jitter: Callable[[], float] = random.random
    ) -> None:
        """
        Args:
            jitter: The share of each pause that is waited, from 0 to 1.
        """
        super().__init__(inner)
        self._backoff = backoff or Backoff()
        self._jitter = jitter

    async def _answer(self, call: LlmCall) -> LlmResponse:
        backoff, now = self._backoff, asyncio.get_running_loop().time
        started = now()
        ends = started + min(call.timeout_seconds, backoff.total_seconds or call.timeout_seconds)
        reader = ToldOnce(call.on_text) if call.on_text else None
        attempt = 0
        while True:
            attempt += 1
            left = max(ends - now(), 0.0)
            one_try = call.within(min(left, backoff.attempt_seconds or left)).told_to(reader.tell if reader else None)
            try:
                return await one_try.put_to(self._inner)
            except LlmError as error:
                pause = self._pause_after(attempt, error)
                if not error.retryable or attempt >= backoff.attempts or now() + pause >= ends:
                    if attempt > 1:
                        error.add_note(f"after {attempt} attempts in {now() - started:.1f} s")
                    raise
            if reader:
                reader.next_try()
            await asyncio.sleep(pause)

    def _pause_after(self, attempt: int, error: LlmError) -> float:
        return (error.retry_after_seconds or 0.0) + self._backoff.longest_pause_after(attempt) * self._jitter()
