"""What a model is told of an API's answer: status and body, cut to a size, without the credentials of the request."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from agentkit.errors import ToolFailed
from agentkit.observations import cut_to_bytes, doubt
from agentkit.tools.base import ToolSpec

if TYPE_CHECKING:
    import httpx2

#: Bytes of the body of an error that the model is shown.
_ERROR_BYTES = 4_000
#: Shorter ones would be found by chance in any text.
_SHORTEST_SECRET = 6
_SHOWN_HEADERS = ("location", "retry-after")
#: All there is to the answer to a HEAD.
_HEAD_HEADERS = ("content-type", "content-length", "last-modified", "etag", *_SHOWN_HEADERS)
_TEXT_TYPES = ("text/", "application/json", "application/xml", "application/javascript", "application/x-www-form")
_TEXT_SUFFIXES = ("+json", "+xml", "+yaml", "/yaml", "/x-yaml", "json-seq", "ndjson")


class Secrets:
    """Values that no model may see."""

    def __init__(self, values: Iterable[str]) -> None:
        parts = {part for value in values for part in (value, value.rpartition(" ")[2])}
        #: The longest first, so that none is left half.
        self._values = sorted((each for each in parts if len(each) >= _SHORTEST_SECRET), key=len, reverse=True)

    @property
    def longest(self) -> int:
        return len(self._values[0].encode()) if self._values else 0

    def hidden_in(self, text: str) -> str:
        for value in self._values:
            text = text.replace(value, "[hidden]")
        return text


async def told_of(response: httpx2.Response, spec: ToolSpec, secrets: Secrets, limit: int) -> str:
    """Status, body, and where the answer points.

    Raises:
        ToolFailed: the status is no success; with what the API says of it.
    """
    is_error = not response.is_success
    body = await _body(response, secrets, min(limit, _ERROR_BYTES) if is_error else limit)
    shown = _HEAD_HEADERS if response.request.method == "HEAD" else _SHOWN_HEADERS
    headers = [f"{name}: {response.headers[name]}" for name in shown if name in response.headers]
    status = f"HTTP {response.status_code} {response.reason_phrase}".rstrip()
    text = "\n".join([status, *map(secrets.hidden_in, headers), *([body] if body else [])])
    if not is_error:
        return text
    raise ToolFailed(f"The tool {spec.name!r} failed: {_advice(response, spec)}\n{text}")


def _advice(response: httpx2.Response, spec: ToolSpec) -> str:
    match response.status_code:
        case 401 | 403:
            return "the API does not accept the credentials of this tool for this; other arguments may not help."
        case 408 | 425 | 429:
            return "the API wants to be asked later."
        case status if status >= 500:
            return f"the API has a fault of its own.{doubt(spec)}"
        case status if status >= 400:
            return "the API refuses the request; its answer may say why."
        case status if status >= 300:
            return "the API points to another address, which is not followed."
        case _:
            return "the API has not finished its answer."


async def _body(response: httpx2.Response, secrets: Secrets, limit: int) -> str:
    kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
    raw = await _read(response, limit + secrets.longest)
    is_text = kind.startswith(_TEXT_TYPES) or kind.endswith(_TEXT_SUFFIXES)
    if not is_text and not _is_utf8(raw):
        size = response.headers.get("content-length", "")
        return f"[{kind or 'unknown type'}, {f'{size} bytes, ' if size.isdigit() else ''}not shown]"
    text = secrets.hidden_in(_decoded(raw, response.charset_encoding))
    if len(raw) <= limit:
        return cut_to_bytes(text, limit)
    # Off with what may be the beginning of a secret.
    whole = text[: len(text) - secrets.longest] if secrets.longest else text
    head = whole.encode("utf-8", "replace")[:limit].decode("utf-8", "ignore")
    return f"{head}\n[cut: only the first {limit} bytes of the answer are shown]"


async def _read(response: httpx2.Response, limit: int) -> bytes:
    """The body's beginning: one byte more than `limit` when there is more. The rest is never read."""
    read = bytearray()
    async for chunk in response.aiter_bytes(16_384):
        read += chunk
        if len(read) > limit:
            break
    return bytes(read[: limit + 1])


def _is_utf8(raw: bytes) -> bool:
    """Whether it is text, but for a last character that was cut in two."""
    text = raw.decode("utf-8", "replace")
    return "\x00" not in text and "\ufffd" not in text[:-3]


def _decoded(raw: bytes, charset: str | None) -> str:
    try:
        return raw.decode(charset or "utf-8", "replace")
    except LookupError:
        return raw.decode("utf-8", "replace")
