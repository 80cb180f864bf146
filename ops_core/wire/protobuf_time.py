"""Points in time to and from protobuf's Timestamp."""

from __future__ import annotations

from datetime import UTC, datetime

from google.protobuf.timestamp_pb2 import Timestamp

from ops_core.errors import FieldProblem, InvalidInput


def timestamp_from(when: datetime | None) -> Timestamp | None:
    """The same point in time; None stays None, which protobuf takes as not set."""
    if when is None:
        return None
    message = Timestamp()
    message.FromDatetime(when)
    return message


def datetime_from(message: Timestamp, *, pointer: str) -> datetime:
    """The same point in time, in UTC, cut to microseconds.

    Raises:
        InvalidInput: it lies outside the years 1 to 9999, or its nanoseconds are none.
    """
    try:
        return message.ToDatetime(tzinfo=UTC)
    except (ValueError, OverflowError) as error:
        detail = "must be a time from the year 1 to 9999, with nanos from 0 to 999,999,999"
        raise InvalidInput(
            f"`{pointer[1:].replace('/', '.')}` {detail}.", problems=[FieldProblem(pointer, detail)]
        ) from error
