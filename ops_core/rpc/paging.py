"""Pages of a size that every client takes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
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
