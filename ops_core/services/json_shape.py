"""What JSON we take in: bounded in size and depth, with finite numbers, and text that both databases can keep."""

from __future__ import annotations

import json
import math
from collections.abc import Collection

from ops_core.domain.task import JsonValue
from ops_core.errors import FieldProblem


def json_problem(value: JsonValue, *, max_depth: int, max_bytes: int) -> FieldProblem | None:
    """The first thing that keeps the value from being stored as it is, with a pointer into it; None when it is fine."""
    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False)
        size = len(text.encode())
    except (ValueError, TypeError, RecursionError):
        # Not finite, a lone surrogate (UnicodeEncodeError is a ValueError), no JSON at all, or very deep.
        return _search(value, max_depth) or FieldProblem("", "is not JSON")
    if size > max_bytes:
        return FieldProblem("", f"must be at most {max_bytes:,} bytes of JSON, not {size:,}")
    # As many brackets as levels at most, and no escaped NUL: nothing to search for, and this is the usual case.
    if text.count("{") + text.count("[") <= max_depth and "\\u0000" not in text:
        return None
    return _search(value, max_depth)


def is_nested_deeper(value: JsonValue, max_depth: int) -> bool:
    """Whether objects and lists are nested more than `max_depth` levels deep."""
    level = [value]
    for _ in range(max_depth):
        level = [inner for item in level for inner in _children(item)]
        if not level:
            return False
    return any(isinstance(item, dict | list) for item in level)


def _children(item: JsonValue) -> Collection[JsonValue]:
    match item:
        case dict():
            return item.values()
        case list():
            return item
    return ()


def _search(value: JsonValue, max_depth: int) -> FieldProblem | None:
    # A stack of our own: a value that is too deep must not be met by recursion.
    stack: list[tuple[JsonValue, str, int]] = [(value, "", 1)]
    while stack:
        item, pointer, depth = stack.pop()
        detail = _scalar_problem(item)
        if isinstance(item, dict | list) and depth > max_depth:
            return FieldProblem("", f"must be nested at most {max_depth} levels deep")
        if isinstance(item, dict):
            for key, inner in item.items():
                detail = detail or (_scalar_problem(key) if isinstance(key, str) else "has a name that is not text")
                stack.append((inner, f"{pointer}/{escape_pointer(str(key))}", depth + 1))
        elif isinstance(item, list):
            stack.extend((inner, f"{pointer}/{index}", depth + 1) for index, inner in enumerate(item))
        if detail is not None:
            return FieldProblem(_printable(pointer), detail)
    return None


def _scalar_problem(item: JsonValue) -> str | None:
    match item:
        case str():
            if "\x00" in item:
                return "must not contain the character NUL (U+0000)"
            if any("\ud800" <= char <= "\udfff" for char in item):
                return "must be valid Unicode: it contains half of a surrogate pair"
        case float() if not math.isfinite(item):
            return "must be a finite number, not NaN or Infinity"
        case None | bool() | int() | float() | dict() | list():
            return None
        case _:
            return f"is not JSON ({type(item).__name__})"
    return None


def escape_pointer(token: str) -> str:
    """One token of a JSON pointer (RFC 6901)."""
    return token.replace("~", "~0").replace("/", "~1")


def _printable(pointer: str) -> str:
    return pointer.encode("utf-8", "replace").decode().replace("\x00", "\ufffd")
