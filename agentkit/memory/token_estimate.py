"""A guess at how many tokens a text has, for budgets: four bytes of UTF-8 are about one token."""

from __future__ import annotations

import json

from agentkit.transcript import AssistantMessage, Message, SystemMessage, UserMessage, message_to_json

_BYTES_PER_TOKEN = 4
#: Of the JSON around the text of a message that has nothing else.
_TOKENS_AROUND_TEXT = 8


def text_tokens(text: str) -> int:
    """About how many tokens the text has; rounded up."""
    return -(-len(text.encode("utf-8", "replace")) // _BYTES_PER_TOKEN)


def message_tokens(message: Message) -> int:
    """About how many tokens the message has, with its calls and results."""
    match message:
        case SystemMessage(text) | UserMessage(text) | AssistantMessage(text, (), None):
            return text_tokens(text) + _TOKENS_AROUND_TEXT
    return text_tokens(json.dumps(message_to_json(message), ensure_ascii=False))
