"""Lost answers, absent databases and cancelled callers: what the store promises when things go wrong."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from typing import TypeVar

import psycopg
import pytest

from ops_core.domain.event import EventType, NewEvent
from ops_core.domain.outcome import Completed, HandedOver, Outcome, Retry
from ops_core.domain.task import RetryFrom, TaskError, TaskStatus
from ops_core.errors import InvalidInput, RunLost, StoreUnavailable
from ops_core.ports import Lease, TaskQuery
from ops_core.storage.database_url import DatabaseUrl
from ops_core.storage.leases import open_lease_store
from ops_core.storage.store import Store, open_store
from ops_core.storage.writes import AnswerLost, Backend, ClaimAsk, TaskRecord, Transaction, TryAgain
from ops_core.tests.contract.store_cases import (
    USAGE,
    claim,
    event_types,
    lease,
    new_task,
    step,
    submit_and_claim,
    worker,
)

T = TypeVar("T")


class Forgetful:
    """A backend that does what it is told and then loses the answer, as often as it is told to."""

    def __init__(self, inner: Backend) -> None:
        self.inner = inner
        self.lose = 0

    async def transact(self, work: Callable[[Transaction], Awaitable[T]]) -> T:
        return self._kept(await self.inner.transact(work))

    async def autocommit(self, work: Callable[[Transaction], Awaitable[T]]) -> T:
        return self._kept(await self.inner.autocommit(work))

    async def aclose(self) -> None:
        await self.inner.aclose()

    def _kept(self, outcome: T) -> T:
        if self.lose:
            self.lose -= 1
            raise AnswerLost("the connection died during the commit")
        return outcome


@contextmanager
def lost_answers(store: Store, kind: str, count: int = 1) -> Iterator[Forgetful]:
    """The next commits of that kind are done, and nobody hears of it."""
    batch = getattr(store, f"_{kind}")._batch
    forgetful = Forgetful(batch._backend)
    batch._backend, forgetful.lose = forgetful, count
    yield forgetful
    batch._backend = forgetful.inner


@pytest.mark.parametrize("times", [1, 2])
async def test_a_submission_whose_answer_was_lost_is_there_once_and_rung(store: Store, times: int) -> None:
    with lost_answers(store, "adds", times):
        added = await asyncio.gather(*(store.add_task(new_task()) for _ in range(5)))
    assert all(a.ring is not None and not a.replayed for a in added)
    assert len(await store.list_tasks(TaskQuery(namespace="default"))) == 5


async def test_a_claim_whose_answer_was_lost_is_found_again(store: Store) -> None:
    added = await asyncio.gather(*(store.add_task(new_task()) for _ in range(5)))
    with lost_answers(store, "claims"):
        shares = await asyncio.gather(claim(store, limit=2), claim(store, limit=2))
    tasks = [task for share in shares for task in share]
    assert len({task.id for task in tasks}) == 4
    assert {task.epoch for task in tasks} == {1}
    assert len(await claim(store, limit=9)) == len(added) - 4


async def test_an_append_whose_answer_was_lost_is_there_once(store: Store) -> None:
    one, other = await submit_and_claim(store), await submit_and_claim(store)
    with lost_answers(store, "appends"):
        seqs = await asyncio.gather(
            store.append(lease(one), step("1/llm")),
            store.append(lease(other), NewEvent(type=EventType.llm_completed, payload={"text": "a\x00b"})),
        )
    assert list(seqs) == [3, 3]
    for task in (one, other):
        assert len(await event_types(store, task.id)) == 3


@pytest.mark.parametrize(
    ("outcome", "status"),
    [
        (Completed(result="a\x00b", usage=USAGE), TaskStatus.completed),
        (Retry(error=TaskError("boom", "a\x00b"), delay_seconds=9, usage=USAGE), TaskStatus.scheduled),
        (Retry(error=TaskError("boom", "it broke"), delay_seconds=0, usage=USAGE), TaskStatus.queued),
        (HandedOver(usage=USAGE), TaskStatus.queued),
    ],
)
async def test_an_end_whose_answer_was_lost_is_told_as_it_was_written(
    store: Store, outcome: Completed | Retry | HandedOver, status: TaskStatus
) -> None:
    task, stale = await submit_and_claim(store), await submit_and_claim(store)
    with lost_answers(store, "plain_ends") as plain, lost_answers(store, "finishes") as others:
        ended, lost = await asyncio.gather(
            store.finish(lease(task), outcome),
            store.finish(Lease(stale.id, stale.epoch + 1), Completed(result=1, usage=USAGE)),
            return_exceptions=True,
        )
    assert not isinstance(ended, BaseException)
    assert ended.status is status
    assert len(await event_types(store, task.id)) == 3
    assert isinstance(lost, RunLost)
    assert (plain.lose, others.lose) == (0 if isinstance(outcome, Completed) else 1, 0)


@pytest.mark.services
async def test_a_frozen_database_is_given_up_in_bounded_time_and_comes_back(postgres_url: str) -> None:
    store = await open_store(postgres_url, give_up_seconds=1)
    task = await submit_and_claim(store)
    async with await psycopg.AsyncConnection.connect(postgres_url) as blocker:
        await blocker.execute("LOCK TABLE tasks IN ACCESS EXCLUSIVE MODE")
        for call in (
            lambda: store.add_task(new_task()),
            lambda: claim(store),
            lambda: store.append(lease(task), step("1/llm")),
            lambda: store.finish(lease(task), HandedOver(usage=USAGE)),
            lambda: store.cancel_task("default", task.id, by="me"),
            lambda: store.get_task("default", task.id),
        ):
            began = time.monotonic()
            with pytest.raises(StoreUnavailable):
                await call()
            assert time.monotonic() - began < 8
    assert await store.append(lease(task), step("2/llm")) in (3, 4)
    await store.aclose()


@pytest.mark.services
async def test_a_heartbeat_does_not_hang_on_a_frozen_database(postgres_url: str) -> None:
    leases = open_lease_store(postgres_url)
    await asyncio.to_thread(leases.renew, [], worker=worker(), lease_seconds=6)
    async with await psycopg.AsyncConnection.connect(postgres_url) as blocker:
        await blocker.execute("LOCK TABLE workers IN ACCESS EXCLUSIVE MODE")
        began = time.monotonic()
        with pytest.raises(StoreUnavailable):
            await asyncio.to_thread(leases.renew, [], worker=worker(), lease_seconds=6)
        assert time.monotonic() - began < 4
    await asyncio.to_thread(leases.renew, [], worker=worker(), lease_seconds=6)
    leases.close()


async def test_nobody_changes_what_another_transaction_of_a_person_has_changed(store: Store) -> None:
    task = (await store.add_task(new_task())).task
    canceled = await asyncio.gather(
        *(store.cancel_task("default", task.id, by=str(n)) for n in range(5)), return_exceptions=True
    )
    assert sum(not isinstance(c, BaseException) for c in canceled) == 1
    retried = await asyncio.gather(
        *(store.retry_task("default", task.id, by="me", retry_from=RetryFrom.scratch) for _ in range(5)),
        return_exceptions=True,
    )
    assert sum(not isinstance(r, BaseException) for r in retried) == 1


@pytest.mark.parametrize(
    "impossible",
    [
        Retry(error=TaskError("boom", "it broke"), delay_seconds=float("inf"), usage=USAGE),
        Completed(result=1, usage=replace(USAGE, active_seconds=float("nan"))),
    ],
)
async def test_an_end_that_cannot_be_written_fails_only_its_caller(store: Store, impossible: Outcome) -> None:
    tasks = [await submit_and_claim(store) for _ in range(5)]
    outcomes = await asyncio.gather(
        *(store.finish(lease(task), HandedOver(usage=USAGE)) for task in tasks[:4]),
        store.finish(lease(tasks[4]), impossible),
        return_exceptions=True,
    )
    assert isinstance(outcomes[4], OverflowError | InvalidInput)
    assert not any(isinstance(outcome, BaseException) for outcome in outcomes[:4])
    # It still holds its lease and can end otherwise.
    assert (await store.finish(lease(tasks[4]), HandedOver(usage=USAGE))).status is TaskStatus.queued


class Stumbling:
    """A backend whose claims of one queue fail, once, for a reason that passes."""

    def __init__(self, inner: Backend, queue: str) -> None:
        self.inner = inner
        self.queue: str | None = queue

    async def transact(self, work: Callable[[Transaction], Awaitable[T]]) -> T:
        return await self.inner.transact(lambda tx: work(self._stumbling(tx)))

    async def autocommit(self, work: Callable[[Transaction], Awaitable[T]]) -> T:
        return await self.inner.autocommit(lambda tx: work(self._stumbling(tx)))

    async def aclose(self) -> None:
        await self.inner.aclose()

    def _stumbling(self, tx: Transaction) -> Transaction:
        claim_best = tx.claim_best

        async def stumble(ask: ClaimAsk) -> Sequence[TaskRecord]:
            if ask.queue == self.queue:
                self.queue = None
                raise TryAgain("a deadlock")
            return await claim_best(ask)

        tx.claim_best = stumble  # type: ignore[method-assign]  # this transaction's own
        return tx


async def test_what_a_claim_took_of_one_queue_is_not_lost_when_the_next_queue_fails(store: Store) -> None:
    await asyncio.gather(*(store.add_task(new_task(queue=queue)) for queue in "abab"))
    batch = store._claims._batch
    batch._backend = Stumbling(batch._backend, "b")  # type: ignore[attr-defined]  # the batch of claims
    a, b = await asyncio.gather(claim(store, queue="a"), claim(store, queue="b"))
    more = await asyncio.gather(claim(store, queue="a"), claim(store, queue="b"))
    assert len({task.id for tasks in (a, b, *more) for task in tasks}) == 4


@pytest.mark.services
async def test_a_value_too_long_for_an_index_fails_only_its_caller_and_at_once(postgres_url: str) -> None:
    store = await open_store(postgres_url)
    long = os.urandom(10_000).hex()
    async with asyncio.timeout(2):
        outcomes = await asyncio.gather(
            *(store.add_task(new_task(queue=queue)) for queue in ("a", long, "b")), return_exceptions=True
        )
    assert isinstance(outcomes[1], InvalidInput)
    assert not isinstance(outcomes[0], BaseException)
    assert not isinstance(outcomes[2], BaseException)
    await store.aclose()


@pytest.mark.services
async def test_a_missing_permission_is_no_fault_of_the_caller(postgres_url: str) -> None:
    with psycopg.connect(postgres_url, autocommit=True) as admin:
        role = f"r{os.urandom(6).hex()}"
        admin.execute(f"CREATE ROLE {role} LOGIN".encode())
    store = await open_store(postgres_url.replace("postgres:@", f"{role}@"), give_up_seconds=0.5)
    with pytest.raises(StoreUnavailable, match="permission denied"):
        await store.add_task(new_task())
    await store.aclose()


@pytest.mark.services
async def test_many_writes_on_a_frozen_database_are_all_given_up_in_bounded_time(postgres_url: str) -> None:
    store = await open_store(postgres_url, give_up_seconds=1)
    tasks = [(await store.add_task(new_task())).task for _ in range(20)]
    async with await psycopg.AsyncConnection.connect(postgres_url) as blocker:
        await blocker.execute("LOCK TABLE tasks IN ACCESS EXCLUSIVE MODE")
        began = time.monotonic()
        canceled = await asyncio.gather(
            *(store.cancel_task("default", task.id, by="me") for task in tasks), return_exceptions=True
        )
        assert time.monotonic() - began < 5
    assert all(isinstance(outcome, StoreUnavailable) for outcome in canceled)
    await store.aclose()


async def test_many_writes_on_a_held_file_are_all_given_up_in_bounded_time(sqlite_url: str) -> None:
    store = await open_store(sqlite_url, give_up_seconds=1)
    tasks = [(await store.add_task(new_task())).task for _ in range(20)]
    with closing(sqlite3.connect(DatabaseUrl.parse(sqlite_url).sqlite_path, isolation_level=None)) as blocker:
        blocker.execute("BEGIN IMMEDIATE")
        began = time.monotonic()
        canceled = await asyncio.gather(
            *(store.cancel_task("default", task.id, by="me") for task in tasks), return_exceptions=True
        )
        assert time.monotonic() - began < 5
    assert all(isinstance(outcome, StoreUnavailable) for outcome in canceled)
    await store.aclose()


@contextmanager
def lost_single_answers(store: Store, count: int) -> Iterator[None]:
    """The next single writes are done, and nobody hears of it."""
    single = store.cancel_task.__self__._single  # type: ignore[attr-defined]  # the one of all tasks
    forgetful = Forgetful(single._backend)
    single._backend, forgetful.lose = forgetful, count
    yield
    single._backend = forgetful.inner


@pytest.mark.parametrize("times", [1, 2])
async def test_a_cancel_whose_answer_was_lost_is_told_as_it_was_written(store: Store, times: int) -> None:
    queued, running = (await store.add_task(new_task())).task, await submit_and_claim(store, queue="other")
    with lost_single_answers(store, times):
        assert (await store.cancel_task("default", queued.id, by="me"))[0].status is TaskStatus.canceled
    with lost_single_answers(store, times):
        assert (await store.cancel_task("default", running.id, by="me"))[0].cancel_requested_at is not None
    assert await event_types(store, queued.id) == ["task.submitted", "task.canceled"]
    assert await event_types(store, running.id) == ["task.submitted", "task.started", "task.cancel_requested"]


async def test_a_retry_whose_answer_was_lost_opens_one_round_and_is_rung(store: Store) -> None:
    task = await submit_and_claim(store)
    await store.finish(lease(task), Completed(result=1, usage=USAGE))
    with lost_single_answers(store, 1):
        again, (ring,) = await store.retry_task("default", task.id, by="me", retry_from=RetryFrom.scratch)
    assert (again.round, again.status, ring.task_id) == (2, TaskStatus.queued, task.id)
    assert (await event_types(store, task.id))[3:] == ["task.reopened"]


@pytest.mark.services
async def test_after_a_restart_of_the_database_the_first_write_of_each_kind_succeeds(postgres_url: str) -> None:
    store = await open_store(postgres_url)
    task = await submit_and_claim(store)
    waiting = (await store.add_task(new_task())).task
    await store.cancel_task("default", (await store.add_task(new_task())).task.id, by="me")
    with psycopg.connect(postgres_url, autocommit=True) as admin:
        admin.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
    assert (await store.get_task("default", task.id)) is not None
    assert (await store.cancel_task("default", waiting.id, by="me"))[0].status is TaskStatus.canceled
    assert await store.append(lease(task), step("1/llm")) == 3
    assert (await store.finish(lease(task), HandedOver(usage=USAGE))).status is TaskStatus.queued
    assert [again.id for again in await claim(store)] == [task.id]
    await store.aclose()
