"""Nudges: a lossy broadcast of "look again", within a process and, over PostgreSQL, to all of them."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Collection, Sequence
from typing import Protocol

from ops_core.ports import Nudge, NudgeBus, NudgeKind
from ops_core.storage.database_url import DatabaseUrl


class StartedNudgeBus(NudgeBus, Protocol):
    """A bus with a life of its own. What is sent before `start` or after `aclose` is dropped."""

    async def start(self) -> None: ...

    async def aclose(self) -> None: ...


def make_nudge_bus(url: str, hears: Collection[NudgeKind] = tuple(NudgeKind)) -> StartedNudgeBus:
    """The bus that belongs to the store of this URL: PostgreSQL's reaches every process, SQLite's this one.

    `hears`: the kinds that this process is told of by others; what nobody here waits for need not come here at all.

    Raises:
        ConfigurationInvalid: the URL is not one of a database we know.
    """
    parsed = DatabaseUrl.parse(url)
    if parsed.is_sqlite:
        return LocalNudgeBus()
    from ops_core.storage.postgres.nudges import PostgresNudgeBus

    return PostgresNudgeBus(parsed.libpq, hears)


class LocalNudgeBus:
    """Reaches the listeners of this process, on the loop that started it, from whatever thread."""

    def __init__(self) -> None:
        self._listeners: dict[int, tuple[Callable[[Nudge], None], frozenset[NudgeKind]]] = {}
        self._next = 0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = 0

    async def start(self) -> None:
        self._loop, self._thread = asyncio.get_running_loop(), threading.get_ident()

    async def aclose(self) -> None:
        self._loop = None

    def send(self, nudges: Sequence[Nudge]) -> None:
        if nudges:
            self.call_on_loop(self._deliver, tuple(nudges))

    def call_on_loop(self, function: Callable[[tuple[Nudge, ...]], None], nudges: tuple[Nudge, ...]) -> None:
        """Soon, on the loop of this bus; never when it does not run."""
        loop = self._loop
        if loop is None:
            return
        try:
            if threading.get_ident() == self._thread:
                loop.call_soon(function, nudges)
            else:
                loop.call_soon_threadsafe(function, nudges)
        except RuntimeError:
            return  # the loop was closed under us: nobody listens any more

    def subscribe(
        self, listener: Callable[[Nudge], None], kinds: Collection[NudgeKind] = tuple(NudgeKind)
    ) -> Callable[[], None]:
        number, self._next = self._next, self._next + 1
        self._listeners[number] = listener, frozenset(kinds)

        def end() -> None:
            self._listeners.pop(number, None)

        return end

    def is_heard(self, kind: NudgeKind) -> bool:
        """Whether anybody listens to these."""
        return any(kind in kinds for _, kinds in self._listeners.values())

    def _deliver(self, nudges: tuple[Nudge, ...]) -> None:
        for listener, kinds in list(self._listeners.values()):
            for nudge in nudges:
                if nudge.kind in kinds:
                    listener(nudge)
