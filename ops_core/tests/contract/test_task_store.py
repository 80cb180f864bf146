"""TaskStore on both databases: add, read, list, cancel, retry."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import text

from ops_core.domain.outcome import Completed, Failed
from ops_core.domain.task import Parent, RetryFrom, Task, TaskError, TaskStatus, TaskUsage
from ops_core.errors import IdempotencyKeyReused, InvalidInput, TaskFinished, TaskNotFinished, TaskNotFound
from ops_core.ports import Glance, Nudge, NudgeKind, TaskQuery
from ops_core.storage.store import Store
from ops_core.tests.contract.conftest import NudgesSeen
from ops_core.tests.contract.store_cases import USAGE, claim, event_types, lease, new_task, step, submit_and_claim


async def test_a_task_due_now_is_queued_and_to_be_rung(store: Store, nudges: NudgesSeen) -> None:
    new = new_task(labels={"team": "a"}, timeout_seconds=60, traceparent="00-1-2-01")
    added = await store.add_task(new)
    assert added.task.status is TaskStatus.queued
    assert added.ring is not None
    assert (added.ring.queue, added.ring.task_id, added.ring.traceparent) == ("default", new.id, "00-1-2-01")
    assert not added.replayed
    assert await store.get_task("default", new.id) == added.task
    assert added.task.deadline_at == added.task.created_at + timedelta(seconds=60)
    assert Nudge(NudgeKind.event, new.id, 1) in nudges.sent


async def test_a_task_due_later_is_scheduled_and_not_rung(store: Store) -> None:
    run_at = datetime.now(UTC) + timedelta(hours=1)
    added = await store.add_task(new_task(run_at=run_at))
    assert (added.task.status, added.ring, added.task.run_at) == (TaskStatus.scheduled, None, run_at)
    assert await claim(store) == []


async def test_its_clock_is_the_one_that_dates_its_rows(store: Store) -> None:
    before = await store.task_clock()
    added = await store.add_task(new_task())
    assert before <= added.task.created_at <= await store.task_clock()


async def test_the_first_event_says_what_was_asked_but_not_the_input(store: Store) -> None:
    added = await store.add_task(new_task(priority=7, labels={"team": "a"}))
    (event,) = await store.list_events(added.task.id, after_seq=0, limit=10)
    assert (event.seq, event.round, event.type, event.at) == (1, 1, "task.submitted", added.task.created_at)
    assert event.payload == {"agent": "assistant", "queue": "default", "priority": 7, "labels": {"team": "a"}}


async def test_the_same_key_and_request_give_the_first_task(store: Store) -> None:
    first = await store.add_task(new_task(idempotency_key="k", request_hash="h"))
    again = await store.add_task(new_task(idempotency_key="k", request_hash="h"))
    assert (again.task, again.replayed, again.ring) == (first.task, True, None)


async def test_the_same_key_with_another_request_is_refused(store: Store) -> None:
    await store.add_task(new_task(idempotency_key="k", request_hash="h"))
    with pytest.raises(IdempotencyKeyReused):
        await store.add_task(new_task(idempotency_key="k", request_hash="other"))


async def test_a_key_belongs_to_its_namespace(store: Store) -> None:
    await store.add_task(new_task(idempotency_key="k", request_hash="h"))
    other = await store.add_task(new_task(namespace="b", idempotency_key="k", request_hash="other"))
    assert not other.replayed


async def test_of_many_at_once_with_one_key_one_is_added(store: Store) -> None:
    added = await asyncio.gather(*(store.add_task(new_task(idempotency_key="k", request_hash="h")) for _ in range(20)))
    assert len({a.task.id for a in added}) == 1
    assert sum(not a.replayed for a in added) == 1


async def test_other_namespaces_see_nothing(store: Store) -> None:
    task = (await store.add_task(new_task())).task
    assert await store.get_task("b", task.id) is None
    assert await store.list_tasks(TaskQuery(namespace="b")) == []
    with pytest.raises(TaskNotFound):
        await store.cancel_task("b", task.id, by="me")


async def test_tasks_are_listed_newest_first_page_by_page(store: Store) -> None:
    tasks = [(await store.add_task(new_task())).task for _ in range(5)]
    listed: list[Task] = []
    before = None
    while page := await store.list_tasks(TaskQuery(namespace="default", limit=2, before=before)):
        listed += page
        before = (page[-1].created_at, page[-1].id)
    assert listed == sorted(tasks, key=lambda t: (t.created_at, t.id), reverse=True)


async def test_tasks_are_found_by_each_filter(store: Store) -> None:
    wanted = (await store.add_task(new_task(agent="a", queue="q", labels={"team": "x", "env": "p"}))).task
    other = (await store.add_task(new_task(labels={"team": "y"}))).task
    queries = [
        TaskQuery(namespace="default", agent="a"),
        TaskQuery(namespace="default", queue="q"),
        TaskQuery(namespace="default", labels={"team": "x"}),
        TaskQuery(namespace="default", labels={"team": "x", "env": "p"}),
        TaskQuery(namespace="default", id_prefix=wanted.id.hex[:28]),
    ]
    for query in queries:
        assert await store.list_tasks(query) == [wanted], query
    assert await store.list_tasks(TaskQuery(namespace="default", labels={"team": "x", "env": "q"})) == []
    assert await store.list_tasks(TaskQuery(namespace="default", statuses=frozenset({TaskStatus.failed}))) == []
    both = await store.list_tasks(TaskQuery(namespace="default", statuses=frozenset({TaskStatus.queued})))
    assert {task.id for task in both} == {wanted.id, other.id}
    assert await store.list_tasks(TaskQuery(namespace="default", created_after=other.created_at)) == []
    assert await store.list_tasks(TaskQuery(namespace="default", created_before=other.created_at)) == [wanted]


async def test_many_tasks_are_glanced_at_at_once(store: Store) -> None:
    new = [(await store.add_task(new_task())).task for _ in range(250)]
    running = await submit_and_claim(store, queue="other")

    found = await store.glance([*(task.id for task in new), running.id, uuid4()])

    assert found == {**{task.id: Glance(1, None) for task in new}, running.id: Glance(2, running.epoch)}
    assert await store.glance([]) == {}


async def test_events_are_read_from_where_the_reader_stands(store: Store) -> None:
    task = await submit_and_claim(store)
    for n in range(5):
        await store.append(lease(task), step(f"{n}/llm"))
    events = await store.list_events(task.id, after_seq=3, limit=2)
    assert [event.seq for event in events] == [4, 5]


async def test_a_queued_task_is_canceled_at_once(store: Store) -> None:
    task = (await store.add_task(new_task())).task
    canceled, _ = await store.cancel_task("default", task.id, by="me")
    assert canceled.status is TaskStatus.canceled
    assert canceled.finished_at is not None
    assert await event_types(store, task.id) == ["task.submitted", "task.canceled"]
    assert await claim(store) == []
    with pytest.raises(TaskFinished):
        await store.cancel_task("default", task.id, by="me")


async def test_a_running_task_is_asked_to_cancel_once(store: Store, nudges: NudgesSeen) -> None:
    task = await submit_and_claim(store)
    asked, _ = await store.cancel_task("default", task.id, by="me")
    assert asked.status is TaskStatus.running
    assert asked.cancel_requested_at is not None
    assert Nudge(NudgeKind.cancel, task.id) in nudges.sent
    assert (await store.cancel_task("default", task.id, by="me"))[0] == asked
    assert (await event_types(store, task.id)).count("task.cancel_requested") == 1


async def test_an_unknown_task_can_be_neither_canceled_nor_retried(store: Store) -> None:
    with pytest.raises(TaskNotFound):
        await store.cancel_task("default", uuid4(), by="me")
    with pytest.raises(TaskNotFound):
        await store.retry_task("default", uuid4(), by="me", retry_from=RetryFrom.scratch)


async def test_a_live_task_cannot_be_retried(store: Store) -> None:
    task = (await store.add_task(new_task())).task
    with pytest.raises(TaskNotFinished):
        await store.retry_task("default", task.id, by="me", retry_from=RetryFrom.journal)


async def test_a_retried_task_begins_its_next_round_afresh(store: Store) -> None:
    task = await submit_and_claim(store, timeout_seconds=60)
    await store.finish(lease(task), Failed(error=TaskError("boom", "it broke"), usage=USAGE))
    again, (ring,) = await store.retry_task("default", task.id, by="me", retry_from=RetryFrom.scratch)
    assert (again.status, again.round, again.attempt, again.crashes) == (TaskStatus.queued, 2, 0, 0)
    assert (again.error, again.finished_at, again.started_at, again.usage) == (None, None, None, TaskUsage())
    assert again.deadline_at is not None
    assert ring.queue == "default"
    (claimed,) = await claim(store)
    assert (claimed.attempt, claimed.round) == (1, 2)
    assert claimed.epoch > task.epoch


async def test_a_retry_from_the_journal_replays_the_rounds_before(store: Store) -> None:
    task = await submit_and_claim(store)
    await store.append(lease(task), step("1/llm", answer=1))
    await store.append(lease(task), step("2/llm", answer=2))
    await store.finish(lease(task), Failed(error=TaskError("boom", "it broke"), usage=USAGE))
    await store.retry_task("default", task.id, by="me", retry_from=RetryFrom.journal)
    (task,) = await claim(store)
    await store.append(lease(task), step("2/llm", answer=22))
    await store.finish(lease(task), Failed(error=TaskError("boom", "it broke"), usage=USAGE))
    await store.retry_task("default", task.id, by="me", retry_from=RetryFrom.journal)
    events = await store.load_journal(task.id, round=3)
    assert [(e.type, e.step_key, e.payload.get("answer")) for e in events if e.step_key] == [
        ("tool.completed", "1/llm", 1),
        ("tool.completed", "2/llm", 22),
    ]
    (reopened,) = [e for e in events if e.type == "task.reopened"]
    assert reopened.payload["replays_round"] == 2


async def test_a_retry_from_scratch_replays_nothing(store: Store) -> None:
    task = await submit_and_claim(store)
    await store.append(lease(task), step("1/llm"))
    await store.finish(lease(task), Completed(result=1, usage=USAGE))
    await store.retry_task("default", task.id, by="me", retry_from=RetryFrom.scratch)
    assert [e.type for e in await store.load_journal(task.id, round=2)] == ["task.reopened"]


async def test_the_line_above_a_task_and_its_children_are_listed(store: Store) -> None:
    line = [(await store.add_task(new_task())).task]
    for depth in range(1, 4):
        parent = Parent(task_id=line[-1].id, round=1, step_key="1/tool/1/child/1")
        line.append((await store.add_task(new_task(parent=parent, depth=depth))).task)
    assert [task.id for task in await store.list_ancestors(line[3].id, limit=10)] == [task.id for task in line[::-1]]
    assert [task.id for task in await store.list_ancestors(line[3].id, limit=2)] == [line[3].id, line[2].id]
    assert [task.depth for task in await store.list_ancestors(line[0].id, limit=10)] == [0]
    parent = Parent(task_id=line[0].id, round=1, step_key="1/tool/2/child/1")
    sister = (await store.add_task(new_task(parent=parent, depth=1))).task
    assert await store.list_children("default", line[0].id, limit=10) == [line[1], sister]
    assert await store.list_children("default", line[0].id, limit=1) == [line[1]]
    assert await store.list_children("b", line[0].id, limit=10) == []


HARD_JSON: dict[str, Any] = {
    "nul": "a\x00b",
    "surrogate": "half \ud83d pair",
    "private": "\ue000",
    "emoji": "🎉",
    "order": {"b": 1, "a": 2},
    "float": 1.0,
    "large": 1e22,
    "int": 2**70,
}


async def test_json_comes_back_exactly_as_it_went_in(store: Store) -> None:
    task = await submit_and_claim(store, input=HARD_JSON)
    await store.append(lease(task), step("1/llm", **HARD_JSON))
    await store.finish(lease(task), Completed(result=HARD_JSON, usage=USAGE))
    read = await store.get_task("default", task.id)
    assert read is not None
    assert repr(task.input) == repr(read.input) == repr(read.result) == repr(HARD_JSON)
    event = (await store.load_journal(task.id, round=1))[0]
    assert repr(event.payload) == repr(HARD_JSON)


async def test_long_json_comes_back_exactly_as_it_went_in(store: Store) -> None:
    long: dict[str, Any] = {"text": "é" * 20_000, **HARD_JSON}
    task = await submit_and_claim(store, input=long)
    await store.append(lease(task), step("1/llm", **long))
    await store.finish(lease(task), Completed(result=long, usage=USAGE))
    read = await store.get_task("default", task.id)
    assert read is not None
    assert task.input == read.input == read.result == long
    assert (await store.load_journal(task.id, round=1))[0].payload == long
    assert (await store.list_tasks(TaskQuery(namespace="default")))[0].input == long


@pytest.mark.parametrize(
    "changes",
    [
        {"input": {"n": float("nan")}},
        {"input": {"n": object()}},
        {"queue": "a\x00b"},
        {"created_by": "half \ud83d"},
        {"labels": {"a": "\x00"}},
        {"priority": 10},
    ],
)
async def test_a_value_the_database_cannot_keep_fails_only_its_caller(store: Store, changes: dict[str, object]) -> None:
    outcomes = await asyncio.gather(
        *(store.add_task(new_task()) for _ in range(5)),
        store.add_task(new_task(**changes)),
        *(store.add_task(new_task()) for _ in range(5)),
        return_exceptions=True,
    )
    assert isinstance(outcomes[5], InvalidInput)
    assert not any(isinstance(outcome, BaseException) for n, outcome in enumerate(outcomes) if n != 5)
    assert len(await store.list_tasks(TaskQuery(namespace="default"))) == 10


async def test_everything_that_a_task_writes_bears_its_namespace(store: Store) -> None:
    long: dict[str, Any] = {"text": "x" * 20_000}
    task = await submit_and_claim(store, namespace="b", input=long)
    await store.append(lease(task), step("1/llm", **long))
    await store.append(lease(task), step("2/llm"))
    await store.finish(lease(task), Completed(result=long, usage=USAGE))
    await store.retry_task("b", task.id, by="me", retry_from=RetryFrom.scratch)
    for table in ("tasks", "task_events", "blobs"):
        rows = await store._reader.rows(text(f"SELECT DISTINCT namespace FROM {table}"))
        assert [row["namespace"] for row in rows] == ["b"], table
    # The same content in two namespaces is kept twice: neither can lose it, nor learn of it, by the other.
    await store.add_task(new_task(namespace="c", input=long))
    assert len(await store._reader.rows(text("SELECT digest FROM blobs"))) == 2
