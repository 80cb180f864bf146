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

    def excess(self, *, urgent: bool = False) -> tuple[Message, ...]:
        """What is to be summed up before the model is asked again; nothing, as here, for a memory that does not do so.

        Args:
            urgent: The model's vendor has said that the conversation is too long, whatever the memory thinks of it.
        """
        return ()

    def condense(self, summary: str, *, urgent: bool = False) -> None:
        """Show this in place of the excess."""
        raise NotImplementedError(f"{type(self).__name__} has no excess, so there is nothing to condense")
