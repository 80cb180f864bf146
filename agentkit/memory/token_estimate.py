"""A guess at how many tokens a text has, for budgets: four bytes of UTF-8 are about one token."""

from __future__ import annotations

import json

from agentkit.attachments import Attachment
from agentkit.transcript import AssistantMessage, Message, SystemMessage, UserMessage, message_to_json

_BYTES_PER_TOKEN = 4
#: Of the JSON around the text of a message that has nothing else.
_TOKENS_AROUND_TEXT = 8
#: What vendors charge at most for an image that they have scaled down (Anthropic: width * height / 750, up to 1.15
#: megapixels), and about what a page of a PDF comes to.
_TOKENS_OF_AN_IMAGE = 1_600
#: Of a PDF: mostly fonts and pictures.
_BYTES_PER_TOKEN_OF_A_FILE = 20


def text_tokens(text: str) -> int:
    """About how many tokens the text has; rounded up."""
    return -(-len(text.encode("utf-8", "replace")) // _BYTES_PER_TOKEN)


def message_tokens(message: Message) -> int:
    """About how many tokens the message has, with its calls and results."""
    match message:
        case UserMessage(text, attachments):
            return text_tokens(text) + sum(map(_attachment_tokens, attachments)) + _TOKENS_AROUND_TEXT
        case SystemMessage(text) | AssistantMessage(text, (), None):
            return text_tokens(text) + _TOKENS_AROUND_TEXT
    return text_tokens(json.dumps(message_to_json(message), ensure_ascii=False))


def _attachment_tokens(attachment: Attachment) -> int:
    if attachment.is_text:
        return attachment.size_bytes // _BYTES_PER_TOKEN
    if attachment.is_image:
        return _TOKENS_OF_AN_IMAGE
    return max(_TOKENS_OF_AN_IMAGE, attachment.size_bytes // _BYTES_PER_TOKEN_OF_A_FILE)
