"""What all vendors' formats have in common about attachments: texts go as text, and what nobody can show is refused."""

from __future__ import annotations

from agentkit.attachments import Attachment
from agentkit.errors import LlmRequestInvalid


def text_in(attachment: Attachment) -> str | None:
    """The content of a text file as it is shown to a model, with its name; None for any other.

    Raises:
        LlmRequestInvalid: it says that it is text, and is not UTF-8.
    """
    if not attachment.is_text or not attachment.data:
        return None
    try:
        text = attachment.content().decode()
    except UnicodeDecodeError as error:
        raise LlmRequestInvalid(f"the attachment {_called(attachment)} is not UTF-8: {error}") from error
    return f"[file {_called(attachment)}]\n{text}\n[end of file {_called(attachment)}]"


def data_url(attachment: Attachment) -> str:
    """The content as a URL that holds it; the attachment's own URL if it has one."""
    return attachment.url or f"data:{attachment.media_type};base64,{attachment.data}"


def file_name(attachment: Attachment) -> str:
    """Its name, or one made from its type: vendors demand one."""
    return attachment.name or f"attachment.{attachment.media_type.partition('/')[2]}"


def cannot_show(provider: str, attachment: Attachment) -> LlmRequestInvalid:
    """The error for what the vendor has no form for."""
    how = "by its URL" if attachment.url else "by its content"
    return LlmRequestInvalid(
        f"{provider} cannot be given the attachment {_called(attachment)} ({attachment.media_type}) {how}"
    )


def _called(attachment: Attachment) -> str:
    return repr(file_name(attachment))
