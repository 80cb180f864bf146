"""Opaque page cursors, each bound to the namespace and filter it was made for."""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal, TypeAlias, TypeVar
from uuid import UUID

from ops_core.errors import CursorMalformed, FieldProblem
from ops_core.ports import ApprovalQuery, TaskQuery

_VERSION = 1
_MAX_CHARS = 512


_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class ListOfTask:
    """A list of what belongs to one task."""

    name: Literal["children", "signals"]
    namespace: str
    task_id: UUID


#: What a cursor may be bound to.
PagedQuery: TypeAlias = TaskQuery | ApprovalQuery | ListOfTask


def cut_page(
    query: PagedQuery, found: Sequence[_T], limit: int, *, place_of: Callable[[_T], tuple[datetime, UUID]]
) -> tuple[Sequence[_T], str | None]:
    """The page, and the cursor of the next one. Of items one more than the limit was asked for: whether it is there
    tells whether there is a next page."""
    if len(found) <= limit:
        return found, None
    return found[:limit], encode_cursor(query, place_of(found[limit - 1]))


def encode_cursor(query: PagedQuery, place: tuple[datetime, UUID]) -> str:
    """The cursor of the page that follows `place` in this query's list."""
    created_at, task_id = place[0].astimezone(UTC).isoformat(), str(place[1])
    body = {"v": _VERSION, "at": created_at, "id": task_id, "sum": _checksum(query, created_at, task_id)}
    return base64.urlsafe_b64encode(json.dumps(body, separators=(",", ":")).encode()).decode().rstrip("=")


def decode_cursor(query: PagedQuery, cursor: str) -> tuple[datetime, UUID]:
    """The place that the cursor stands for.

    Raises:
        CursorMalformed: it is none of ours, was changed, or belongs to another namespace or filter.
    """
    if len(cursor) > _MAX_CHARS:
        raise _malformed()
    try:
        body = json.loads(base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True))
        version, created_at, task_id, checksum = body["v"], body["at"], body["id"], body["sum"]
        place = datetime.fromisoformat(created_at), UUID(task_id)
    except (binascii.Error, ValueError, KeyError, TypeError, AttributeError, RecursionError) as exc:
        raise _malformed() from exc
    if version != _VERSION or checksum != _checksum(query, created_at, task_id) or place[0].tzinfo is None:
        raise _malformed()
    return place


def _checksum(query: PagedQuery, created_at: str, task_id: str) -> str:
    """Finds accidents and mix-ups. It keeps no secret: what a page shows is decided by the caller's namespace."""
    bound = [*_narrowing(query), created_at, task_id]
    return hashlib.sha256(json.dumps(bound).encode()).hexdigest()[:16]


def _narrowing(query: PagedQuery) -> list[object]:
    match query:
        case TaskQuery():
            return [
                query.namespace,
                sorted(query.statuses),
                query.agent,
                query.queue,
                sorted(query.labels.items()),
                query.created_after.astimezone(UTC).isoformat() if query.created_after else None,
                query.created_before.astimezone(UTC).isoformat() if query.created_before else None,
                query.id_prefix,
            ]
        case ApprovalQuery():
            return [
                "approvals",
                query.namespace,
                sorted(query.statuses),
                str(query.task_id),
                query.agent,
                None if query.groups is None else sorted(query.groups),
                query.id_prefix,
            ]
        case ListOfTask():
            return [query.name, query.namespace, str(query.task_id)]


def _malformed() -> CursorMalformed:
    detail = "must be the next_cursor of the page before, asked for with the same filters; leave it out to begin anew"
    return CursorMalformed(f"The cursor {detail}.", problems=[FieldProblem("/cursor", detail)])
