from __future__ import annotations

import base64
import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest

from ops_core.domain.task import TaskStatus
from ops_core.errors import CursorMalformed
from ops_core.ports import TaskQuery
from ops_core.services.cursors import ListOfTask, PagedQuery, decode_cursor, encode_cursor

QUERY = TaskQuery(namespace="default", statuses=frozenset({TaskStatus.failed}), labels={"a": "b"})
PLACE = datetime(2026, 11, 21, 10, 0, 0, 123456, tzinfo=UTC), UUID(int=7)


def test_a_cursor_gives_back_its_place_to_the_microsecond() -> None:
    assert decode_cursor(QUERY, encode_cursor(QUERY, PLACE)) == PLACE


def test_another_page_size_may_use_the_same_cursor() -> None:
    assert decode_cursor(replace(QUERY, limit=7), encode_cursor(QUERY, PLACE)) == PLACE


@pytest.mark.parametrize(
    "other",
    [
        {"namespace": "else"},
        {"statuses": frozenset()},
        {"labels": {}},
        {"agent": "x"},
        {"queue": "x"},
        {"id_prefix": "0"},
        {"created_after": PLACE[0]},
        {"created_before": PLACE[0]},
    ],
)
def test_a_cursor_is_bound_to_namespace_and_filter(other: dict[str, Any]) -> None:
    with pytest.raises(CursorMalformed):
        decode_cursor(replace(QUERY, **other), encode_cursor(QUERY, PLACE))


@pytest.mark.parametrize(
    "other",
    [
        ListOfTask("signals", "default", UUID(int=1)),
        ListOfTask("children", "else", UUID(int=1)),
        ListOfTask("children", "default", UUID(int=2)),
        QUERY,
    ],
)
def test_the_cursor_of_a_list_of_a_task_is_bound_to_the_list_and_the_task(other: PagedQuery) -> None:
    children = ListOfTask("children", "default", UUID(int=1))
    cursor = encode_cursor(children, PLACE)
    assert decode_cursor(children, cursor) == PLACE
    with pytest.raises(CursorMalformed):
        decode_cursor(other, cursor)


@pytest.mark.parametrize(
    "cursor", ["", "x", "ä", "null", "e30", "W10", base64.urlsafe_b64encode(b'{"v":1}').decode(), "A" * 10_000, "\x00"]
)
def test_what_is_no_cursor_is_refused(cursor: str) -> None:
    with pytest.raises(CursorMalformed, match="next_cursor"):
        decode_cursor(QUERY, cursor)


def test_a_cursor_that_was_changed_is_refused() -> None:
    cursor = encode_cursor(QUERY, PLACE)
    body = json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
    body["id"] = str(UUID(int=8))
    with pytest.raises(CursorMalformed):
        decode_cursor(QUERY, base64.urlsafe_b64encode(json.dumps(body).encode()).decode())
