"""A process that fills a SQLite file with tasks, or claims and finishes them until there are none."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Sequence

from ops_core.domain.outcome import Completed
from ops_core.domain.task import TaskUsage
from ops_core.errors import RunLost, StoreUnavailable
from ops_core.ports import Lease
from ops_core.storage.store import open_store
from ops_core.tests.contract.store_cases import new_task

QUEUE = "default"
#: Nothing was claimable so many times in a row: the others have the rest.
ENOUGH_EMPTY_CLAIMS = 20


def main(command: Sequence[str]) -> int:
    """`fill NUMBER URL` or `claim URL`."""
    match command:
        case ["fill", number, url]:
            asyncio.run(_fill(url, int(number)))
        case ["claim", url]:
            asyncio.run(_claim(url))
        case _:
            raise SystemExit(f"no such command: {command}")
    return 0


async def _fill(url: str, number: int) -> None:
    store = await open_store(url)
    await asyncio.gather(*(store.add_task(new_task(queue=QUEUE)) for _ in range(number)))
    await store.aclose()


async def _claim(url: str) -> None:
    """Writes down each task it was given, then ends it."""
    store = await open_store(url)
    empty = 0
    while empty < ENOUGH_EMPTY_CLAIMS:
        try:
            tasks = await store.claim(QUEUE, limit=4, worker_id=f"claimer-{os.getpid()}", lease_seconds=60)
        except StoreUnavailable:
            continue
        empty = 0 if tasks else empty + 1
        for task in tasks:
            sys.stdout.write(f"claimed {task.id.hex}\n")
            try:
                await store.finish(Lease(task.id, task.epoch), Completed(result={}, usage=TaskUsage()))
            except RunLost:
                empty += 1
    sys.stdout.flush()
    await store.aclose()
