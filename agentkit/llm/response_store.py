"""Where answers of models are kept to be given again: the port, and a store in memory."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from typing import Protocol


class ResponseStore(Protocol):
    """Keeps what it is given for as long as it likes. One that is out of reach finds nothing, and does not raise."""

    async def find(self, key: str) -> bytes | None:
        """What was kept under this key, if it is still there."""

    async def keep(self, key: str, value: bytes) -> None:
        """Keep this; what was under the key before is replaced."""


class MemoryResponseStore:
    """Keeps a limited amount for a limited time; what was not used for longest goes first."""

    def __init__(self, *, keep_seconds: float = 3_600.0, most_bytes: int = 64 * 1024 * 1024) -> None:
        """
        Raises:
            ValueError: a limit is not greater than 0.
        """
        if keep_seconds <= 0 or most_bytes <= 0:
            raise ValueError("keep_seconds and most_bytes must be greater than 0")
        self._keep_seconds = keep_seconds
        self._most_bytes = most_bytes
        self._bytes = 0
        #: Values with the time until which they are good, the one not used for longest first.
        self._kept: OrderedDict[str, tuple[bytes, float]] = OrderedDict()

    async def find(self, key: str) -> bytes | None:
        value, good_until = self._kept.get(key, (None, 0.0))
        if value is None:
            return None
        if _now() >= good_until:
            self._forget(key)
            return None
        self._kept.move_to_end(key)
        return value

    async def keep(self, key: str, value: bytes) -> None:
        self._forget(key)
        if len(value) > self._most_bytes:
            return
        self._kept[key] = (value, _now() + self._keep_seconds)
        self._bytes += len(value)
        while self._bytes > self._most_bytes:
            self._forget(next(iter(self._kept)))

    def _forget(self, key: str) -> None:
        if key in self._kept:
            self._bytes -= len(self._kept.pop(key)[0])


def _now() -> float:
    return asyncio.get_running_loop().time()
