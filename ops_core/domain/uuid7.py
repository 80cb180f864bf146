"""UUID version 7 (RFC 9562): ids that sort by the time they were made, also within one millisecond."""

from __future__ import annotations

import secrets
import threading
import time
from uuid import UUID


class Uuid7Source:
    """Makes ids in strictly growing order within this process (RFC 9562, section 6.2, method 2)."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._last_ms = 0
        self._random = 0

    def new(self) -> UUID:
        with self._lock:
            now_ms = time.time_ns() // 1_000_000
            if now_ms > self._last_ms:
                self._last_ms = now_ms
                # The top bit stays free, so that counting up within this millisecond does not run over.
                self._random = secrets.randbits(73)
            else:
                # The same millisecond, or the clock was set back: count on from the last id.
                self._random += 1 + secrets.randbits(32)
            return _assemble(self._last_ms, self._random)


def _assemble(unix_ms: int, random_74: int) -> UUID:
    rand_a, rand_b = random_74 >> 62 & 0xFFF, random_74 & (1 << 62) - 1
    return UUID(int=(unix_ms & (1 << 48) - 1) << 80 | 0x7 << 76 | rand_a << 64 | 0b10 << 62 | rand_b)
