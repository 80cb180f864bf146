"""Enums to and from protobuf's, member by member by their names."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any, TypeVar

from ops_core.errors import FieldProblem, InvalidInput

_E = TypeVar("_E", bound=StrEnum)


def numbers_of(enum: type[_E], message_enum: Any, prefix: str) -> Mapping[_E, Any]:
    """The protobuf number of each member, found by its name in the message enum (which stubs describe as a type)."""
    return {member: message_enum.Value(f"{prefix}_{member.name.upper()}") for member in enum}


def member_of(numbers: Mapping[_E, int], number: int, *, pointer: str) -> _E:
    """The member with this number.

    Raises:
        InvalidInput: this version knows no such member.
    """
    for member, known in numbers.items():
        if known == number:
            return member
    detail = f"must be one of {', '.join(f'{known} ({member})' for member, known in numbers.items())}, not {number}"
    raise InvalidInput(f"`{pointer[1:]}` {detail}.", problems=[FieldProblem(pointer, detail)])
