"""Finished tasks written down before they are deleted: JSON lines, one task with its log a line, one file a day."""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
from collections.abc import AsyncIterable, Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from ops_core.domain.event import Event
from ops_core.domain.task import Task
from ops_core.errors import ConfigurationInvalid, StoreUnavailable
from ops_core.wire.events import EventOut
from ops_core.wire.tasks import TaskOut


class FileArchive:
    """See `TaskArchive`. Several processes may append to one folder; a line that a crash tore stands by itself."""

    def __init__(self, folder: Path, *, clock: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        """Raises:
        ConfigurationInvalid: the folder is not there and cannot be made, or must not be written to.
        """
        self._folder = folder
        self._clock = clock
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigurationInvalid(f"the archive folder {folder} cannot be made: {error}") from error
        if not os.access(folder, os.W_OK | os.X_OK):
            raise ConfigurationInvalid(f"the archive folder {folder} cannot be written to")

    async def keep(self, tasks: AsyncIterable[tuple[Task, Sequence[Event]]]) -> None:
        path = self._folder / f"tasks-{self._clock().astimezone(UTC):%Y-%m-%d}.jsonl"
        # One task at a time: its log may be long.
        async for task, events in tasks:
            await self._in_thread(_append, path, task, events)
        await self._in_thread(_sync, path)

    async def _in_thread(self, work: Callable[..., None], *arguments: object) -> None:
        try:
            await asyncio.to_thread(work, *arguments)
        except OSError as error:
            raise StoreUnavailable(f"the archive in {self._folder} cannot be written: {error}") from error


def _append(path: Path, task: Task, events: Sequence[Event]) -> None:
    shown = {
        "task": TaskOut.from_domain(task).model_dump(mode="json"),
        "events": [EventOut.from_domain(event).model_dump(mode="json") for event in events],
    }
    # Pure ASCII: models do write halves of surrogate pairs, which are no UTF-8.
    line = json.dumps(shown, separators=(",", ":")).encode() + b"\n"
    with _locked(path) as file:
        whole = b"" if _ends_a_line(file) else b"\n"
        _write_all(file, whole + line)


def _sync(path: Path) -> None:
    if not path.exists():
        return
    for name, flags in ((path, os.O_RDONLY), (path.parent, os.O_RDONLY | os.O_DIRECTORY)):
        file = os.open(name, flags)
        try:
            os.fsync(file)
        finally:
            os.close(file)


@contextmanager
def _locked(path: Path) -> Iterator[int]:
    file = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o640)
    try:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield file
    finally:
        os.close(file)


def _ends_a_line(file: int) -> bool:
    size = os.fstat(file).st_size
    return size == 0 or os.pread(file, 1, size - 1) == b"\n"


def _write_all(file: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(file, rest) :]
