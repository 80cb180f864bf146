"""An event loop whose time is virtual: it jumps to the next timer when there is nothing to do."""

from __future__ import annotations

import asyncio
import selectors
from datetime import UTC, datetime, timedelta
from typing import Any

#: When every simulation begins.
BEGINNING = datetime(2026, 1, 1, tzinfo=UTC)


class VirtualLoop(asyncio.SelectorEventLoop):
    """Never sleeps. No socket or thread may be waited for in it."""

    def __init__(self) -> None:
        self._now = 0.0
        super().__init__(_JumpingSelector(self))

    def time(self) -> float:
        return self._now

    def call_soon(self, callback: Any, *args: Any, context: Any = None) -> asyncio.Handle:  # type: ignore[override]  # typeshed's says which arguments go with which callback
        if self.is_closed():
            # The coroutines of dead processes are collected later than the world's end; nothing comes of them.
            return asyncio.Handle(callback, args, self, context)
        return super().call_soon(callback, *args, context=context)

    def jump(self, seconds: float) -> None:
        self._now += seconds

    def utc(self) -> datetime:
        """The clock of the machine and of the database."""
        return BEGINNING + timedelta(seconds=self._now)


class _JumpingSelector(selectors.SelectSelector):
    def __init__(self, loop: VirtualLoop) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> list[Any]:
        if timeout is None:
            raise AssertionError("the simulation waits for something that will never happen")
        if timeout > 0:
            self._loop.jump(timeout)
        return super().select(0)
