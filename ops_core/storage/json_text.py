"""Python values as JSON text that every database takes, and back."""

from __future__ import annotations

import json

from ops_core.domain.task import JsonValue
from ops_core.errors import InvalidInput

_COMPACT = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode


def dump_json(value: JsonValue) -> str:
    """Compact JSON. NUL and lone surrogates, which models and tools do write, are kept as escapes.

    Raises:
        InvalidInput: the value is no JSON (NaN, infinity, a type that JSON has not, too deep).
    """
    try:
        text = _COMPACT(value)
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidInput(f"the value cannot be stored as JSON: {error}") from error
    # A lone surrogate is no UTF-8; written as an escape it is.
    return text if _is_utf8(text) else json.dumps(value, allow_nan=False, separators=(",", ":"))


def load_json(text: str) -> JsonValue:
    return json.loads(text)


def refuse_unstorable(**fields: str | None) -> None:
    """Raises:
    InvalidInput: a field has a NUL or a lone surrogate, which no text column takes.
    """
    for name, text in fields.items():
        if text is not None and ("\x00" in text or not _is_utf8(text)):
            raise InvalidInput(f"{name} has a character that cannot be stored (NUL or half a surrogate pair)")


def _is_utf8(text: str) -> bool:
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
