"""A task's events over server-sent events, going on from the last seq whenever the connection breaks."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from typing import Any, Final

import httpx2

from ops_core.client.answers import Event, TextDelta, parsed
from ops_core.client.connection import TRY_AGAIN, Connection
from ops_core.client.errors import AnswerNotUnderstood, ClientError, RequestRefused, ServerUnreachable, WaitTimedOut
from ops_core.client.sse import ReconnectTime, ServerSentEvent, parse_events
from ops_core.domain.event import EventType
from ops_core.domain.text import LiveText
from ops_core.domain.text import TextDelta as Piece

#: The server pings every 15 s: a stream silent for this long is dead.
SILENCE_SECONDS: Final = 45.0
#: How long a server that has answered before may be away.
AWAY_SECONDS: Final = 60.0
#: How long to try a server that has never answered.
FIRST_ANSWER_SECONDS: Final = 3.0
#: The type of a message that carries text and no event.
_TEXT: Final = "text"


class EventStream:
    """Iterates over the events after `after`, each once, in order, until the task is final and all were given; and
    between them, of a task that streams, the text its model is writing: each piece once, although a connection that is
    taken up again brings the text so far.

    Raises (while iterating):
        RequestRefused: such as task_not_found.
        ServerUnreachable: the server was away for too long.
        WaitTimedOut: the caller's time is over. Noticed at the latest with the server's next ping.
        AnswerNotUnderstood
    """

    def __init__(
        self,
        connection: Connection,
        path: str,
        *,
        after: int = 0,
        timeout_seconds: float | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._connection = connection
        self._path = path
        self._clock = clock
        self._ends_at = None if timeout_seconds is None else clock() + timeout_seconds
        self._give_up_at = clock() + FIRST_ANSWER_SECONDS
        self._pause_seconds = 1.0
        #: The seq of the last event given.
        self.seq = after
        self._live = LiveText()

    def __iter__(self) -> Iterator[Event | TextDelta]:
        while True:
            before = self.seq
            try:
                if (yield from self._one_connection()):
                    return
            except (ServerUnreachable, RequestRefused) as error:
                self._check_worth_trying(error)
            # A stream that ended after giving something is asked again at once: most often the answer is "no more".
            if self.seq == before:
                self._connection.sleep(self._pause_seconds)

    def _one_connection(self) -> Generator[Event | TextDelta, None, bool]:
        """The events of one connection; returns whether there will be no more."""
        with self._connection.stream(
            self._path,
            headers={"Accept": "text/event-stream", "Last-Event-ID": str(self.seq)},
            timeout_seconds=max(0.1, min(SILENCE_SECONDS, self._left_seconds())),
        ) as response:
            self._give_up_at = self._clock() + AWAY_SECONDS
            if response.status_code == httpx2.codes.NO_CONTENT:
                return True
            _check_is_stream(response)
            for item in parse_events(self._while_time_is_left(response.iter_text())):
                if isinstance(item, ReconnectTime):
                    self._pause_seconds = min(item.seconds, AWAY_SECONDS)
                    continue
                if item.event == _TEXT:
                    yield from self._new_text(item)
                    continue
                event = _event_of(item)
                if event.seq > self.seq:
                    self.seq = event.seq
                    self._note_end_of_text(event)
                    yield event
        return False

    def _new_text(self, item: ServerSentEvent) -> Iterator[TextDelta]:
        told = parsed(TextDelta, _json_of(item))
        piece = Piece(step_key=told.step_key, epoch=told.epoch, offset=told.offset, text=told.text)
        for new in self._live.add([piece]):
            yield TextDelta(step_key=new.step_key, epoch=new.epoch, offset=new.offset, text=new.text)

    def _note_end_of_text(self, event: Event) -> None:
        if event.type == EventType.task_reopened:
            self._live.begin_anew()
        elif event.step_key is not None and event.type == EventType.llm_completed:
            self._live.finish(event.step_key)

    def _while_time_is_left(self, chunks: Iterable[str]) -> Iterator[str]:
        for chunk in chunks:
            self._give_up_at = self._clock() + AWAY_SECONDS
            yield chunk
            if self._left_seconds() <= 0:
                raise self._timed_out()

    def _check_worth_trying(self, error: ClientError) -> None:
        if isinstance(error, RequestRefused) and error.status not in TRY_AGAIN:
            raise error
        if self._left_seconds() <= 0:
            raise self._timed_out() from error
        if self._clock() >= self._give_up_at:
            raise error

    def _left_seconds(self) -> float:
        return float("inf") if self._ends_at is None else self._ends_at - self._clock()

    def _timed_out(self) -> WaitTimedOut:
        return WaitTimedOut("the time to wait is over; the task goes on")


def _check_is_stream(response: httpx2.Response) -> None:
    kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "text/event-stream":
        raise AnswerNotUnderstood(f"{response.request.url.path} answered {kind or 'no content type'}, not a stream")


def _event_of(item: ServerSentEvent) -> Event:
    return parsed(Event, _json_of(item))


def _json_of(item: ServerSentEvent) -> Any:
    try:
        return json.loads(item.data)
    except (json.JSONDecodeError, RecursionError) as error:
        raise AnswerNotUnderstood(f"event {item.id or '?'} of the stream is not JSON: {error}") from error
