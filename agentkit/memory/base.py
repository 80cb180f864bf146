"""What an agent remembers of a conversation, and how much of it the model is shown."""

from __future__ import annotations

from abc import ABC, abstractmethod

from agentkit.transcript import Message


class BaseMemory(ABC):
    """The conversation of one run. One run owns one memory."""

    @abstractmethod
    async def add(self, *messages: Message) -> None:
        """Remember these, in this order."""

    @abstractmethod
    async def view(self) -> tuple[Message, ...]:
        """What the model is shown now. Every tool result in it has its call in it, and the goal is always in it."""
