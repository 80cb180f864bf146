"""Ends whatever would outlast a stopping server: streams and waits."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class ServerStopping(Exception):
    """The server stops, and what was waiting in it ends early."""


class Drain:
    """Blocks under `cut_short` run until they are done or the drain begins, whichever is first."""

    def __init__(self) -> None:
        self._scopes: set[asyncio.Timeout] = set()
        self._begun = False

    def begin(self) -> None:
        """End all blocks there are, and each one that is entered from now on."""
        self._begun = True
        for scope in self._scopes:
            scope.reschedule(asyncio.get_running_loop().time())

    @asynccontextmanager
    async def cut_short(self) -> AsyncIterator[None]:
        """Raises:
        ServerStopping: the drain began before the block was done.
        """
        # A time-out that is never due until the drain makes it due: it knows how to tell its own cancel from others'.
        scope = asyncio.timeout(0 if self._begun else None)
        try:
            async with scope:
                self._scopes.add(scope)
                try:
                    yield
                finally:
                    self._scopes.discard(scope)
        except TimeoutError as error:
            if scope.expired():
                raise ServerStopping from error
            raise
