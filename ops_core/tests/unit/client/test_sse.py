"""The parser of server-sent events keeps to the standard, however the text is cut."""

from __future__ import annotations

import pytest

from ops_core.client.errors import AnswerNotUnderstood
from ops_core.client.sse import ReconnectTime, ServerSentEvent, parse_events

STREAM = (
    "\ufeff: a comment\r\n"
    "retry: 1500\n"
    "id: 1\nevent: task.submitted\ndata: one\n\n"
    "data: two\r\ndata:  lines\r\n\r\n"
    "event: nothing\n\n"
    "id\rdata\r\r"
)
PARSED = [
    ReconnectTime(1.5),
    ServerSentEvent("task.submitted", "one", "1"),
    ServerSentEvent("message", "two\n lines", "1"),
    ServerSentEvent("message", "", ""),
]


def test_parses_every_form_the_standard_allows() -> None:
    assert list(parse_events([STREAM])) == PARSED


@pytest.mark.parametrize("size", [1, 2, 3, 7])
def test_does_not_depend_on_where_the_text_is_cut(size: int) -> None:
    chunks = [STREAM[at : at + size] for at in range(0, len(STREAM), size)]
    assert list(parse_events(chunks)) == PARSED


def test_a_line_separator_inside_the_data_does_not_end_the_line() -> None:
    [event] = parse_events(['data: {"a": "x\u2028y\x0bz"}\n\n'])
    assert event == ServerSentEvent("message", '{"a": "x\u2028y\x0bz"}', "")


def test_an_event_that_is_cut_off_is_dropped() -> None:
    assert list(parse_events(["data: whole\n\ndata: hal"])) == [ServerSentEvent("message", "whole", "")]


def test_ignores_what_the_standard_says_to_ignore() -> None:
    assert list(parse_events(["retry: soon\nid: a\0b\nwhat: ever\ndata: x\n\n"])) == [
        ServerSentEvent("message", "x", "")
    ]


@pytest.mark.parametrize("text", ["data: " + "x" * 200, "data: x\n" * 100])
def test_an_event_without_end_is_refused(text: str) -> None:
    with pytest.raises(AnswerNotUnderstood):
        list(parse_events([text], max_event_chars=100))
