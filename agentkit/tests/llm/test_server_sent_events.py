"""Server-sent events out of bytes that may be cut anywhere."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentkit.errors import MalformedReply
from agentkit.llm.server_sent_events import LARGEST_EVENT_BYTES, ServerSentEvent, ServerSentEvents


def read(*chunks: bytes) -> list[ServerSentEvent]:
    events = ServerSentEvents()
    return [event for chunk in chunks for event in events.feed(chunk)]


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"data: a\n\n", [("message", b"a")]),
        (b"data:a\r\n\r\ndata:  b\r\r", [("message", b"a"), ("message", b" b")]),
        (b"event: ping\ndata: {}\n\ndata: x\n\n", [("ping", b"{}"), ("message", b"x")]),
        (b"data: a\ndata: b\n\n", [("message", b"a\nb")]),
        (b": comment\n\nid: 1\nretry: 2\n\ndata\n\n", [("message", b"")]),
        ("data: a\u2028b\x0b\x85\n\n".encode(), [("message", "a\u2028b\x0b\x85".encode())]),
        (b"data: not ended\n", []),
        (b"", []),
    ],
)
def test_events_are_read_as_the_standard_says(body: bytes, expected: list[tuple[str, bytes]]) -> None:
    assert [(event.name, event.data) for event in read(body)] == expected


@given(st.lists(st.sampled_from([b"data: a", b"data: \xc3\xbc", b"event: e", b": c", b"", b"\n", b"\r", b"\r\n"])))
def test_where_the_bytes_are_cut_does_not_matter(parts: list[bytes]) -> None:
    body = b"".join(parts)

    assert read(*(body[i : i + 1] for i in range(len(body)))) == read(body)


def test_an_event_of_many_lines_is_bounded() -> None:
    with pytest.raises(MalformedReply, match="longer than"):
        read(*[b"data: " + b"x" * 1024 * 1024 + b"\n"] * (LARGEST_EVENT_BYTES // 1024 // 1024 + 1))


def test_events_that_are_done_do_not_count_against_the_bound() -> None:
    assert len(read(*[b"data: " + b"x" * 1024 * 1024 + b"\n\n"] * 40)) == 40
