"""Words of an enum in a query, repeated or separated by commas."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from enum import StrEnum
from typing import TypeVar

from ops_core.errors import FieldProblem, InvalidInput

_E = TypeVar("_E", bound=StrEnum)


def members_of(kind: type[_E], given: Sequence[str], *, name: str) -> Iterator[_E]:
    """Raises:
    InvalidInput: a word that there is not.
    """
    for word in (part.strip() for item in given for part in item.split(",")):
        try:
            yield kind(word)
        except ValueError:
            detail = f"must be one of {', '.join(kind)}, not {word[:50]!r}"
            raise InvalidInput(f"`{name}` {detail}.", problems=[FieldProblem(f"/{name}", detail)]) from None
