"""Images and files that a model is given to look at, and their JSON form."""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass, field
from typing import Any, Self

from agentkit.errors import ConfigurationError

#: Before base64. No vendor takes more in one request.
LARGEST_BYTES = 20_000_000
_MEDIA_TYPE = re.compile(r"[a-z]+/[a-z0-9][a-z0-9.+_-]*")
_URL = re.compile(r"https?://[^\s\x00-\x1f]+")
#: Beside `text/…`, what is text as well.
_TEXT_TYPES = re.compile(r"application/(.+\+)?(json|xml|yaml|x-yaml|toml|javascript|sql|x-sh|x-python)")


@dataclass(frozen=True, slots=True)
class Attachment:
    """An image or a file: its content, or the address at which the model's vendor fetches it."""

    #: As `image/png`, in lower case and without parameters.
    media_type: str
    #: The content in base64; empty when there is a URL.
    data: str = field(default="", repr=False)
    #: http or https; whoever runs the model fetches it, agentkit never does.
    url: str = ""
    #: The file's name, if it has one.
    name: str = ""

    def __post_init__(self) -> None:
        """
        Raises:
            ConfigurationError: it is none: no media type, both or neither of content and URL, or too much of it.
        """
        if not _MEDIA_TYPE.fullmatch(self.media_type):
            raise ConfigurationError(f"an attachment needs a media type such as image/png, not {self.media_type!r}")
        if bool(self.data) == bool(self.url):
            raise ConfigurationError("an attachment needs either data (in base64) or a url")
        if self.url and not _URL.fullmatch(self.url):
            raise ConfigurationError(f"the URL of an attachment must be http or https, not {self.url[:80]!r}")
        if self.size_bytes > LARGEST_BYTES:
            raise ConfigurationError(
                f"an attachment has {self.size_bytes:,} bytes; at most {LARGEST_BYTES:,} can be sent"
            )
        if self.data:
            self.content()

    @classmethod
    def of(cls, content: bytes, media_type: str, *, name: str = "") -> Self:
        """What is in memory.

        Raises:
            ConfigurationError: as the constructor.
        """
        return cls(media_type, data=base64.b64encode(content).decode(), name=name)

    @property
    def size_bytes(self) -> int:
        """How long the content is; 0 for what is fetched from a URL."""
        return len(self.data) * 3 // 4 - self.data[-2:].count("=")

    @property
    def is_image(self) -> bool:
        return self.media_type.startswith("image/")

    @property
    def is_text(self) -> bool:
        return self.media_type.startswith("text/") or _TEXT_TYPES.fullmatch(self.media_type) is not None

    def content(self) -> bytes:
        """The content, decoded.

        Raises:
            ConfigurationError: `data` is not base64.
        """
        try:
            return base64.b64decode(self.data, validate=True)
        except binascii.Error as error:
            raise ConfigurationError(f"the data of an attachment is not base64: {error}") from error


def attachment_to_json(attachment: Attachment) -> dict[str, Any]:
    """The inverse of `attachment_from_json`."""
    named = {"data": attachment.data, "url": attachment.url, "name": attachment.name}
    return {"media_type": attachment.media_type} | {name: value for name, value in named.items() if value}


def attachment_from_json(body: dict[str, Any]) -> Attachment:
    """The attachment that `attachment_to_json` wrote.

    Raises:
        ConfigurationError: it is none.
    """
    return Attachment(body["media_type"], body.get("data", ""), body.get("url", ""), body.get("name", ""))
