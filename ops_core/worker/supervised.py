"""The order to stop, as a worker process takes it from its supervisor: it comes when that says so or is gone.

It is that standard input ends. SIGTERM cannot be it: a tool may send that to the process it runs in, which would hand
its task over to the next worker, and so on without end.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time

#: The supervisor kills a child in time, and says so; who has none any more ends by itself a little later.
_LATER_SECONDS = 1.0


class StopOrder:
    """Comes when standard input ends; the process then gets a SIGTERM, which is to be heeded if `has_come`."""

    def __init__(self) -> None:
        self._come = False

    def has_come(self) -> bool:
        return self._come

    def listen(self, *, end_after_seconds: float) -> None:
        """Begin to. However the process takes the order, it ends this long after."""
        threading.Thread(target=self._listen, args=(end_after_seconds,), name="stop-order", daemon=True).start()

    def _listen(self, end_after_seconds: float) -> None:
        while os.read(sys.stdin.fileno(), 1024):
            pass
        self._come = True
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(end_after_seconds + _LATER_SECONDS)
        os._exit(1)
