"""The memory that has the model sum up what no longer fits, in place of leaving it out."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from importlib.resources import files

from agentkit.memory.short_term import Block, ShortTermMemory
from agentkit.planners.base import Prompt
from agentkit.transcript import AssistantMessage, Message, SystemMessage, ToolMessage, UserMessage

_MOST_WORDS = 500
#: Stands for a summary that the model did not write.
NOTHING_SAID = "(there is none)"
#: Characters of one message that the model is shown to sum it up.
_SHOWN = 6_000


class SummarizingMemory(ShortTermMemory):
    """Keeps everything, shows what fits and a summary of the rest. A call and its result are summed up together.

    The summary is a model call of the run: journaled, so that a resume does not pay for it again, and counted.
    """

    def __init__(self, *, token_budget: int = 100_000, kept_tokens: int | None = None) -> None:
        """
        Args:
            token_budget: Of the messages shown, by estimate (bytes / 4).
            kept_tokens: How much of the newest is left as it is when the rest is summed up; a third of the budget
                unless told. The less, the seldomer.
        """
        super().__init__(token_budget=token_budget)
        self._kept_tokens = token_budget // 3 if kept_tokens is None else kept_tokens

    def excess(self, *, urgent: bool = False) -> tuple[Message, ...]:
        if not urgent and self.fits:
            return ()
        old = self._old(0 if urgent else self._kept_tokens)
        is_news = any(isinstance(message, AssistantMessage) for block in old for message in block.messages)
        return tuple(message for block in old for message in block.messages) if is_news else ()

    def condense(self, summary: str, *, urgent: bool = False) -> None:
        old = self._old(0 if urgent else self._kept_tokens)
        note = Block()
        note.add(UserMessage(f"[Summary of earlier steps of this conversation]\n{summary}"))
        self._exchanges[: len(old)] = [note]

    def _old(self, kept_tokens: int) -> list[Block]:
        return self._exchanges[: -len(self._newest_within(kept_tokens)) or None]


def summary_prompt(messages: Sequence[Message]) -> Prompt:
    """What to ask a model that is to sum these up."""
    asked = files("agentkit.memory").joinpath("summary_prompt.txt").read_text(encoding="utf-8")
    told = SystemMessage(asked.replace("{most_words}", str(_MOST_WORDS)).strip())
    return Prompt((told, UserMessage("\n\n".join(line for message in messages for line in _lines(message)))))


def _lines(message: Message) -> Iterator[str]:
    match message:
        case AssistantMessage(text, calls):
            if text.strip():
                yield f"The agent said: {_cut(text)}"
            for call in calls:
                yield f"The agent called {call.name} with {_cut(json.dumps(call.arguments, ensure_ascii=False))}"
        case ToolMessage(results):
            for result in results:
                yield f"{result.name} {'failed' if result.is_error else 'returned'}: {_cut(result.content)}"
        case SystemMessage(text) | UserMessage(text):
            yield f"It was told: {_cut(text)}"


def _cut(text: str) -> str:
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]} […]"
