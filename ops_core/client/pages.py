"""Lists that come in pages."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from ops_core.client.answers import items_of
from ops_core.client.connection import Connection

_PAGE: Final = 100


def items_page_by_page(
    connection: Connection, path: str, params: Mapping[str, Any], *, limit: int | None = None
) -> Iterator[Any]:
    """The items of a list, up to the limit; pages are asked for as they are needed.

    Raises:
        RequestRefused, ServerUnreachable, AnswerNotUnderstood.
    """
    left, cursor = limit, None
    while left is None or left > 0:
        page = _PAGE if left is None else min(_PAGE, left)
        body = connection.get(path, params={**params, "limit": page, **({"cursor": cursor} if cursor else {})})
        items = items_of(body)
        yield from items
        left = None if left is None else left - len(items)
        cursor = body.get("next_cursor")
        if cursor is None:
            return
