"""The ticket on the wire: what is written can be read, what is not ours cannot."""

from __future__ import annotations

import json
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ops_core.ports import Ring
from ops_core.wire.ticket import MAX_TICKET_BYTES, TicketUnreadable, decode_ticket, encode_ticket, split_ring

TRACEPARENT = "00-" + "a" * 32 + "-" + "b" * 16 + "-01"


@pytest.mark.parametrize("ring", [Ring("q"), Ring("q", 8, uuid4(), TRACEPARENT)])
def test_a_ticket_survives_the_wire(ring: Ring) -> None:
    assert decode_ticket((), json.loads(json.dumps(encode_ticket(ring)))) == ring


def test_a_ticket_is_small() -> None:
    assert len(json.dumps(encode_ticket(Ring("q" * 128, 8, uuid4(), TRACEPARENT)))) < MAX_TICKET_BYTES / 4


@pytest.mark.parametrize("count", [0, -1, 9])
def test_a_count_out_of_bounds_is_not_written(count: int) -> None:
    with pytest.raises(ValueError, match="1 to 8"):
        encode_ticket(Ring("q", count))


@pytest.mark.parametrize(
    "change",
    [
        {"v": 2},
        {"v": None},
        {"queue": ""},
        {"queue": "q" * 129},
        {"queue": 7},
        {"count": 0},
        {"count": 9},
        {"count": 1.5},
        {"count": True},
        {"count": "1"},
    ],
)
def test_what_is_not_ours_cannot_be_read(change: dict[str, object]) -> None:
    with pytest.raises(TicketUnreadable):
        decode_ticket((), {**encode_ticket(Ring("q")), **change})


@pytest.mark.parametrize(
    "change", [{"task_id": "no uuid"}, {"task_id": 7}, {"traceparent": "no"}, {"traceparent": []}, {"more": "to come"}]
)
def test_a_hint_that_cannot_be_read_is_left_out(change: dict[str, object]) -> None:
    assert decode_ticket((), {**encode_ticket(Ring("q")), **change}) == Ring("q")


@given(st.dictionaries(st.text(), st.recursive(st.none() | st.integers() | st.text(), st.lists)))
def test_no_rubbish_raises_anything_but_unreadable(fields: dict[str, object]) -> None:
    with pytest.raises(TicketUnreadable):
        decode_ticket((), fields)


@given(st.integers(0, 200))
def test_splitting_keeps_the_count(count: int) -> None:
    tickets = list(split_ring(Ring("q", count, uuid4())))
    assert sum(ticket.count for ticket in tickets) == count
    assert sum(ticket.task_id is not None for ticket in tickets) == min(count, 1)
