"""What comes out of one pipe, kept up to a bound."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable

_PIECE_BYTES = 65_536


class Outlet:
    """Reads a pipe of the sandbox as it fills. Never more than `limit` bytes are kept, whatever comes."""

    def __init__(self, pipe: int, *, limit: int, on_change: Callable[[], None]) -> None:
        """
        Args:
            pipe: Its reading end, which belongs to this object from now on.
            on_change: Told that something came, or that nothing more will.
        """
        self._pipe = pipe
        self._limit = limit
        self._on_change = on_change
        self.kept = bytearray()
        self.overflowed = False
        #: Nothing more will come: all that could write to it have gone.
        self.ended = False
        self._is_wanted = True
        self._loop = asyncio.get_running_loop()
        os.set_blocking(pipe, False)
        self._loop.add_reader(pipe, self._read_some)

    def drain(self) -> None:
        """Read what is in the pipe by now."""
        while not self.ended and not self.overflowed and self._read():
            pass

    def keep_no_more(self) -> None:
        """Read on only to learn when it ends."""
        self._is_wanted = False
        if self.overflowed and self._pipe >= 0:
            self._loop.add_reader(self._pipe, self._read_some)

    def close(self) -> None:
        """Read no more. Harmless when called twice."""
        if self._pipe >= 0:
            self._loop.remove_reader(self._pipe)
            os.close(self._pipe)
            self._pipe = -1
        self.ended = True

    def _read_some(self) -> None:
        self._read()
        self._on_change()

    def _read(self) -> bool:
        """Whether there may be more."""
        try:
            piece = os.read(self._pipe, _PIECE_BYTES)
        except BlockingIOError:
            return False
        if not piece:
            self.close()
            return False
        if not self._is_wanted:
            return True
        room = self._limit - len(self.kept)
        self.kept += piece[:room]
        if len(piece) > room:
            # Not read on: whoever writes on has to wait until it is killed.
            self.overflowed = True
            self._loop.remove_reader(self._pipe)
        return True
