"""The ticket on the wire: a versioned JSON object, bounded when written and doubted when read."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from uuid import UUID

from ops_core.domain.task import JsonObject
from ops_core.ports import Ring

#: The most tasks one ticket stands for: more would let one worker take what several could share.
MAX_COUNT = 8
#: A ticket is some 300 bytes; whatever is larger is not one.
MAX_TICKET_BYTES = 4096
MAX_QUEUE_CHARS = 128
_VERSION = 1
_TRACEPARENT = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")


class TicketUnreadable(Exception):
    """Not a ticket of ours: it is dropped, since the housekeeper rings again for whatever it stood for."""


def split_ring(ring: Ring) -> Iterator[Ring]:
    """The ring as tickets of at most MAX_COUNT; only the first keeps the hint."""
    left = ring.count
    task_id, traceparent = ring.task_id, ring.traceparent
    while left > 0:
        count = min(left, MAX_COUNT)
        yield Ring(ring.queue, count, task_id, traceparent)
        left -= count
        task_id = traceparent = None


def encode_ticket(ring: Ring) -> JsonObject:
    """The fields of a ticket. Its count must be 1 to MAX_COUNT (see split_ring)."""
    if not 1 <= ring.count <= MAX_COUNT:
        raise ValueError(f"a ticket stands for 1 to {MAX_COUNT} tasks, not {ring.count}")
    fields: JsonObject = {"v": _VERSION, "queue": ring.queue, "count": ring.count}
    if ring.task_id is not None:
        fields["task_id"] = str(ring.task_id)
    if ring.traceparent is not None:
        fields["traceparent"] = ring.traceparent
    return fields


def decode_ticket(args: Sequence[object], fields: Mapping[str, object]) -> Ring:
    """The ticket in these arguments of the actor. A hint that cannot be read is left out.

    Raises:
        TicketUnreadable: another version, or not a ticket at all.
    """
    if args or fields.get("v") != _VERSION:
        raise TicketUnreadable(f"not a ticket of version {_VERSION}")
    queue, count = fields.get("queue"), fields.get("count")
    if not isinstance(queue, str) or not 1 <= len(queue) <= MAX_QUEUE_CHARS:
        raise TicketUnreadable(f"its queue is not a name of 1 to {MAX_QUEUE_CHARS} characters")
    if not isinstance(count, int) or isinstance(count, bool) or not 1 <= count <= MAX_COUNT:
        raise TicketUnreadable(f"its count is not a number from 1 to {MAX_COUNT}")
    return Ring(queue, count, _read_task_id(fields.get("task_id")), _read_traceparent(fields.get("traceparent")))


def _read_task_id(value: object) -> UUID | None:
    try:
        return UUID(value) if isinstance(value, str) else None
    except ValueError:
        return None


def _read_traceparent(value: object) -> str | None:
    return value if isinstance(value, str) and _TRACEPARENT.fullmatch(value) else None
