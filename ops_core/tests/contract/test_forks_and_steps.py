"""Retries from a step and forks on both databases: what is replayed, what is taken over, what is refused."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import text

from ops_core.domain.event import StepPhase
from ops_core.domain.outcome import Completed, Failed
from ops_core.domain.task import ForkOrigin, NewTask, RetryFrom, Task, TaskError, TaskStatus
from ops_core.errors import IdempotencyKeyReused, StepNotFound, TaskNotFinished, TaskNotFound
from ops_core.storage.store import Store
from ops_core.tests.contract.store_cases import USAGE, claim, lease, new_task, step, submit_and_claim
from ops_core.tests.contract.test_store_trouble import lost_single_answers

FAILED = Failed(error=TaskError("boom", "it broke"), usage=USAGE)
COMPLETED = Completed(result=1, usage=USAGE)


async def write(store: Store, task: Task, *keys: str, said: str = "first") -> None:
    """Each step with its intent, as tools write them."""
    for key in keys:
        if key.endswith("/llm"):
            await store.append(lease(task), step(key, said=said))
        else:
            await store.append(lease(task), step(key, StepPhase.intent, said=said))
            await store.append(lease(task), step(key, said=said))


async def ended(store: Store, *keys: str, outcome: Completed | Failed = COMPLETED, **changes: Any) -> Task:
    """A finished task with these steps in its journal."""
    task = await submit_and_claim(store, **changes)
    await write(store, task, *keys)
    await store.finish(lease(task), outcome)
    read = await store.get_task(task.namespace, task.id)
    assert read is not None
    return read


async def retried(store: Store, task: Task, retry_from: RetryFrom, before_step: int | None = None) -> Task:
    await store.retry_task("default", task.id, by="me", retry_from=retry_from, before_step=before_step)
    (again,) = await claim(store)
    return again


async def replays(store: Store, task: Task) -> list[tuple[str, str]]:
    """The results that a run of this task finds in its journal."""
    journal = await store.load_journal(task.id, round=task.round)
    results = [event for event in journal if event.phase is StepPhase.result]
    return [(str(event.step_key), event.payload["said"]) for event in results]


def fork_of(source: Task, before_step: int, **changes: Any) -> NewTask:
    origin = ForkOrigin(task_id=source.id, round=source.round, before_step=before_step)
    return new_task(forked_from=origin, **changes)


THREE_STEPS = ("1/llm", "1/tool/1", "2/llm", "2/tool/1", "2/tool/2", "3/llm")


async def test_a_retry_from_a_step_replays_what_was_before_it(store: Store) -> None:
    task = await retried(store, await ended(store, *THREE_STEPS), RetryFrom.step, 2)
    assert await replays(store, task) == [("1/llm", "first"), ("1/tool/1", "first")]
    (reopened,) = [e for e in await store.load_journal(task.id, round=2) if e.type == "task.reopened"]
    assert (reopened.payload["replays_round"], reopened.payload["replays_before_step"]) == (1, 2)


async def test_what_a_retry_left_out_stays_out_of_the_rounds_after_it(store: Store) -> None:
    task = await retried(store, await ended(store, *THREE_STEPS), RetryFrom.step, 2)
    await write(store, task, "2/llm", said="second")
    await store.finish(lease(task), FAILED)
    task = await retried(store, task, RetryFrom.journal)
    assert await replays(store, task) == [("1/llm", "first"), ("1/tool/1", "first"), ("2/llm", "second")]
    await write(store, task, "3/llm", said="third")
    await store.finish(lease(task), FAILED)
    task = await retried(store, task, RetryFrom.step, 3)
    assert await replays(store, task) == [("1/llm", "first"), ("1/tool/1", "first"), ("2/llm", "second")]
    await store.finish(lease(task), FAILED)
    assert await replays(store, await retried(store, task, RetryFrom.scratch)) == []


async def test_step_numbers_are_numbers(store: Store) -> None:
    keys = [f"{n}/llm" for n in range(1, 13)]
    task = await retried(store, await ended(store, *keys), RetryFrom.step, 3)
    assert [key for key, _ in await replays(store, task)] == ["1/llm", "2/llm"]


@pytest.mark.parametrize(
    ("outcome", "before_step", "there"),
    [
        (COMPLETED, 0, False),
        (COMPLETED, 1, True),
        (COMPLETED, 3, True),
        (COMPLETED, 4, False),
        # It ended on its way to the fourth: that one can be done anew, another not.
        (FAILED, 4, True),
        (FAILED, 5, False),
    ],
)
async def test_only_a_step_that_is_there_can_be_named(
    store: Store, outcome: Completed | Failed, before_step: int, there: bool
) -> None:
    task = await ended(store, *THREE_STEPS, outcome=outcome)
    if there:
        forked = await store.fork_task(task, fork_of(task, before_step))
        assert forked.task.status is TaskStatus.queued
        again, _ = await store.retry_task(
            "default", task.id, by="me", retry_from=RetryFrom.step, before_step=before_step
        )
        assert again.round == 2
        return
    with pytest.raises(StepNotFound):
        await store.fork_task(task, fork_of(task, before_step))
    with pytest.raises(StepNotFound):
        await store.retry_task("default", task.id, by="me", retry_from=RetryFrom.step, before_step=before_step)
    assert await store.get_task("default", task.id) == task


async def test_nothing_begins_after_a_step_whose_outcome_is_unknown(store: Store) -> None:
    task = await submit_and_claim(store)
    await write(store, task, "1/llm")
    await store.append(lease(task), step("1/tool/1", StepPhase.intent))
    await store.finish(lease(task), FAILED)
    read = await store.get_task("default", task.id)
    assert read is not None
    with pytest.raises(StepNotFound):
        await store.fork_task(read, fork_of(read, 2))


async def test_a_step_that_took_another_try_is_finished_with_its_result(store: Store) -> None:
    task = await submit_and_claim(store)
    await write(store, task, "1/llm")
    for key in ("1/tool/1", "1/tool/1/again/1"):
        await store.append(lease(task), step(key, StepPhase.intent))
    await store.append(lease(task), step("1/tool/1", said="first"))
    await store.finish(lease(task), FAILED)
    source = await store.get_task("default", task.id)
    assert source is not None
    await store.fork_task(source, fork_of(source, 2))
    (fork,) = await claim(store)
    assert await replays(store, fork) == [("1/llm", "first"), ("1/tool/1", "first")]


async def test_a_fork_begins_with_the_steps_it_takes_over_as_round_zero(store: Store) -> None:
    source = await ended(store, *THREE_STEPS)
    added = await store.fork_task(source, fork_of(source, 3, input={"goal": "another"}, traceparent="00-1-2-01"))
    assert (added.replayed, added.task.seq, added.task.forked_from) == (
        False,
        9,
        ForkOrigin(task_id=source.id, round=1, before_step=3),
    )
    assert added.ring is not None
    assert (added.ring.queue, added.ring.task_id, added.ring.traceparent) == ("default", added.task.id, "00-1-2-01")
    assert await store.get_task("default", added.task.id) == added.task
    events = await store.list_events(added.task.id, after_seq=0, limit=100)
    assert [event.seq for event in events] == list(range(1, 10))
    assert [event.type for event in events][:2] == ["task.submitted", "tool.completed"]
    assert {event.round for event in events[1:]} == {0}
    originals = [e for e in await store.list_events(source.id, after_seq=0, limit=100) if e.step_key is not None]
    assert [(e.step_key, e.phase, e.payload) for e in events[1:]] == [
        (e.step_key, e.phase, e.payload) for e in originals[:8]
    ]
    (task,) = await claim(store)
    assert await replays(store, task) == [(key, "first") for key in THREE_STEPS[:5]]
    assert await store.append(lease(task), step("3/llm", said="anew")) == 11


async def test_a_fork_of_a_retried_task_takes_the_newest_of_each_step(store: Store) -> None:
    task = await retried(store, await ended(store, *THREE_STEPS), RetryFrom.step, 2)
    await write(store, task, "2/llm", "3/llm", said="second")
    await store.finish(lease(task), COMPLETED)
    source = await store.get_task("default", task.id)
    assert source is not None
    await store.fork_task(source, fork_of(source, 3))
    (fork,) = await claim(store)
    assert await replays(store, fork) == [("1/llm", "first"), ("1/tool/1", "first"), ("2/llm", "second")]
    # What an earlier round had and this one has not is no part of it.
    await store.finish(lease(fork), COMPLETED)
    read = await store.get_task("default", fork.id)
    assert read is not None
    await store.fork_task(read, fork_of(read, 2))
    (again,) = await claim(store)
    assert await replays(store, again) == [("1/llm", "first"), ("1/tool/1", "first")]


async def test_a_fork_that_is_retried_replays_what_it_took_over_unless_from_scratch(store: Store) -> None:
    source = await ended(store, *THREE_STEPS)
    await store.fork_task(source, fork_of(source, 3))
    (fork,) = await claim(store)
    await store.finish(lease(fork), FAILED)
    fork = await retried(store, fork, RetryFrom.journal)
    assert await replays(store, fork) == [(key, "first") for key in THREE_STEPS[:5]]
    await store.finish(lease(fork), FAILED)
    fork = await retried(store, fork, RetryFrom.step, 2)
    assert await replays(store, fork) == [("1/llm", "first"), ("1/tool/1", "first")]
    await store.finish(lease(fork), FAILED)
    assert await replays(store, await retried(store, fork, RetryFrom.scratch)) == []


async def test_a_long_step_is_taken_over_without_a_second_copy(store: Store) -> None:
    task = await submit_and_claim(store)
    await store.append(lease(task), step("1/llm", said="x" * 20_000))
    await store.finish(lease(task), FAILED)
    source = await store.get_task("default", task.id)
    assert source is not None
    await store.fork_task(source, fork_of(source, 2))
    (fork,) = await claim(store)
    assert await replays(store, fork) == [("1/llm", "x" * 20_000)]
    assert len(await store._reader.rows(text("SELECT digest FROM blobs"))) == 1


async def test_a_fork_with_a_known_key_is_the_first_one(store: Store) -> None:
    source = await ended(store, *THREE_STEPS)
    keyed = {"idempotency_key": "k", "request_hash": "h"}
    added = await asyncio.gather(*(store.fork_task(source, fork_of(source, 3, **keyed)) for _ in range(5)))
    assert len({one.task.id for one in added}) == 1
    assert sum(not one.replayed for one in added) == 1
    with pytest.raises(IdempotencyKeyReused):
        await store.fork_task(source, fork_of(source, 3, idempotency_key="k", request_hash="other"))
    assert len(await store.list_events(added[0].task.id, after_seq=0, limit=100)) == 9


async def test_a_fork_whose_answer_was_lost_is_added_once(store: Store) -> None:
    source = await ended(store, *THREE_STEPS)
    with lost_single_answers(store, 1):
        added = await store.fork_task(source, fork_of(source, 2))
    assert (added.replayed, added.task.seq) == (False, 4)
    assert len(await store.list_events(added.task.id, after_seq=0, limit=100)) == 4


async def test_only_a_finished_task_of_the_same_namespace_can_be_forked(store: Store) -> None:
    running = await submit_and_claim(store)
    with pytest.raises(TaskNotFinished):
        await store.fork_task(running, fork_of(running, 1))
    await store.finish(lease(running), COMPLETED)
    with pytest.raises(TaskNotFound):
        await store.fork_task(running, fork_of(running, 1, namespace="b"))
    unknown = new_task(forked_from=ForkOrigin(task_id=uuid4(), round=1, before_step=1))
    assert unknown.forked_from is not None
    with pytest.raises(TaskNotFound):
        await store.fork_task(replace(running, id=uuid4()), unknown)
