"""A number of processes of one kind, of which whoever dies is replaced."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Any

from ops_core.tests.faults.lab import FaultSystem, takes_tickets
from ops_core.tests.journeys.system import Process


def workers(system: FaultSystem, queue: str, number: int, **options: Any) -> Crew:
    """So many workers of a queue; the options are those of `FaultSystem.begin_worker`."""
    return Crew(lambda: system.begin_worker(queue, **options), number, ready=takes_tickets)


class Crew:
    """Kept at its number while open. What it started stays, for the installation to end."""

    def __init__(self, begin: Callable[[], Process], number: int, *, ready: Callable[[Process], None]) -> None:
        self._begin = begin
        self._number = number
        self._ready = ready
        self._members: list[Process] = []
        self._lock = threading.Lock()
        self._ending = threading.Event()
        self._watch = threading.Thread(target=self._replace, daemon=True)
        #: How many were replaced.
        self.replaced = 0

    def __enter__(self) -> Crew:
        self._members = [self._begin() for _ in range(self._number)]
        for member in self._members:
            self._ready(member)
        self._watch.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ending.set()
        self._watch.join()

    def members(self) -> list[Process]:
        """Those there are now; some may have just died."""
        with self._lock:
            return list(self._members)

    def kill_one(self, rng: random.Random) -> None:
        """`kill -9` of any of them."""
        with self._lock:
            rng.choice(self._members).kill()

    def _replace(self) -> None:
        while not self._ending.wait(0.05):
            with self._lock:
                for place, member in enumerate(self._members):
                    if member.popen.poll() is not None:
                        self._members[place] = self._begin()
                        self.replaced += 1
