"""How a process learns that it is to stop."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from ops_core.telemetry import LogEvent, get_logger

_T = TypeVar("_T")
_log = get_logger()

_STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)


@contextmanager
def stop_signal() -> Iterator[asyncio.Event]:
    """An event that SIGTERM or SIGINT sets; a second signal kills, as if nobody had caught it.

    The block may be left by `Stopped`: then it ends here, and all is well.
    """
    stop, loop = asyncio.Event(), asyncio.get_running_loop()

    def on_signal() -> None:
        stop.set()
        for number in _STOP_SIGNALS:
            loop.remove_signal_handler(number)

    with _stop_signals_do(on_signal):
        yield stop


@contextmanager
def stop_order(has_come: Callable[[], bool]) -> Iterator[asyncio.Event]:
    """As `stop_signal`, but only a signal that comes with the order sets the event, and no other does anything.

    A tool may have sent it. The task would be handed over, and stop the next worker: it counts nowhere.
    """
    stop = asyncio.Event()

    def on_signal() -> None:
        if has_come():
            stop.set()
        else:
            _log.warning(LogEvent.stop_ignored, reason="it did not come from the supervisor")

    with _stop_signals_do(on_signal):
        yield stop


@contextmanager
def _stop_signals_do(action: Callable[[], None]) -> Iterator[None]:
    loop = asyncio.get_running_loop()
    for number in _STOP_SIGNALS:
        loop.add_signal_handler(number, action)
    try:
        yield
    except Stopped:
        _log.info(LogEvent.process_stopping, reason="told to before it had started")
    finally:
        for number in _STOP_SIGNALS:
            loop.remove_signal_handler(number)


class Stopped(Exception):
    """The signal to stop came before the process had started."""


async def until_stopped(action: Awaitable[bool], stop: asyncio.Event) -> bool:
    """What the action returns; False when the signal came first."""
    try:
        return await unless_stopped(action, stop)
    except Stopped:
        return False


async def unless_stopped(action: Awaitable[_T], stop: asyncio.Event) -> _T:
    """What the action returns.

    Raises:
        Stopped: the signal came first; the action has been cancelled.
    """
    acting, stopping = asyncio.ensure_future(action), asyncio.ensure_future(stop.wait())
    await asyncio.wait([acting, stopping], return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    if acting.done():
        return acting.result()
    acting.cancel()
    await asyncio.gather(acting, return_exceptions=True)
    raise Stopped
