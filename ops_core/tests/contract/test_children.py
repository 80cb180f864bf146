"""Child tasks on both databases: added once with the suspend of their parent, told once, stopped with it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import select

from ops_core.domain.outcome import Canceled, Completed, Failed, HandedOver, Outcome, Suspended
from ops_core.domain.signal import NewSignal
from ops_core.domain.task import JsonObject, RetryFrom, Task, TaskError, TaskStatus
from ops_core.domain.wait import ChildWait, SignalWait
from ops_core.errors import InvalidInput, TaskFinished
from ops_core.ports import Nudge, NudgeKind, Ring
from ops_core.storage import children as consequences_of_children
from ops_core.storage import waits
from ops_core.storage.leases import open_lease_store
from ops_core.storage.schema import tasks
from ops_core.storage.settlement import Settlement
from ops_core.storage.store import Store, open_store
from ops_core.storage.writes import HeldTask
from ops_core.tests.contract.conftest import NudgesSeen
from ops_core.tests.contract.store_cases import (
    USAGE,
    claim,
    event_types,
    lease,
    new_task,
    submit_and_claim,
    uuid7,
    worker,
)

COMPLETED = Completed(result={"answer": 4}, usage=USAGE)
FAILED = Failed(error=TaskError("boom", "it broke"), usage=USAGE)
CHILDREN = "children"
RACES = 10


def key(number: int) -> str:
    return f"1/tool/{number}/child/1"


def waits_for(number: int, **changes: Any) -> ChildWait:
    return ChildWait(key=key(number), child=new_task(**{"queue": CHILDREN, "depth": 1, **changes}))


async def suspended(store: Store, children: int, **changes: Any) -> tuple[Task, list[Task]]:
    """A parent that waits for so many children, and these, all claimed."""
    parent = await submit_and_claim(store, **changes)
    waits = tuple(waits_for(number) for number in range(1, children + 1))
    ended = await store.finish(lease(parent), Suspended(waits=waits, usage=USAGE))
    assert ended.status is TaskStatus.waiting
    claimed = await claim(store, limit=children, queue=CHILDREN)
    assert len(claimed) == children
    by_key = {task.id: task for task in claimed}
    return parent, [by_key[wait.child.id] for wait in waits]


async def end(store: Store, child: Task, outcome: Outcome = COMPLETED) -> Sequence[Ring]:
    return (await store.finish(lease(child), outcome, parent_id=child.parent_id)).rings


async def read(store: Store, task_id: UUID) -> Task:
    task = await store.get_task("default", task_id)
    assert task is not None
    return task


async def answers(store: Store, parent: UUID, *, round: int = 1) -> dict[str, JsonObject]:
    journal = await store.load_journal(parent, round=round)
    return {str(e.step_key): e.payload["answer"] for e in journal if e.type == "child.finished"}


async def test_a_child_is_added_with_the_suspend_of_its_parent(store: Store) -> None:
    parent = await submit_and_claim(store)
    wait = waits_for(1, input={"goal": "help"}, traceparent="00-1-2-01")
    ended = await store.finish(lease(parent), Suspended(waits=(wait,), usage=USAGE))
    assert (ended.status, [(r.queue, r.count, r.task_id, r.traceparent) for r in ended.rings]) == (
        TaskStatus.waiting,
        [(CHILDREN, 1, wait.child.id, "00-1-2-01")],
    )
    held = await read(store, parent.id)
    assert (held.waiting_for, held.pending_children) == ("children", 1)
    (child,) = await claim(store, queue=CHILDREN)
    assert (child.id, child.parent_id, child.depth, child.input) == (wait.child.id, parent.id, 1, {"goal": "help"})
    assert await store.list_children("default", parent.id, limit=10) == [await read(store, child.id)]
    assert "child.started" in await event_types(store, parent.id)


async def test_the_end_of_its_only_child_wakes_a_parent_with_the_answer(store: Store) -> None:
    parent, (child,) = await suspended(store, 1)
    (ring,) = await end(store, child)
    assert (ring.queue, ring.task_id) == ("default", parent.id)
    assert await answers(store, parent.id) == {key(1): {"task_id": str(child.id), "status": "completed", "error": None}}
    (again,) = await claim(store)
    assert (again.id, again.attempt, again.pending_children) == (parent.id, 1, 0)


async def test_a_child_that_fails_answers_with_its_error(store: Store) -> None:
    parent, (child,) = await suspended(store, 1)
    await end(store, child, FAILED)
    answer = (await answers(store, parent.id))[key(1)]
    assert (answer["status"], answer["error"]["code"]) == ("failed", "boom")


async def test_a_child_that_somebody_cancels_answers_its_parent(store: Store) -> None:
    parent = await submit_and_claim(store)
    wait = waits_for(1)
    await store.finish(lease(parent), Suspended(waits=(wait,), usage=USAGE))
    canceled, (ring,) = await store.cancel_task("default", wait.child.id, by="me")
    assert (canceled.status, ring.task_id) == (TaskStatus.canceled, parent.id)
    assert (await answers(store, parent.id))[key(1)]["status"] == "canceled"


async def test_a_parent_wakes_with_the_last_of_its_children(store: Store) -> None:
    parent, children = await suspended(store, 3)
    for child in children[:2]:
        assert await end(store, child) == ()
        assert (await read(store, parent.id)).status is TaskStatus.waiting
    assert [ring.task_id for ring in await end(store, children[2])] == [parent.id]
    assert set(await answers(store, parent.id)) == {key(1), key(2), key(3)}


async def test_a_child_goes_on_waiting_for_its_own_pause_without_telling_its_parent(store: Store) -> None:
    parent, (child,) = await suspended(store, 1)
    await end(store, child, HandedOver(usage=USAGE))
    assert (await read(store, parent.id)).pending_children == 1
    assert await answers(store, parent.id) == {}


async def test_a_replayed_call_finds_its_child(store: Store) -> None:
    parent = await submit_and_claim(store)
    child = waits_for(1)
    signal = SignalWait(key="1/tool/2/signal/1", name="go")
    await store.finish(lease(parent), Suspended(waits=(child, signal), usage=USAGE))
    await store.cancel_task("default", (await store.add_task(new_task())).task.id, by="me")
    await send(store, parent, "go")
    (again,) = await claim(store)
    # It has its answer to one, comes to the same place, and waits for the other: with an id made anew.
    ended = await store.finish(lease(again), Suspended(waits=(waits_for(1),), usage=USAGE))
    assert (ended.status, list(ended.rings)) == (TaskStatus.waiting, [])
    assert [task.id for task in await store.list_children("default", parent.id, limit=10)] == [child.child.id]
    assert (await read(store, parent.id)).pending_children == 1
    (found,) = await claim(store, queue=CHILDREN)
    await end(store, found)
    assert (await read(store, parent.id)).status is TaskStatus.queued


async def test_a_suspend_that_comes_after_the_childs_end_goes_on_at_once(store: Store) -> None:
    parent = await submit_and_claim(store)
    signal = SignalWait(key="1/tool/2/signal/1", name="go")
    await store.finish(lease(parent), Suspended(waits=(waits_for(1), signal), usage=USAGE))
    await send(store, parent, "go")
    (again,) = await claim(store)
    (child,) = await claim(store, queue=CHILDREN)
    await end(store, child)
    running = await read(store, parent.id)
    assert (running.status, running.pending_children) == (TaskStatus.running, 0)
    ended = await store.finish(lease(again), Suspended(waits=(waits_for(1),), usage=USAGE))
    assert ended.status is TaskStatus.queued
    assert set(await answers(store, parent.id)) == {key(1)}


async def test_pages_of_children_skip_none_and_repeat_none_while_more_are_added(store: Store) -> None:
    parent, children = await suspended(store, 5)
    listed = [*await store.list_children("default", parent.id, limit=2)]
    for child in children:
        await end(store, child)
    (again,) = await claim(store)
    # Another worker, whose clock is behind, makes ids that come before those there are.
    late = tuple(waits_for(number, id=UUID(int=number)) for number in (6, 7))
    await store.finish(lease(again), Suspended(waits=late, usage=USAGE))
    while page := await store.list_children(
        "default", parent.id, limit=2, after=(listed[-1].created_at, listed[-1].id)
    ):
        listed += page
    assert [task.id for task in listed] == [*(child.id for child in children), *(wait.child.id for wait in late)]


async def test_hundreds_of_children_are_added_and_told_of_together(store: Store) -> None:
    parent, children = await suspended(store, 300)
    assert (await read(store, parent.id)).pending_children == 300
    rings = await asyncio.gather(*(end(store, child) for child in children))
    assert [ring.task_id for each in rings for ring in each] == [parent.id]
    assert (await read(store, parent.id)).status is TaskStatus.queued
    assert len(await answers(store, parent.id)) == 300


async def test_a_long_input_of_a_child_is_kept_apart(store: Store) -> None:
    parent = await submit_and_claim(store)
    wait = waits_for(1, input={"goal": "é" * 20_000})
    await store.finish(lease(parent), Suspended(waits=(wait,), usage=USAGE))
    assert (await read(store, wait.child.id)).input == {"goal": "é" * 20_000}


async def test_a_child_that_cannot_be_stored_leaves_its_parent_running(store: Store) -> None:
    parent = await submit_and_claim(store)
    good, bad = waits_for(1), waits_for(2, input={"n": float("nan")})
    with pytest.raises(InvalidInput):
        await store.finish(lease(parent), Suspended(waits=(good, bad), usage=USAGE))
    assert (await read(store, parent.id)).status is TaskStatus.running
    assert await store.list_children("default", parent.id, limit=10) == []


async def test_a_reopened_child_does_not_wake_its_parent_twice(store: Store) -> None:
    parent, (first, second) = await suspended(store, 2)
    await end(store, first)
    await store.retry_task("default", first.id, by="me", retry_from=RetryFrom.scratch)
    (again,) = await claim(store, queue=CHILDREN)
    assert await end(store, again) == ()
    assert (await read(store, parent.id)).pending_children == 1
    assert [ring.task_id for ring in await end(store, second)] == [parent.id]


async def test_a_parent_in_its_next_round_hears_nothing_of_the_one_before(store: Store) -> None:
    parent, (child,) = await suspended(store, 1)
    await store.cancel_task("default", parent.id, by="me")
    await store.retry_task("default", parent.id, by="me", retry_from=RetryFrom.scratch)
    (again,) = await claim(store)
    await store.finish(lease(again), Suspended(waits=(waits_for(1),), usage=USAGE))
    await end(store, child, Canceled(usage=USAGE))
    held = await read(store, parent.id)
    assert (held.status, held.pending_children) == (TaskStatus.waiting, 1)
    (anew,) = await claim(store, queue=CHILDREN)
    await end(store, anew)
    assert set(await answers(store, parent.id, round=2)) == {key(1)}


async def test_a_cancel_goes_down_the_tree(store: Store, nudges: NudgesSeen) -> None:
    parent, (queued, running, between) = await suspended(store, 3)
    await store.finish(lease(queued), HandedOver(usage=USAGE), parent_id=parent.id)
    grandchildren = (waits_for(1), waits_for(2))
    await store.finish(lease(between), Suspended(waits=grandchildren, usage=USAGE), parent_id=parent.id)
    canceled, rings = await store.cancel_task("default", parent.id, by="me")
    assert (canceled.status, canceled.pending_children, list(rings)) == (TaskStatus.canceled, 0, [])
    below = [queued.id, between.id, *(wait.child.id for wait in grandchildren)]
    assert {(await read(store, id)).status for id in below} == {TaskStatus.canceled}
    asked = await read(store, running.id)
    assert (asked.status, asked.cancel_requested_at is not None) == (TaskStatus.running, True)
    assert Nudge(NudgeKind.cancel, running.id) in nudges.sent
    assert (await end(store, running, HandedOver(usage=USAGE)), (await read(store, running.id)).status) == (
        (),
        TaskStatus.canceled,
    )


async def test_a_running_parent_that_is_to_stop_stops_its_children(store: Store) -> None:
    parent = await submit_and_claim(store)
    signal = SignalWait(key="1/tool/2/signal/1", name="go")
    wait = waits_for(1)
    await store.finish(lease(parent), Suspended(waits=(wait, signal), usage=USAGE))
    await send(store, parent, "go")
    (again,) = await claim(store)
    await store.cancel_task("default", parent.id, by="me")
    assert (await read(store, wait.child.id)).status is TaskStatus.canceled
    assert (await store.finish(lease(again), Canceled(usage=USAGE))).status is TaskStatus.canceled


async def test_a_parent_that_ends_without_a_child_stops_it(store: Store) -> None:
    parent = await submit_and_claim(store)
    signal = SignalWait(key="1/tool/2/signal/1", name="go")
    wait = waits_for(1)
    await store.finish(lease(parent), Suspended(waits=(wait, signal), usage=USAGE))
    await send(store, parent, "go")
    (again,) = await claim(store)
    await store.finish(lease(again), COMPLETED)
    assert (await read(store, wait.child.id)).status is TaskStatus.canceled
    assert await answers(store, parent.id) == {}


async def test_a_child_that_is_taken_back_too_often_or_is_too_late_tells_its_parent(store: Store) -> None:
    parent = await submit_and_claim(store)
    waits = (waits_for(1, timeout_seconds=0.3), waits_for(2))
    await store.finish(lease(parent), Suspended(waits=waits, usage=USAGE))
    await asyncio.sleep(0.4)  # the database's clock, not ours, decides
    assert await store.fail_overdue(limit=10) == (1, [])
    (child,) = await claim(store, queue=CHILDREN, lease_seconds=0.01)
    assert child.id == waits[1].child.id
    await asyncio.sleep(0.1)
    (ring,) = await store.take_back_expired(limit=10, max_crashes=1)
    assert ring.task_id == parent.id
    assert {answer["status"] for answer in (await answers(store, parent.id)).values()} == {"failed"}


async def send(store: Store, task: Task, name: str) -> None:
    await store.send_signal(
        "default", task.id, NewSignal(id=uuid7(), name=name, payload=None, sent_by="me"), max_kept=9
    )


# --- races, between two processes


@pytest.fixture
async def other(store_url: str, store: Store) -> AsyncIterator[Store]:
    """What another process has."""
    opened = await open_store(store_url)
    yield opened
    await opened.aclose()


async def test_of_two_children_that_end_at_once_one_wakes_the_parent(store: Store, other: Store) -> None:
    for _ in range(RACES):
        parent, children = await suspended(store, 2)
        rings = await asyncio.gather(*(end(s, child) for s, child in zip((store, other), children, strict=True)))
        assert [ring.task_id for each in rings for ring in each] == [parent.id]
        (again,) = await claim(store)
        assert (again.id, again.pending_children) == (parent.id, 0)
        assert len(await answers(store, parent.id)) == 2
        await store.finish(lease(again), COMPLETED)


async def test_a_childs_end_and_its_parents_cancel_agree(store: Store, other: Store) -> None:
    for _ in range(RACES):
        parent, children = await suspended(store, 2)
        outcomes = await asyncio.gather(
            *(end(other, child) for child in children),
            store.cancel_task("default", parent.id, by="me"),
            return_exceptions=True,
        )
        assert not [o for o in outcomes if isinstance(o, BaseException)]
        held = await read(store, parent.id)
        assert (held.status, held.pending_children) == (TaskStatus.canceled, 0)
        for child in children:
            ended = await read(store, child.id)
            assert ended.status is TaskStatus.completed
        assert await claim(store, limit=10) == []


async def test_a_childs_end_and_its_own_cancel_tell_the_parent_once(store: Store, other: Store) -> None:
    for _ in range(RACES):
        parent, (child,) = await suspended(store, 1)
        done, canceled = await asyncio.gather(
            end(store, child, HandedOver(usage=USAGE)),
            other.cancel_task("default", child.id, by="me"),
            return_exceptions=True,
        )
        assert not isinstance(done, BaseException)
        assert not isinstance(canceled, BaseException) or isinstance(canceled, TaskFinished)
        assert (await read(store, child.id)).status is TaskStatus.canceled
        (again,) = await claim(store)
        assert (again.id, len(await answers(store, parent.id))) == (parent.id, 1)
        await store.finish(lease(again), COMPLETED)


async def test_a_parents_end_and_its_childs_end_agree(store: Store, other: Store) -> None:
    signal = SignalWait(key="1/tool/2/signal/1", name="go")
    for _ in range(RACES):
        parent = await submit_and_claim(store)
        await store.finish(lease(parent), Suspended(waits=(waits_for(1), signal), usage=USAGE))
        await send(store, parent, "go")
        (again,), (child,) = await claim(store), await claim(store, queue=CHILDREN)
        ended, told = await asyncio.gather(store.finish(lease(again), COMPLETED), end(other, child))
        assert (ended.status, list(told)) == (TaskStatus.completed, [])
        assert (await read(store, child.id)).status is TaskStatus.completed
        assert (await read(store, parent.id)).pending_children == 0


async def test_a_parents_suspend_and_its_childs_end_lose_no_wake_up(store: Store, other: Store) -> None:
    signal = SignalWait(key="1/tool/2/signal/1", name="go")
    for _ in range(RACES):
        parent = await submit_and_claim(store)
        await store.finish(lease(parent), Suspended(waits=(waits_for(1), signal), usage=USAGE))
        await send(store, parent, "go")
        (again,), (child,) = await claim(store), await claim(store, queue=CHILDREN)
        await asyncio.gather(
            store.finish(lease(again), Suspended(waits=(waits_for(1),), usage=USAGE)), end(other, child)
        )
        (woken,) = await claim(store)
        assert woken.id == parent.id
        await store.finish(lease(woken), COMPLETED)


async def test_housekeepers_do_not_wait_for_a_parent_that_somebody_holds(
    store: Store, other: Store, store_url: str
) -> None:
    """Children that are taken back while their parents are canceled: nothing hangs, and nothing stays live."""
    for _ in range(RACES // 2):
        families = [await suspended(store, 2) for _ in range(5)]
        held = [child for _, children in families for child in children]
        await expire(store_url, held)
        await asyncio.gather(
            *(other.cancel_task("default", parent.id, by="me") for parent, _ in families),
            *(store.take_back_expired(limit=100, max_crashes=1) for _ in range(3)),
            *(end(other, child) for child in held[:3]),
            return_exceptions=True,
        )
        await store.take_back_expired(limit=100, max_crashes=1)
        for parent, children in families:
            assert (await read(store, parent.id)).status is TaskStatus.canceled
            assert all([(await read(store, child.id)).status.is_final for child in children])


@pytest.mark.services
async def test_without_the_parents_lock_two_ends_at_once_wake_nobody(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control: each asks whether a sibling still runs, and sees the other, which has not committed."""
    both = asyncio.Barrier(2)

    async def look_at_siblings(settlement: Settlement, child: HeldTask) -> None:
        of_parent = (tasks.c.parent_id == child.parent_id, tasks.c.id != child.id)
        live = await settlement.tx.run(select(tasks.c.id).where(*of_parent, tasks.c.status == "running"))
        await asyncio.wait_for(both.wait(), 10)
        if not live and child.parent_id is not None:
            await settlement.lock([child.parent_id])
            waits.wake(settlement, child.parent_id, str(child.parent_step_key))

    monkeypatch.setattr(consequences_of_children, "_tell_parent", look_at_siblings)
    stores = [await open_store(postgres_url) for _ in range(2)]
    parent, ending = await suspended(stores[0], 2)
    await asyncio.gather(*(s.finish(lease(child), COMPLETED) for s, child in zip(stores, ending, strict=True)))
    assert (await read(stores[0], parent.id)).status is TaskStatus.waiting
    for store in stores:
        await store.aclose()


async def expire(store_url: str, held: Sequence[Task]) -> None:
    """Let the leases end: renew them for no time."""
    leases = open_lease_store(store_url)
    await asyncio.to_thread(leases.renew, [lease(task) for task in held], worker=worker(), lease_seconds=0.001)
    await asyncio.sleep(0.01)
    await asyncio.to_thread(leases.close)
