"""What an attachment is, and how it is kept."""

from __future__ import annotations

import pytest

from agentkit.attachments import LARGEST_BYTES, Attachment
from agentkit.errors import ConfigurationError
from agentkit.memory.token_estimate import message_tokens
from agentkit.transcript import UserMessage, message_from_json, message_to_json

PNG = Attachment.of(b"\x89PNG", "image/png", name="dot.png")


@pytest.mark.parametrize("length", range(7))
def test_its_size_is_that_of_its_content(length: int) -> None:
    content = b"x" * (length or 3)

    assert Attachment.of(content, "image/png").size_bytes == len(content)


@pytest.mark.parametrize("attachment", [PNG, Attachment("image/png", url="https://example.com/x.png")])
def test_a_message_with_it_survives_json(attachment: Attachment) -> None:
    message = UserMessage("Look.", (attachment,))

    assert message_from_json(message_to_json(message)) == message


def test_a_message_journaled_before_there_were_any_is_still_read() -> None:
    assert message_from_json({"role": "user", "text": "Hi"}) == UserMessage("Hi")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"media_type": "png", "data": "AAAA"}, "media type"),
        ({"media_type": "image/png; q=1", "data": "AAAA"}, "media type"),
        ({"media_type": "image/png"}, "either data"),
        ({"media_type": "image/png", "data": "AAAA", "url": "https://x"}, "either data"),
        ({"media_type": "image/png", "url": "file:///etc/passwd"}, "http or https"),
        ({"media_type": "image/png", "url": "https://x y"}, "http or https"),
        ({"media_type": "image/png", "data": "not base64!"}, "not base64"),
        ({"media_type": "image/png", "data": "A" * (LARGEST_BYTES * 4 // 3 + 8)}, "at most"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_none_is_refused_with_what_is_wrong(given: dict[str, str], said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        Attachment(**given)


@pytest.mark.parametrize(
    ("media_type", "is_text"),
    [
        ("text/plain", True),
        ("application/json", True),
        ("application/ld+json", True),
        ("application/pdf", False),
        ("image/svg+xml", False),
    ],
)
def test_it_knows_whether_it_is_text(media_type: str, is_text: bool) -> None:
    assert Attachment.of(b"x", media_type).is_text is is_text


def test_its_content_is_not_shown_in_a_repr() -> None:
    assert PNG.data not in repr(UserMessage("Look.", (PNG,)))


def test_an_image_counts_for_a_budget_whatever_its_bytes_are() -> None:
    small, large = (UserMessage("", (Attachment.of(b"x" * size, "image/png"),)) for size in (10, 1_000_000))

    assert message_tokens(small) == message_tokens(large) > 1_000
