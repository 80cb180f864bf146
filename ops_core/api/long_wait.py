"""Waiting inside a request: it ends early when the client leaves or the server is about to stop."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Coroutine
from contextlib import asynccontextmanager
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
    async with _cancelled_after(wait, _until_gone(request), draining.wait()) as tasks:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        return wait.result() if wait.done() else None


async def _until_gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def with_pings(
    items: AsyncGenerator[T, None], draining: Draining, *, every_seconds: float
) -> AsyncIterator[T | None]:
    """The items, and None whenever there was none for `every_seconds`. Ends with them, or when the server stops."""
    stopping = asyncio.ensure_future(draining.wait())
    upcoming: asyncio.Task[T] | None = None
    try:
        while True:
            upcoming = upcoming or asyncio.ensure_future(_next(items))
            done, _ = await asyncio.wait(
                {upcoming, stopping}, timeout=every_seconds, return_when=asyncio.FIRST_COMPLETED
            )
            if upcoming in done:
                try:
                    item = upcoming.result()
                except StopAsyncIteration:
                    return
                upcoming = None
                yield item
            elif stopping in done:
                return
            else:
                yield None
    finally:
        await _cancel(*(task for task in (upcoming, stopping) if task is not None))
        await items.aclose()


async def _next(items: AsyncGenerator[T, None]) -> T:
    return await anext(items)


@asynccontextmanager
async def _cancelled_after(
    first: asyncio.Future[Any], *others: Awaitable[Any]
) -> AsyncIterator[set[asyncio.Future[Any]]]:
    tasks = {first, *(asyncio.ensure_future(other) for other in others)}
    try:
        yield tasks
    finally:
        await _cancel(*tasks)


async def _cancel(*tasks: asyncio.Future[Any]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
