"""Pages of a size that every client takes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import TypeVar

from google.protobuf.message import Message

from ops_core.errors import FieldProblem, InvalidInput

#: gRPC clients refuse replies over 4 MiB unless told otherwise, so a page ends before that.
PAGE_BYTES = 3 * 1024 * 1024

_M = TypeVar("_M", bound=Message)


def page_size(asked: int, *, default: int, most: int) -> int:
    """AIP-158: 0 is the server's choice, too many are cut down, fewer than none are refused.

    Raises:
        InvalidInput
    """
    if asked < 0:
        detail = f"must not be negative, not {asked}: 0 leaves it to the server"
        raise InvalidInput(f"`page_size` {detail}.", problems=[FieldProblem("/page_size", detail)])
    return min(asked or default, most)


async def fitting_page(limit: int, read: Callable[[int], Awaitable[tuple[_M, int]]]) -> _M:
    """A page of at most so many items, and fewer where they would be too large; where one alone is, that one. `read`
    gives a page of at most so many, and says how many it has."""
    while True:
        page, count = await read(limit)
        size = page.ByteSize()
        if count <= 1 or size <= PAGE_BYTES:
            return page
        # As many as would fit if all were of one size; half of them at most, or a few large ones are read many times.
        limit = max(1, min(count // 2, count * PAGE_BYTES // size))


def as_many_as_fit(messages: Iterable[_M]) -> Sequence[_M]:
    """The first of them that fit into one reply. The very first goes in whatever its size, or nobody would ever get
    past it."""
    fitting: list[_M] = []
    size = 0
    for message in messages:
        size += message.ByteSize()
        if size > PAGE_BYTES and fitting:
            break
        fitting.append(message)
    return fitting
