"""Prunes what is kept no longer: walks along finished tasks and long values, a page a tick, rests, begins anew."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeAlias
from uuid import UUID

from ops_core.ports import BlobName, Retention, RetentionStore, TaskArchive
from ops_core.telemetry import LogEvent, get_logger

#: Rows that one tick looks at.
PRUNE_LIMIT = 500
#: Pause after the end of a walk.
REST_SECONDS = 60.0
#: A long value that no row names goes after so long: whoever has just put it is about to name it.
BLOB_UNUSED_SECONDS = 3600.0
#: Rows of keys that were not used for so long go.
KEY_UNUSED_SECONDS = 86_400.0
_SWEEP_SECONDS = 3600.0

Tick: TypeAlias = Callable[[], Awaitable[int]]

_log = get_logger()


class Pruner:
    """Three ticks for the housekeeper. Where they are is kept in memory: a new process begins anew."""

    def __init__(
        self,
        store: RetentionStore,
        *,
        policy: Retention,
        archive: TaskArchive | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._policy = policy
        self._archive = archive
        self._clock = clock
        self._after_task: UUID | None = None
        self._after_blob: BlobName | None = None
        self._rest_until: dict[str, float] = {}

    @property
    def chores(self) -> Sequence[tuple[str, Tick]]:
        """The ticks by name. Each returns what it has deleted, or `PRUNE_LIMIT` to be called again at once."""
        return (
            ("prune_tasks", self.prune_tasks),
            ("prune_blobs", self.prune_blobs),
            ("sweep_keys", self.sweep_keys),
        )

    async def prune_tasks(self) -> int:
        if self._rests("tasks"):
            return 0
        pruned = await self._store.prune_tasks(
            policy=self._policy, after=self._after_task, limit=PRUNE_LIMIT, archive=self._archive
        )
        self._after_task = pruned.after
        if pruned.tasks:
            _log.info(LogEvent.tasks_pruned, tasks=pruned.tasks)
        return self._went_on("tasks", pruned.tasks, is_end=pruned.after is None)

    async def prune_blobs(self) -> int:
        if self._rests("blobs"):
            return 0
        pruned = await self._store.prune_blobs(
            unused_seconds=BLOB_UNUSED_SECONDS, after=self._after_blob, limit=PRUNE_LIMIT
        )
        self._after_blob = pruned.after
        return self._went_on("blobs", pruned.blobs, is_end=pruned.after is None)

    async def sweep_keys(self) -> int:
        if self._rests("keys"):
            return 0
        swept = await self._store.sweep_keys(unused_seconds=KEY_UNUSED_SECONDS, limit=PRUNE_LIMIT)
        return self._went_on("keys", swept, is_end=swept < PRUNE_LIMIT, rest_seconds=_SWEEP_SECONDS)

    def _rests(self, walk: str) -> bool:
        return self._clock() < self._rest_until.get(walk, 0.0)

    def _went_on(self, walk: str, deleted: int, *, is_end: bool, rest_seconds: float = REST_SECONDS) -> int:
        """No pause while there is much to delete; what is kept is passed at a page each tick."""
        if is_end:
            self._rest_until[walk] = self._clock() + rest_seconds
            return 0
        return PRUNE_LIMIT if deleted else 0
