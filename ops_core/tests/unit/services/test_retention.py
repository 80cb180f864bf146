"""The pruner: walks on where it was, rests at the end, and deletes without pause only while there is something."""

from __future__ import annotations

from typing import Any, cast
from uuid import UUID

from ops_core.ports import BlobName, Pruned, PrunedBlobs, Retention, RetentionStore
from ops_core.services.retention import PRUNE_LIMIT, REST_SECONDS, Pruner

SECOND_PAGE = UUID(int=2)


class FakePages:
    """Answers with the pages given, and keeps where it was asked to go on."""

    def __init__(self, *pages: Pruned) -> None:
        self.pages = list(pages)
        self.asked: list[UUID | None] = []
        self.swept = 0

    async def prune_tasks(self, *, after: UUID | None, **_: Any) -> Pruned:
        self.asked.append(after)
        return self.pages.pop(0)

    async def prune_blobs(self, *, after: BlobName | None, **_: Any) -> PrunedBlobs:
        return PrunedBlobs(blobs=1, after=("default", "d") if after is None else None)

    async def sweep_keys(self, **_: Any) -> int:
        self.swept += 1
        return 3


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def pruner(store: FakePages, clock: Clock) -> Pruner:
    return Pruner(cast(RetentionStore, store), policy=Retention(completed_seconds=1), clock=clock)


async def test_a_walk_goes_on_where_it_was_and_begins_anew_after_a_rest() -> None:
    store = FakePages(
        Pruned(tasks=5, after=SECOND_PAGE), Pruned(tasks=0, after=None), Pruned(tasks=0, after=SECOND_PAGE)
    )
    clock = Clock()
    one = pruner(store, clock)
    assert [await one.prune_tasks() for _ in range(3)] == [PRUNE_LIMIT, 0, 0]
    clock.now += REST_SECONDS
    assert await one.prune_tasks() == 0, "a page without anything to delete is no reason to hurry"
    assert store.asked == [None, SECOND_PAGE, None]


async def test_long_values_are_walked_along_too() -> None:
    one = pruner(FakePages(), Clock())
    assert [await one.prune_blobs() for _ in range(3)] == [PRUNE_LIMIT, 0, 0]


async def test_keys_are_swept_once_an_hour() -> None:
    store, clock = FakePages(), Clock()
    one = pruner(store, clock)
    for _ in range(3):
        await one.sweep_keys()
    assert store.swept == 1
    clock.now += 3600
    await one.sweep_keys()
    assert store.swept == 2


def test_its_chores_have_names_of_their_own() -> None:
    assert [name for name, _ in pruner(FakePages(), Clock()).chores] == ["prune_tasks", "prune_blobs", "sweep_keys"]
