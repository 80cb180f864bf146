"""Ids cut short: the beginning of one is enough where it is plain whose it is."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Final, TypeVar
from uuid import UUID

from ops_core.cli.refusals import CommandRefused

#: Fewer digits name half of everything.
MIN_PREFIX: Final = 4
#: As many as are shown where several fit.
CANDIDATES: Final = 10

_T = TypeVar("_T")


def find_id(
    text: str,
    *,
    noun: str,
    look: Callable[[str], Iterable[_T]],
    id_of: Callable[[_T], UUID],
    line_of: Callable[[_T], str],
) -> UUID:
    """The id that begins so. `look` is given hexadecimal digits and gives those whose id begins with them.

    Raises:
        CommandRefused: it is no id, or none or several begin like it.
    """
    digits, advice = text.strip().lower().replace("-", ""), f"ops-core {noun} list"
    if len(digits) == 32:
        try:
            return UUID(digits)
        except ValueError:
            pass
    if len(digits) < MIN_PREFIX or not re.fullmatch(r"[0-9a-f]{1,32}", digits):
        article = "an" if noun[0] in "aeiou" else "a"
        raise CommandRefused(
            f"{text!r} is not the id of {article} {noun}: give it, or at least its first {MIN_PREFIX} digits",
            advice=advice,
        )
    found = list(look(digits))
    if not found:
        raise CommandRefused(f"no {noun} has an id that begins with {text!r}", advice=advice)
    if len(found) > 1:
        lines = [line_of(one) for one in found[:CANDIDATES]] + ["…"] * (len(found) > CANDIDATES)
        raise CommandRefused(f"several {noun}s have an id that begins with {text!r}", advice="more of it", lines=lines)
    return id_of(found[0])
