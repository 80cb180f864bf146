"""A stream that breaks anywhere gives each event once, in order, and ends when the server says so."""

from __future__ import annotations

import json
from collections.abc import Callable
from uuid import UUID

import httpx2
import pytest

from ops_core.client import AnswerNotUnderstood, RequestRefused, ServerUnreachable, WaitTimedOut
from ops_core.client.answers import Event, TextDelta
from ops_core.client.connection import Connection
from ops_core.client.event_stream import EventStream
from ops_core.tests.unit.client.fake_server import TASK_ID, FakeServer, event_json, event_stream, problem, sse

EVENTS = [event_json(1, "task.submitted"), event_json(2, "task.started"), event_json(3, "task.completed")]
ID = UUID(TASK_ID)


def stream_cut_at(end: int) -> Callable[[httpx2.Request], httpx2.Response]:
    """Sends what comes after Last-Event-ID, the first time cut off after so many characters; 204 when all is given."""
    cut = [end]

    def answer(request: httpx2.Request) -> httpx2.Response:
        after = int(request.headers["last-event-id"])
        left = [event for event in EVENTS if event["seq"] > after]
        if not left:
            return httpx2.Response(204)
        text = sse(*left)
        return event_stream(text[: cut.pop()] if cut else text)

    return answer


@pytest.mark.parametrize("end", range(0, len(sse(*EVENTS)), 23))
def test_a_broken_stream_is_taken_up_where_it_broke(end: int) -> None:
    server = FakeServer(stream_cut_at(end))
    assert [event.seq for event in server.client().tasks.events(ID)] == [1, 2, 3]


def test_goes_on_after_the_seq_it_is_given() -> None:
    server = FakeServer(stream_cut_at(10_000))
    assert [event.seq for event in server.client().tasks.events(ID, after=2)] == [3]


def test_an_event_that_comes_twice_is_given_once() -> None:
    server = FakeServer(event_stream(sse(*EVENTS[:2])), event_stream(sse(*EVENTS)), httpx2.Response(204))
    assert [event.seq for event in server.client().tasks.events(ID)] == [1, 2, 3]


def test_a_server_that_restarts_is_waited_for() -> None:
    server = FakeServer(
        event_stream(sse(EVENTS[0])),
        httpx2.ConnectError("refused"),
        problem(503, "store_unavailable", "Later."),
        httpx2.Response(502, text="<html>bad gateway"),
        event_stream(sse(*EVENTS[1:])),
        httpx2.Response(204),
    )
    assert [event.seq for event in server.client().tasks.events(ID)] == [1, 2, 3]
    assert server.pauses == [1.0, 1.0, 1.0]


def test_an_unknown_task_ends_it_at_once() -> None:
    server = FakeServer(problem(404, "task_not_found", "There is no task."))
    with pytest.raises(RequestRefused):
        list(server.client().tasks.events(ID))
    assert len(server.requests) == 1


class Clock:
    """Time that passes only while somebody sleeps."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def stream(answer: Callable[[httpx2.Request], httpx2.Response], clock: Clock, timeout: float | None) -> EventStream:
    connection = Connection(
        "http://server", api_key=None, timeout_seconds=1, transport=httpx2.MockTransport(answer), sleep=clock.sleep
    )
    return EventStream(connection, "/events", timeout_seconds=timeout, clock=clock)


def test_a_server_that_stays_away_ends_it() -> None:
    answers = [event_stream(sse(EVENTS[0]))]

    def answer(request: httpx2.Request) -> httpx2.Response:
        if answers:
            return answers.pop()
        raise httpx2.ConnectError("refused")

    clock = Clock()
    seen: list[int] = []
    with pytest.raises(ServerUnreachable):
        seen.extend(event.seq for event in stream(answer, clock, None) if isinstance(event, Event))
    assert seen == [1]
    assert clock.now == pytest.approx(60, abs=2)


def test_a_server_that_never_answered_is_given_up_soon() -> None:
    def answer(request: httpx2.Request) -> httpx2.Response:
        raise httpx2.ConnectError("refused")

    clock = Clock()
    with pytest.raises(ServerUnreachable):
        list(stream(answer, clock, None))
    assert clock.now <= 5


def test_the_callers_time_ends_it() -> None:
    def silence(request: httpx2.Request) -> httpx2.Response:
        clock.sleep(request.extensions["timeout"]["read"])
        raise httpx2.ReadTimeout("silence")

    clock = Clock()
    with pytest.raises(WaitTimedOut):
        list(stream(silence, clock, 10))
    assert clock.now == pytest.approx(10, abs=1)


@pytest.mark.parametrize(
    "answer", [httpx2.Response(200, json=EVENTS), event_stream("id: 1\ndata: {}\n\n"), event_stream("data: x\n\n")]
)
def test_what_is_no_stream_of_events_is_refused(answer: httpx2.Response) -> None:
    with pytest.raises(AnswerNotUnderstood):
        list(FakeServer(answer).client().tasks.events(ID))


def text_sse(offset: int, text: str, *, epoch: int = 1, step_key: str = "1/llm") -> str:
    body = {"step_key": step_key, "epoch": epoch, "offset": offset, "text": text}
    return f"event: text\ndata: {json.dumps(body)}\n\n"


def watched(*streams: str) -> list[int | str]:
    """What a watch of these connections gives: numbers of events, texts of pieces."""
    server = FakeServer(*map(event_stream, streams), httpx2.Response(204))
    items = server.client().tasks.watch(ID)
    return [item.text if isinstance(item, TextDelta) else item.seq for item in items]


def test_text_comes_between_the_events() -> None:
    first, then = sse(*EVENTS[:2]), sse(EVENTS[2])
    assert watched(first + text_sse(0, "Hel") + text_sse(3, "lo\u2028") + then) == [1, 2, "Hel", "lo\u2028", 3]


def test_after_a_reconnect_only_the_text_that_is_new_is_given() -> None:
    first = sse(*EVENTS[:2]) + text_sse(0, "Hello")
    assert watched(first, text_sse(0, "Hello, wor") + text_sse(10, "ld") + sse(EVENTS[2])) == [
        1,
        2,
        "Hello",
        ", wor",
        "ld",
        3,
    ]


def test_a_later_claim_begins_the_text_anew() -> None:
    first = sse(*EVENTS[:2]) + text_sse(0, "Hello")
    assert watched(first + text_sse(0, "Hi", epoch=2) + sse(EVENTS[2])) == [1, 2, "Hello", "Hi", 3]


def test_who_asks_for_events_gets_no_text() -> None:
    server = FakeServer(event_stream(sse(*EVENTS[:2]) + text_sse(0, "x") + sse(EVENTS[2])), httpx2.Response(204))
    assert [event.seq for event in server.client().tasks.events(ID)] == [1, 2, 3]


@pytest.mark.parametrize("data", ["{", "[]", '{"step_key": "1/llm"}'])
def test_text_that_is_not_what_the_api_promises_is_an_error(data: str) -> None:
    with pytest.raises(AnswerNotUnderstood):
        watched(f"event: text\ndata: {data}\n\n")
