from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
import uvicorn
from uvicorn.server import ServerState

from ops_core.api.bounded_http import MAX_HEAD_BYTES, REQUEST_SECONDS, BoundedHttp

HEAD = b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\n"


class Timer:
    def __init__(self, seconds: float, action: Callable[[], None]) -> None:
        self.seconds, self.action, self.canceled = seconds, action, False

    def cancel(self) -> None:
        self.canceled = True


class Loop:
    """Keeps timers and tasks, and runs neither."""

    def __init__(self) -> None:
        self.timers: list[Timer] = []
        self.started = 0

    def call_later(self, seconds: float, action: Callable[[], None]) -> Timer:
        self.timers.append(Timer(seconds, action))
        return self.timers[-1]

    def create_task(self, coroutine: Any, **_: object) -> Any:
        coroutine.close()
        self.started += 1
        return asyncio.get_running_loop().create_future()

    def live(self) -> list[Timer]:
        return [timer for timer in self.timers if not timer.canceled]


class Transport:
    def __init__(self) -> None:
        self.written, self.closed = b"", False

    def get_extra_info(self, name: str) -> None:
        return None

    def write(self, data: bytes) -> None:
        self.written += data

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...


@pytest.fixture
def loop() -> Loop:
    return Loop()


@pytest.fixture
def transport() -> Transport:
    return Transport()


@pytest.fixture
async def connection(loop: Loop, transport: Transport) -> BoundedHttp:
    async def app(scope: object, receive: object, send: object) -> None: ...

    config = uvicorn.Config(app, log_config=None, access_log=False, ws="none", lifespan="off")
    made = BoundedHttp(config, ServerState(), {}, loop)  # type: ignore[arg-type] # a loop that runs nothing
    made.connection_made(transport)  # type: ignore[arg-type]
    return made


async def test_a_client_that_says_nothing_is_closed(connection: BoundedHttp, loop: Loop, transport: Transport) -> None:
    (deadline,) = loop.live()
    assert deadline.seconds == REQUEST_SECONDS
    deadline.action()
    assert transport.closed


async def test_a_head_or_body_that_does_not_end_is_closed_in_the_same_time(
    connection: BoundedHttp, loop: Loop, transport: Transport
) -> None:
    for piece in (HEAD, b"\r\n", b"{"):
        connection.data_received(piece)
        (deadline,) = loop.live()
    deadline.action()
    assert transport.closed


async def test_a_request_that_has_come_may_be_answered_as_late_as_it_likes(connection: BoundedHttp, loop: Loop) -> None:
    connection.data_received(HEAD + b"\r\n{}  ")
    assert (loop.started, loop.live()) == (1, [])


async def test_a_head_that_grows_without_end_is_refused(connection: BoundedHttp, transport: Transport) -> None:
    connection.data_received(HEAD + b"X-Long: ")
    for _ in range(MAX_HEAD_BYTES // 1024):
        assert not transport.closed
        connection.data_received(b"a" * 1024)
    connection.data_received(b"a")
    assert transport.closed
    assert transport.written.startswith(b"HTTP/1.1 400 ")


async def test_a_head_that_is_too_large_at_once_never_reaches_the_application(
    connection: BoundedHttp, loop: Loop, transport: Transport
) -> None:
    connection.data_received(HEAD + b"X-Long: " + b"a" * MAX_HEAD_BYTES + b"\r\n\r\n{}  ")
    assert (loop.started, transport.closed) == (0, True)


async def test_a_large_body_is_not_taken_for_a_large_head(connection: BoundedHttp, transport: Transport) -> None:
    body = b" " * (2 * MAX_HEAD_BYTES)
    head = b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % len(body)
    connection.data_received(head + body[:100])
    connection.data_received(body[100:] + b"GET / HTTP/1.1\r\nHost: local")
    assert not transport.closed
