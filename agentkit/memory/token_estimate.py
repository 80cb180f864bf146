"""A guess at how many tokens a text has, for budgets: four bytes of UTF-8 are about one token."""

from __future__ import annotations

import json

from agentkit.transcript import Message, message_to_json

_BYTES_PER_TOKEN = 4


def text_tokens(text: str) -> int:
    """About how many tokens the text has; rounded up."""
    return -(-len(text.encode("utf-8", "replace")) // _BYTES_PER_TOKEN)


def message_tokens(message: Message) -> int:
    """About how many tokens the message has, with its calls and results."""
    return text_tokens(json.dumps(message_to_json(message), ensure_ascii=False))
