"""Points in time on the wire: RFC 3339, UTC, with `Z`."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator

_RFC3339 = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d(:\d\d(\.\d{1,9})?)?([Zz]|[+-]\d\d:?\d\d)?")


def _text_of_a_time(value: object) -> object:
    # Without this, pydantic would read a number as seconds since 1970, and a bare date as midnight.
    if isinstance(value, datetime) or (isinstance(value, str) and _RFC3339.fullmatch(value)):
        return value
    raise ValueError("must be an RFC 3339 time such as 2030-01-31T09:00:00Z")


def _in_utc(value: datetime) -> datetime:
    return value.astimezone(UTC)


#: A time a client gives. It may lack a zone here: the service says what is wrong with that.
TimeIn = Annotated[datetime, BeforeValidator(_text_of_a_time)]
#: A time we give.
TimeOut = Annotated[datetime, AfterValidator(_in_utc)]
