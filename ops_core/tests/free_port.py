"""A port for a server that a test starts."""

from __future__ import annotations

import contextlib
import random
import socket

#: Not the shared generator: a test may have seeded that, and processes that test side by side must not agree.
_CHOICE = random.SystemRandom()


def free_port() -> int:
    """A port nobody listens on now. Below the range that the system gives to outgoing connections, so that none of
    those takes it before the process that it is meant for, or while that is restarted."""
    for _ in range(100):
        port = _CHOICE.randrange(20_000, 30_000)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise AssertionError("no free port between 20000 and 30000")
