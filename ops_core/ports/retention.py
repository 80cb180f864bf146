"""How what is finished goes away."""

from __future__ import annotations

from collections.abc import AsyncIterable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias
from uuid import UUID

from ops_core.domain.event import Event
from ops_core.domain.task import Task


@dataclass(frozen=True, slots=True, kw_only=True)
class Retention:
    """How long finished tasks are kept, in seconds since they finished; None for ever."""

    completed_seconds: float | None = None
    #: Of those that failed, were canceled or rejected.
    unhappy_seconds: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Pruned:
    """What one step of pruning did."""

    tasks: int
    #: Where to go on; None at the end.
    after: UUID | None


#: Namespace and digest.
BlobName: TypeAlias = tuple[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class PrunedBlobs:
    """What one step of pruning long values did."""

    blobs: int
    #: Where to go on; None at the end.
    after: BlobName | None


class TaskArchive(Protocol):
    """Keeps tasks that are about to be deleted."""

    async def keep(self, tasks: AsyncIterable[tuple[Task, Sequence[Event]]]) -> None:
        """Returns when all of them, each with its log, are safe. One that is kept twice is there twice.

        Raises:
            StoreUnavailable: some or all are not safe.
        """


class RetentionStore(Protocol):
    """Deletes what is kept no longer, in batches that are in nobody's way."""

    async def prune_tasks(
        self, *, policy: Retention, after: UUID | None, limit: int, archive: TaskArchive | None = None
    ) -> Pruned:
        """Delete finished tasks that the policy does not keep, with all that is theirs; at most `limit` rows are
        looked at, in the order of their ids, from `after` on. What the `archive` does not have safe is not deleted.

        Raises:
            StoreUnavailable: the database; or the archive, and then nothing is deleted.
        """

    async def prune_blobs(self, *, unused_seconds: float, after: BlobName | None, limit: int) -> PrunedBlobs:
        """Delete blobs that no row names and that nobody has wanted for so long; at most `limit` are looked at, in the
        order of their names, from `after` on."""

    async def sweep_keys(self, *, unused_seconds: float, limit: int) -> int:
        """Forget keys that bound what runs and that nobody has used for so long; how many."""
