"""The memory of one conversation that shows the model as much of the recent past as a token budget allows."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import accumulate

from agentkit.memory.base import BaseMemory
from agentkit.memory.token_estimate import message_tokens
from agentkit.transcript import AssistantMessage, Message, SystemMessage, UserMessage

#: Stands where exchanges were left out.
OMISSION_NOTE = UserMessage("[Earlier steps of this conversation were left out here to save space.]")


@dataclass(slots=True)
class Block:
    """Messages that are shown or left out together, with their size."""

    messages: list[Message] = field(default_factory=list)
    tokens: int = 0

    def add(self, message: Message) -> None:
        self.messages.append(message)
        self.tokens += message_tokens(message)


class ShortTermMemory(BaseMemory):
    """Keeps everything, shows what fits.

    System messages, the goal (the first user message) and the newest exchange are always shown, even when they alone
    go over the budget. Of the rest the oldest exchanges are left out first; an exchange is an assistant message with
    what answers it, so a tool result is never shown without its call. A note says that something is missing.
    """

    def __init__(self, *, token_budget: int = 100_000) -> None:
        """
        Args:
            token_budget: Of the messages shown, by estimate (bytes / 4).
        """
        if token_budget <= 0:
            raise ValueError("token_budget must be greater than 0")
        self.token_budget = token_budget
        self._standing = Block()
        self._has_goal = False
        self._exchanges: list[Block] = []

    async def add(self, *messages: Message) -> None:
        for message in messages:
            self._add(message)

    @property
    def fits(self) -> bool:
        """Whether all of it can be shown."""
        return self._standing.tokens + sum(exchange.tokens for exchange in self._exchanges) <= self.token_budget

    async def view(self) -> tuple[Message, ...]:
        shown = self._exchanges
        if not self.fits:
            shown = self._newest_within(self.token_budget - self._standing.tokens - message_tokens(OMISSION_NOTE))
        note = [OMISSION_NOTE] if len(shown) < len(self._exchanges) else []
        return (*self._standing.messages, *note, *(m for exchange in shown for m in exchange.messages))

    def _add(self, message: Message) -> None:
        is_goal = isinstance(message, UserMessage) and not self._has_goal
        if is_goal or isinstance(message, SystemMessage):
            self._standing.add(message)
            self._has_goal = self._has_goal or is_goal
            return
        if isinstance(message, AssistantMessage) or not self._exchanges:
            self._exchanges.append(Block())
        self._exchanges[-1].add(message)

    def _newest_within(self, tokens: int) -> list[Block]:
        sizes = accumulate(exchange.tokens for exchange in reversed(self._exchanges))
        count = max(1, sum(1 for size in sizes if size <= tokens))
        return self._exchanges[-count:]
