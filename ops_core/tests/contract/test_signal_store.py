"""Signals on both databases: given to who waits, kept until somebody does, never lost, never given twice."""

from __future__ import annotations

import asyncio
from uuid import UUID

import pytest
from sqlalchemy import insert, update

from ops_core.domain.event import EventType, StepPhase
from ops_core.domain.outcome import Completed
from ops_core.domain.signal import Signal
from ops_core.domain.task import Task, TaskStatus, WaitingFor
from ops_core.errors import IdempotencyKeyReused, InvalidInput, TaskFinished, TaskNotFound, TooManySignals
from ops_core.ports import Ended
from ops_core.storage import settle
from ops_core.storage.schema import signals, waits
from ops_core.storage.settlement import Settlement
from ops_core.storage.store import Store
from ops_core.storage.writes import StoredJson, Transaction
from ops_core.tests.contract.store_cases import USAGE, claim, event_types, lease, new_task, submit_and_claim, uuid7
from ops_core.tests.contract.test_store_trouble import lost_single_answers
from ops_core.tests.contract.wait_cases import SIGNAL, answers, read, send, signal, suspend, waiting

OTHER = "1/tool/2/signal/1"


async def test_a_signal_wakes_the_task_that_waits_for_it(store: Store) -> None:
    task = await waiting(store, signal(), traceparent="00-1-2-01")
    sent = await send(store, task)
    (ring,) = sent.rings
    assert (ring.task_id, ring.traceparent, sent.replayed, sent.signal.taken_by) == (
        task.id,
        "00-1-2-01",
        False,
        SIGNAL,
    )
    assert await answers(store, task.id) == {SIGNAL: {"payload": {"amount": 80}, "by": "ada"}}
    assert (await event_types(store, task.id))[-2:] == ["signal.received", "task.resumed"]
    (again,) = await claim(store)
    assert (again.id, again.attempt, again.waiting_for) == (task.id, 1, None)


async def test_a_signal_that_nobody_waits_for_is_kept_and_then_taken(store: Store) -> None:
    task = (await store.add_task(new_task())).task
    sent = await send(store, task)
    assert (sent.rings, sent.signal.taken_by) == ([], None)
    assert (await event_types(store, task.id))[-1] == "signal.kept"
    (running,) = await claim(store)
    assert (await suspend(store, running, signal("1/tool/3/signal/1", "other"), signal())).status is TaskStatus.queued
    assert await answers(store, task.id) == {SIGNAL: {"payload": {"amount": 80}, "by": "ada"}}
    assert [one.taken_by for one in await store.list_signals("default", task.id, limit=10)] == [SIGNAL]


async def test_signals_are_taken_in_the_order_of_sending(store: Store) -> None:
    task = (await store.add_task(new_task())).task
    for n in range(3):
        await send(store, task, payload=n)
    (running,) = await claim(store)
    await suspend(store, running, signal(), signal(OTHER))
    assert {key: answer["payload"] for key, answer in (await answers(store, task.id)).items()} == {SIGNAL: 0, OTHER: 1}
    listed = await store.list_signals("default", task.id, limit=10)
    assert [(one.payload, one.taken_by) for one in listed] == [(0, SIGNAL), (1, OTHER), (2, None)]


async def test_who_has_waited_longest_gets_the_signal(store: Store) -> None:
    task = await waiting(store, signal())
    await send(store, task, "other")
    await send(store, await read(store, task.id))
    (running,) = await claim(store)
    await suspend(store, running, signal(OTHER), signal("1/tool/3/signal/1", "another"))
    await send(store, task, payload=2)
    assert {key: answer["payload"] for key, answer in (await answers(store, task.id)).items()} == {
        SIGNAL: {"amount": 80},
        OTHER: 2,
    }


async def test_another_name_wakes_nobody(store: Store) -> None:
    task = await waiting(store, signal())
    assert (await send(store, task, "Paid")).rings == []
    assert (await read(store, task.id)).status is TaskStatus.waiting


@pytest.mark.parametrize("ended", [False, True])
async def test_the_same_key_to_the_same_task_is_the_same_signal(store: Store, ended: bool) -> None:
    task, other = await submit_and_claim(store), await submit_and_claim(store)
    first = await send(store, task, idempotency_key="k")
    if ended:
        await store.finish(lease(task), Completed(result=1, usage=USAGE))
    again = await send(store, task, idempotency_key="k")
    assert (again.replayed, again.signal) == (True, first.signal)
    assert len(await store.list_signals("default", task.id, limit=10)) == 1
    assert not (await send(store, other, idempotency_key="k")).replayed
    with pytest.raises(IdempotencyKeyReused):
        await send(store, task, idempotency_key="k", payload={"amount": 81})


async def test_a_signal_to_a_task_that_is_over_or_not_there_is_refused(store: Store) -> None:
    task = await submit_and_claim(store)
    await store.finish(lease(task), Completed(result=1, usage=USAGE))
    with pytest.raises(TaskFinished, match="completed"):
        await send(store, task)
    with pytest.raises(TaskNotFound):
        await send(store, (await store.add_task(new_task(namespace="b"))).task)
    with pytest.raises(InvalidInput):
        await send(store, task, "a\x00b")


async def test_no_more_are_kept_than_may_be(store: Store) -> None:
    task = await submit_and_claim(store)
    for _ in range(3):
        await send(store, task, max_kept=3)
    with pytest.raises(TooManySignals, match="3 signals"):
        await send(store, task, max_kept=3)
    await suspend(store, task, signal())
    await send(store, task, max_kept=3)


async def test_signals_are_told_as_they_were_sent_and_only_in_their_namespace(store: Store) -> None:
    task = await submit_and_claim(store)
    sent = [(await send(store, task, payload=one)).signal for one in (None, "a\x00b", [1.0, {"b": 1, "a": 2}])]
    assert await store.list_signals("default", task.id, limit=2) == sent[:2]
    assert await store.list_signals("default", task.id, limit=10) == sent
    assert await store.list_signals("b", task.id, limit=10) == []


async def remaining(store: Store, task: Task, listed: list[Signal]) -> list[Signal]:
    """What the pages after these hold, in twos."""
    found = [*listed]
    while page := await store.list_signals("default", task.id, limit=2, after=(found[-1].sent_at, found[-1].id)):
        found += page
    return found[len(listed) :]


async def test_pages_of_signals_skip_none_and_repeat_none_while_more_are_sent(store: Store) -> None:
    task = await submit_and_claim(store)
    sent = [(await send(store, task, payload=n)).signal for n in range(5)]
    first = [*await store.list_signals("default", task.id, limit=2)]
    # Another server, whose clock is behind, makes ids that come before those there are.
    sent += [(await send(store, task, id=UUID(int=n))).signal for n in (1, 2)]
    assert [*first, *await remaining(store, task, first)] == sent


async def test_signals_of_one_moment_are_on_one_page_each(store: Store) -> None:
    task = await submit_and_claim(store)
    sent = [(await send(store, task, payload=n)).signal for n in range(5)]
    at = sent[2].sent_at
    await store._backends[0].transact(lambda tx: tx.run(update(signals).values(sent_at=at)))
    first = [*await store.list_signals("default", task.id, limit=2)]
    listed = [*first, *await remaining(store, task, first)]
    assert [(one.id, one.sent_at) for one in listed] == [(one.id, at) for one in sorted(sent, key=lambda one: one.id)]


@pytest.mark.parametrize("awaited", [False, True])
async def test_a_signal_whose_answer_was_lost_is_there_once_and_rung(store: Store, awaited: bool) -> None:
    task = await waiting(store, signal() if awaited else signal(OTHER, "other"))
    with lost_single_answers(store, 1):
        sent = await send(store, task, idempotency_key="k")
    assert (sent.replayed, len(sent.rings)) == (False, int(awaited))
    assert len(await store.list_signals("default", task.id, limit=10)) == 1


async def must_go_on(store: Store, task: Task) -> None:
    """The task has its signal, and somebody will run it."""
    found = await read(store, task.id)
    assert found.status is TaskStatus.queued, found.status
    assert {*await answers(store, task.id)} == {SIGNAL}


async def test_a_signal_sent_at_any_moment_around_the_suspend_is_not_lost(store: Store) -> None:
    came_first = 0
    for n in range(40):
        task = await submit_and_claim(store)

        async def suspended_late(task: Task = task, n: int = n) -> Ended:
            await asyncio.sleep(n % 8 * 0.0005)
            return await suspend(store, task, signal())

        async def sent_late(task: Task = task, n: int = n) -> None:
            await asyncio.sleep(n % 5 * 0.0008)
            await send(store, task)

        ended, _ = await asyncio.gather(suspended_late(), sent_late())
        came_first += ended.status is TaskStatus.queued
        await must_go_on(store, task)
        (again,) = await claim(store)
        await store.finish(lease(again), Completed(result=1, usage=USAGE))
    # Some of each, or the moments were not around the suspend.
    assert 0 < came_first < 40


async def test_a_suspend_that_does_not_look_again_loses_the_signal(store: Store) -> None:
    """The negative control."""
    task = await submit_and_claim(store)
    await send(store, task)

    async def suspend_blindly(tx: Transaction) -> None:
        settlement = Settlement(tx, await tx.lock([task.id]))
        held = settlement.held(task.id)
        assert held is not None
        row = {"task_id": task.id, "step_key": SIGNAL, "namespace": "default", "round": 1, "kind": "signal"}
        await tx.run(insert(waits).values(**row, name="paid", since=settlement.now))
        intent = settle.Entry(
            type=EventType.signal_awaited, payload=StoredJson("{}"), step_key=SIGNAL, phase=StepPhase.intent
        )
        settlement.change(settle.logged(held, [intent], settlement.now))
        held = settlement.held(task.id)
        assert held is not None
        settlement.change(settle.suspended(held, WaitingFor.signal, [SIGNAL], settlement.now))
        await tx.apply_if_unchanged(settlement.changes)

    await store._backends[0].transact(suspend_blindly)
    with pytest.raises(AssertionError, match="waiting"):
        await must_go_on(store, task)


async def test_signals_at_once_each_go_to_one_step(store: Store) -> None:
    keys = [f"1/tool/{n}/signal/1" for n in range(5)]
    task = await waiting(store, *(signal(key) for key in keys))
    sent = await asyncio.gather(*(send(store, task, id=uuid7(), payload=n, max_kept=10) for n in range(8)))
    assert sum(len(one.rings) for one in sent) == 1
    assert sorted(one.signal.taken_by or "" for one in sent) == ["", "", "", *keys]
    found = await answers(store, task.id)
    assert {*found} == {*keys}
    assert len({answer["payload"] for answer in found.values()}) == 5
