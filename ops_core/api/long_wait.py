"""Waiting inside a request: it ends early when the client leaves or the server is about to stop."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator, Coroutine
from contextlib import aclosing
from typing import Any, TypeVar

from fastapi import Request

from ops_core.errors import FieldProblem, InvalidInput

T = TypeVar("T")
_PREFER_WAIT = re.compile(r"(?:^|[,;\s])wait\s*=\s*\"?(\d{1,9})\"?(?:$|[,;\s])", re.IGNORECASE)


class Draining:
    """Whether the server is about to stop: open streams and long waits end when it begins."""

    def __init__(self) -> None:
        self._begun = asyncio.Event()

    def begin(self) -> None:
        self._begun.set()

    async def wait(self) -> None:
        await self._begun.wait()


def patience_seconds(query: float | None, prefer: str | None, *, longest: float, name: str = "wait") -> float:
    """How long to wait: the query's `name`, which must be within bounds, or `Prefer: wait=`, cut to them (RFC 7240).

    Raises:
        InvalidInput
    """
    if query is not None:
        if not 0 <= query <= longest:
            detail = f"must be between 0 and {longest:g} seconds, not {query:g}"
            raise InvalidInput(f"`{name}` {detail}.", problems=[FieldProblem(f"/{name}", detail)])
        return query
    preferred = _PREFER_WAIT.search(prefer or "")
    return min(float(preferred[1]), longest) if preferred else 0.0


async def unless_interrupted(request: Request, draining: Draining, waiting: Coroutine[Any, Any, T]) -> T | None:
    """What `waiting` gives; None when the client left or the server stops before that."""
    wait = asyncio.ensure_future(waiting)
    tasks = (wait, asyncio.ensure_future(_until_gone(request)), asyncio.ensure_future(draining.wait()))
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        return wait.result() if wait.done() else None
    finally:
        _cancel(*tasks)


async def _until_gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def with_pings(
    items: AsyncGenerator[T, None], draining: Draining, *, every_seconds: float
) -> AsyncGenerator[T | None, None]:
    """The items, and None whenever there was none for `every_seconds`. Ends with them, or when the server stops."""
    queue: asyncio.Queue[T] = asyncio.Queue(1)
    pumping = asyncio.ensure_future(_pump(items, queue))
    stopping = asyncio.ensure_future(draining.wait())
    arriving = asyncio.ensure_future(queue.get())
    try:
        while not (pumping.done() and queue.empty() and not arriving.done()):
            awaited = {arriving, stopping} if pumping.done() else {arriving, stopping, pumping}
            done, _ = await asyncio.wait(awaited, timeout=every_seconds, return_when=asyncio.FIRST_COMPLETED)
            if arriving in done:
                item = arriving.result()
                arriving = asyncio.ensure_future(queue.get())
                yield item
            elif stopping in done:
                return
            elif not done:
                yield None
        # Raises what ended the items, if anything did.
        pumping.result()
    finally:
        _cancel(pumping, stopping, arriving)


async def _pump(items: AsyncGenerator[T, None], queue: asyncio.Queue[T]) -> None:
    """Put the items into the queue. A task of its own, so that it closes them however its reader ends."""
    async with aclosing(items):
        async for item in items:
            await queue.put(item)


def _cancel(*tasks: asyncio.Future[Any]) -> None:
    # Not waited for: Starlette cancels a stream at every await from when its client has left.
    for task in tasks:
        task.cancel()
