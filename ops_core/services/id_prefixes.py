"""The beginning of an id, as people give it."""

from __future__ import annotations

from ops_core.errors import FieldProblem, InvalidInput


def id_digits(prefix: str | None) -> str | None:
    """The hexadecimal digits that the id begins with; None for any id.

    Raises:
        InvalidInput: no id begins so.
    """
    if prefix is None:
        return None
    digits = prefix.replace("-", "").lower()
    if not 0 < len(digits) <= 32 or digits.strip("0123456789abcdef"):
        detail = "must be 1 to 32 hexadecimal digits, dashes aside"
        raise InvalidInput(f"`id_prefix` {detail}.", problems=[FieldProblem("/id_prefix", detail)])
    return digits
