"""A node: the objects of one process over the shared file, which can die between any two of its commits."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import Executable, create_engine

from ops_core.ports import NudgeBus
from ops_core.storage.database_url import DatabaseUrl
from ops_core.storage.reader import Reader, translated_reads
from ops_core.storage.sqlite.backend import SqliteBackend
from ops_core.storage.store import Store
from ops_core.storage.writes import AnswerLost, Backend, Transaction
from ops_core.tests.faults.simulation.virtual_time import VirtualLoop

T = TypeVar("T")


class Fault(StrEnum):
    """What happens at a commit."""

    #: The process dies before it: nothing was written.
    dies_before = "dies_before"
    #: The process dies after it: written, and nobody heard.
    dies_after = "dies_after"
    #: Written, and the answer is lost: the process goes on and must find out.
    answer_lost = "answer_lost"


@dataclass(slots=True)
class Life:
    """Whether a process still lives, and what is to happen at which of its next commits."""

    dead: bool = False
    fault: Fault | None = None
    #: Commits left before the fault.
    countdown: int = 0

    def plan(self, fault: Fault, commits: int) -> None:
        self.fault, self.countdown = fault, commits

    def due(self) -> Fault | None:
        """The fault of the commit that comes now."""
        if self.fault is None:
            return None
        if self.countdown > 0:
            self.countdown -= 1
            return None
        fault, self.fault = self.fault, None
        return fault


class NodeStore(Store):
    """The real store of one node, on this thread, under its node's life."""

    def __init__(self, path: Path, *, life: Life, nudges: NudgeBus, loop: VirtualLoop) -> None:
        self._life = life
        super().__init__(
            DatabaseUrl.parse(f"sqlite:///{path}"),
            nudges=nudges,
            read_connections=1,
            write_connections=1,
            give_up_seconds=5.0,
            machine_clock=loop.utc,
        )

    def _new_reader(self, connections: int, give_up_seconds: float) -> Reader:
        return _InlineReader(self.url, self._life)

    def _backend(self, connections: int, give_up_seconds: float) -> Backend:
        return _InlineBackend(self.url.sqlite_path, life=self._life, clock=self._machine_clock)

    def let_go(self) -> None:
        """Close the files, as the end of a process does."""
        reader = self._reader
        assert isinstance(reader, _InlineReader)
        reader.close()


class _InlineBackend(SqliteBackend):
    def __init__(self, path: Path, *, life: Life, clock: Callable[[], Any]) -> None:
        super().__init__(path, clock=clock)
        self._life = life

    async def transact(self, work: Callable[[Transaction], Awaitable[T]]) -> T:
        await until_alive(self._life)
        fault = self._life.due()
        if fault is Fault.dies_before:
            self._life.dead = True
            await until_alive(self._life)
        outcome = self._transact(work, float("inf"))
        if fault is Fault.dies_after:
            self._life.dead = True
            await until_alive(self._life)
        if fault is Fault.answer_lost:
            raise AnswerLost("the connection died before the answer came")
        return outcome


class _InlineReader(Reader):
    def __init__(self, url: DatabaseUrl, life: Life) -> None:
        self._sync = create_engine(url.synchronous)
        self._life = life

    async def rows(self, statement: Executable) -> Sequence[dict[str, Any]]:
        await until_alive(self._life)
        with translated_reads(), self._sync.connect() as connection:
            return [dict(row) for row in connection.execute(statement).mappings()]

    async def aclose(self) -> None:
        self.close()

    def close(self) -> None:
        self._sync.dispose()


async def until_alive(life: Life) -> None:
    """Return at once in a process that lives; what a dead one was doing never goes on, whatever it catches."""
    while life.dead:
        await asyncio.get_running_loop().create_future()
