"""What is kept no longer goes, on both databases, with all that is its own, and in nobody's way."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg
import pytest
from sqlalchemy import func, select, update

from ops_core.domain.event import Event
from ops_core.domain.outcome import Completed, Failed
from ops_core.domain.signal import NewSignal
from ops_core.domain.task import ForkOrigin, Parent, RetryFrom, Task, TaskError
from ops_core.errors import StoreUnavailable
from ops_core.ports import Retention
from ops_core.storage.archive import FileArchive
from ops_core.storage.schema import blobs, signals, task_events, tasks
from ops_core.storage.store import Store, open_store
from ops_core.tests.contract.store_cases import USAGE, claim, event_types, lease, new_task, step, uuid7

AT_ONCE = Retention(completed_seconds=0.001, unhappy_seconds=0.001)
WEEK = 7 * 86_400.0
LONG = "x" * 20_000


async def completed(store: Store, result: Any = 1, *, steps: Sequence[str] = ("1/llm",), **changes: Any) -> Task:
    added = (await store.add_task(new_task(**changes))).task
    (running,) = await claim(store)
    for key in steps:
        await store.append(lease(running), step(key))
    await store.finish(lease(running), Completed(result=result, usage=USAGE))
    return added


async def failed(store: Store) -> Task:
    added = (await store.add_task(new_task())).task
    (running,) = await claim(store)
    await store.finish(lease(running), Failed(error=TaskError("x", "y"), usage=USAGE))
    return added


async def prune(store: Store, policy: Retention = AT_ONCE, **changes: Any) -> int:
    # Ids and the policy count in milliseconds.
    await asyncio.sleep(0.01)
    wanted: dict[str, Any] = {"after": None, "limit": 500, **changes}
    return (await store.prune_tasks(policy=policy, **wanted)).tasks


async def exists(store: Store, task: Task) -> bool:
    return await store.get_task("default", task.id) is not None


async def count(store: Store, table: Any) -> int:
    (row,) = await store._reader.rows(select(func.count().label("found")).select_from(table))
    found: int = row["found"]
    return found


class Kept:
    """An archive in memory; `away` keeps nothing."""

    def __init__(self, *, away: bool = False) -> None:
        self.tasks: list[tuple[UUID, list[str]]] = []
        self._away = away

    async def keep(self, tasks: AsyncIterable[tuple[Task, Sequence[Event]]]) -> None:
        async for task, events in tasks:
            if self._away:
                raise StoreUnavailable("the disk is full")
            self.tasks.append((task.id, [str(event.type) for event in events]))


async def test_a_finished_task_goes_with_all_that_is_its_own(store: Store) -> None:
    task = await completed(store)
    other = (await store.add_task(new_task())).task
    await store.send_signal("default", other.id, NewSignal(id=uuid7(), name="go", payload=1, sent_by="me"), max_kept=10)
    await store.cancel_task("default", other.id, by="me")
    assert await prune(store) == 2
    assert not await exists(store, task)
    assert [await count(store, table) for table in (tasks, task_events, signals)] == [0, 0, 0]


async def test_nothing_goes_without_a_policy(store: Store) -> None:
    await completed(store)
    assert await prune(store, Retention()) == 0


async def test_each_kind_of_end_is_kept_as_long_as_its_own_policy_says(store: Store) -> None:
    good, bad = await completed(store), await failed(store)
    assert await prune(store, Retention(unhappy_seconds=WEEK)) == 0
    assert await prune(store, Retention(completed_seconds=0.001, unhappy_seconds=WEEK)) == 1
    assert not await exists(store, good)
    assert await exists(store, bad)
    assert await prune(store, Retention(unhappy_seconds=0.001)) == 1


async def test_a_task_is_as_old_as_its_end_and_not_as_its_beginning(store: Store) -> None:
    task = await completed(store)
    long_ago = UUID(int=(int(datetime(2020, 1, 1, tzinfo=UTC).timestamp() * 1000) << 80) + 1)
    await store._backends[0].transact(lambda tx: tx.run(update(tasks).where(tasks.c.id == task.id).values(id=long_ago)))
    assert await prune(store, Retention(completed_seconds=WEEK)) == 0


async def test_what_lives_stays(store: Store) -> None:
    queued = (await store.add_task(new_task(queue="q"))).task
    await store.add_task(new_task())
    await claim(store)
    assert await prune(store) == 0
    assert await exists(store, queued)


async def test_a_child_stays_while_its_parent_lives(store: Store) -> None:
    parent = (await store.add_task(new_task(queue="parents"))).task
    child = await completed(store, parent=Parent(task_id=parent.id, round=1, step_key="1/tool/1/child/1"), depth=1)
    assert await prune(store) == 0
    await store.cancel_task("default", parent.id, by="me")
    assert await prune(store) == 2
    assert not await exists(store, child)


async def test_a_child_goes_when_its_parent_has_gone_before_it(store: Store) -> None:
    await completed(store, parent=Parent(task_id=uuid7(), round=1, step_key="1/tool/1/child/1"), depth=1)
    assert await prune(store) == 1


async def test_a_fork_goes_on_without_its_source(store: Store) -> None:
    source = await completed(store, steps=("1/llm", "2/llm"))
    fork = new_task(forked_from=ForkOrigin(task_id=source.id, round=1, before_step=2), queue="forks")
    await store.fork_task(source, fork)
    assert await prune(store) == 1
    assert await event_types(store, fork.id) == ["task.submitted", "tool.completed"]
    (claimed,) = await claim(store, queue="forks")
    assert [event.step_key for event in await store.load_journal(claimed.id, round=1)] == ["1/llm"]


async def test_a_walk_looks_at_so_many_rows_at_a_time_and_comes_to_its_end(store: Store) -> None:
    for n in range(7):
        await (completed if n % 2 else failed)(store)
    await asyncio.sleep(0.01)
    after, found, pages = None, [], 0
    while True:
        pruned = await store.prune_tasks(policy=Retention(completed_seconds=0.001), after=after, limit=3)
        found.append(pruned.tasks)
        pages += 1
        after = pruned.after
        if after is None:
            break
    assert (sum(found), pages) == (3, 3)
    assert max(found) <= 3


async def test_the_archive_has_a_task_before_it_is_deleted(store: Store) -> None:
    task, archive = await completed(store), Kept()
    assert await prune(store, archive=archive) == 1
    assert archive.tasks == [(task.id, ["task.submitted", "task.started", "tool.completed", "task.completed"])]


async def test_nothing_is_deleted_that_the_archive_could_not_keep(store: Store) -> None:
    task = await completed(store)
    with pytest.raises(StoreUnavailable, match="full"):
        await prune(store, archive=Kept(away=True))
    assert await exists(store, task)


async def test_a_crash_after_the_archive_keeps_a_task_twice_and_loses_none(store: Store) -> None:
    class Dying(Kept):
        async def keep(self, tasks: AsyncIterable[tuple[Task, Sequence[Event]]]) -> None:
            await super().keep(tasks)
            raise ConnectionError("killed")

    task, dying, archive = await completed(store), Dying(), Kept()
    with pytest.raises(ConnectionError):
        await prune(store, archive=dying)
    assert await prune(store, archive=archive) == 1
    assert [id for id, _ in (*dying.tasks, *archive.tasks)] == [task.id, task.id]


async def test_a_task_that_is_reopened_while_it_is_archived_stays(store: Store) -> None:
    task = await completed(store)

    class Slow(Kept):
        async def keep(self, tasks: AsyncIterable[tuple[Task, Sequence[Event]]]) -> None:
            await super().keep(tasks)
            await store.retry_task("default", task.id, by="me", retry_from=RetryFrom.journal)

    assert await prune(store, archive=Slow()) == 0
    assert await exists(store, task)


async def test_the_file_has_a_line_for_each_task_with_its_whole_log(store: Store, tmp_path: Path) -> None:
    first = await completed(store, result="half a pair: \ud800")
    second = await completed(store, result=LONG, input={"goal": LONG})
    archive = FileArchive(tmp_path / "archive", clock=lambda: datetime(2026, 11, 21, 23, 59, tzinfo=UTC))
    (tmp_path / "archive" / "tasks-2026-11-21.jsonl").write_bytes(b'{"task": {"torn by a cra')
    assert await prune(store, archive=archive) == 2
    torn, *lines = (tmp_path / "archive" / "tasks-2026-11-21.jsonl").read_text().splitlines()
    kept = [json.loads(line) for line in lines]
    assert torn == '{"task": {"torn by a cra'
    assert [one["task"]["id"] for one in kept] == [str(first.id), str(second.id)]
    assert (kept[0]["task"]["result"], kept[1]["task"]["result"]) == ("half a pair: \ud800", LONG)
    assert [event["seq"] for event in kept[1]["events"]] == [1, 2, 3, 4]


async def forget_puts(store: Store) -> None:
    """As if all blobs had been put long ago."""
    long_ago = datetime(2020, 1, 1, tzinfo=UTC)
    await store._backends[0].transact(lambda tx: tx.run(update(blobs).values(put_at=long_ago)))


async def prune_blobs(store: Store, limit: int = 100) -> int:
    after, found = None, 0
    while True:
        pruned = await store.prune_blobs(unused_seconds=3600, after=after, limit=limit)
        found += pruned.blobs
        after = pruned.after
        if after is None:
            return found


async def test_a_long_value_goes_when_no_row_names_it_any_more(store: Store) -> None:
    gone = await completed(store, result=LONG + "1", input={"goal": LONG + "2"})
    kept = new_task(input={"goal": LONG + "3"}, queue="later")
    await store.add_task(kept)
    await forget_puts(store)
    assert await prune_blobs(store) == 0
    assert await prune(store) == 1
    assert not await exists(store, gone)
    assert await prune_blobs(store, limit=1) == 2
    read = await store.get_task("default", kept.id)
    assert read is not None
    assert read.input == kept.input


async def test_a_long_value_that_was_just_put_stays(store: Store) -> None:
    await completed(store, result=LONG)
    assert await prune(store) == 1
    assert await prune_blobs(store) == 0
    await forget_puts(store)
    assert await prune_blobs(store) == 1


async def test_two_that_prune_at_once_do_each_thing_once(store: Store, store_url: str) -> None:
    for _ in range(20):
        await completed(store)
    other = await open_store(store_url)
    found = await asyncio.gather(*(prune(one) for one in (store, other) for _ in range(3)))
    await other.aclose()
    assert sum(found) == 20
    assert await count(store, task_events) == 0


@pytest.mark.services
async def test_claims_and_submits_go_on_while_a_prune_is_open(postgres_url: str) -> None:
    store = await open_store(postgres_url, give_up_seconds=2)
    gone = [await completed(store) for _ in range(3)]
    async with await psycopg.AsyncConnection.connect(postgres_url) as pruning:
        # As the prune's transaction stands right before its commit.
        await pruning.execute("SELECT id FROM tasks WHERE status = 'completed' ORDER BY id FOR UPDATE SKIP LOCKED")
        for table in ("task_events", "signals", "waits", "task_deltas"):
            await pruning.execute(f"DELETE FROM {table} WHERE task_id = ANY(%s)".encode(), ([t.id for t in gone],))
        await pruning.execute("DELETE FROM tasks WHERE id = ANY(%s)", ([task.id for task in gone],))
        async with asyncio.timeout(5):
            task = await completed(store)
        assert await prune(store) == 1, "what another one has locked is passed over, not waited for"
        await pruning.rollback()
    assert not await exists(store, task)
    assert await prune(store) == 3
    await store.aclose()


@pytest.mark.services
async def test_looking_for_what_to_prune_locks_nothing_that_a_claim_wants(postgres_url: str) -> None:
    store = await open_store(postgres_url, give_up_seconds=2)
    await completed(store)
    for _ in range(5):
        await store.add_task(new_task())

    class Claiming(Kept):
        """Claims in the middle of a prune."""

        claimed = 0

        async def keep(self, tasks: AsyncIterable[tuple[Task, Sequence[Event]]]) -> None:
            self.claimed = len(await claim(store, limit=5))

    archive = Claiming()
    assert await prune(store, archive=archive) == 1
    assert archive.claimed == 5
    await store.aclose()
