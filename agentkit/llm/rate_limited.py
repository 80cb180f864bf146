"""A model that is asked at no more than so many requests and tokens a minute."""

from __future__ import annotations

import asyncio
import json

from agentkit.errors import RateLimited
from agentkit.llm.base import BaseLlmClient, LlmResponse
from agentkit.llm.rate_limiter import RateLimiter
from agentkit.llm.wrapper import LlmCall, LlmWrapper
from agentkit.memory.token_estimate import message_tokens, text_tokens


class RateLimitedLlm(LlmWrapper):
    """Waits until its limiter lets the call go, first come first served; the wait counts against the call's time.

    Models that share an account share a limiter. The tokens of a call are estimated from what is sent, and corrected
    when the answer says what was used; a call that failed stays counted, since its provider may have counted it. What
    the provider says of its limits, in an answer or in a refusal, is passed on to the limiter. This belongs right
    around a client: around a cache or a fallback it would count what was not asked, or of whom it was not.
    """

    def __init__(self, inner: BaseLlmClient, limiter: RateLimiter | None = None) -> None:
        """
        Args:
            limiter: None makes one for this model, whose limits are learned from the provider.
        """
        super().__init__(inner)
        self._limiter = limiter or RateLimiter()

    async def _answer(self, call: LlmCall) -> LlmResponse:
        """
        Raises:
            RateLimited: the call's turn does not come in time, or the provider says so.
        """
        now = asyncio.get_running_loop().time
        started, estimated = now(), _tokens_of(call)
        await self._limiter.admit(estimated, within_seconds=call.timeout_seconds)
        left = max(call.timeout_seconds - (now() - started), 0.0)
        try:
            response = await call.within(left).put_to(self._inner)
        except RateLimited as error:
            if error.retry_after_seconds:
                self._limiter.pause(error.retry_after_seconds)
            raise
        self._limiter.correct(estimated, response.usage.total_tokens)
        if response.allowance is not None:
            self._limiter.learn(response.allowance)
        return response


def _tokens_of(call: LlmCall) -> int:
    """Of what is sent: nobody knows how much the model will write."""
    offered = [[tool.name, tool.description, tool.parameters] for tool in call.tools]
    around = [*offered, *([call.output_schema] if call.output_schema else [])]
    return sum(map(message_tokens, call.messages)) + (text_tokens(json.dumps(around)) if around else 0)
